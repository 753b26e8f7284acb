"""The command itself: one real, tiny case from start to table."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import machine
from benchmarks.__main__ import main, quiet_enough, run_all
from benchmarks.cases import SETS, Case
from benchmarks.results import Results
from benchmarks.runner import Options, Turn

ROOT = Path(__file__).parents[2]


def test_a_quick_case_from_start_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "performance.md"
    document.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), encoding="utf-8")
    command = ["--quick", "--repeats", "1", "--threads", "1", "--results", str(tmp_path / "results")]
    assert main([*command, "--allow-busy", "--write", str(document)]) == 0
    measured = Results(tmp_path / "results").read()
    assert [one.condition.engine for one in measured] == ["ours", "reference"]
    ours, theirs = measured
    assert ours.masks == theirs.masks > 10
    assert ours.prompts == theirs.prompts == 64
    assert 0 < ours.survivors == theirs.survivors < 64
    assert all(0 < one.encoder_seconds < one.seconds and one.peak_bytes > 0 for one in measured)
    row = next(line for line in document.read_text().splitlines() if line.startswith(f"| {SETS['quick'][0].name} |"))
    assert "| 100.0 % |" in row
    capsys.readouterr()
    assert main([*command, "--list"]) == 0
    assert capsys.readouterr().out.strip() == ""  # nothing is left to measure


def test_a_failure_is_told_in_a_line_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(tmp_path)
    impossible = Turn(Case(kind="planes", planes=9, engines=("ours",)), "ours")
    options = Options(("ours",), repeats=1, peer_repeats=1, threads=1)
    assert run_all([impossible, impossible], options, results) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[2/2] failed: embedded-512px-32x32-0crops-9planes by ours")
    assert "planes=9 is not allowed: the sample stack has 8" in lines[1]
    assert results.read() == []


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "others_now", lambda: 1.5)
    assert not quiet_enough(allow_busy=False)
    assert "wait, or add --allow-busy" in capsys.readouterr().err
    assert quiet_enough(allow_busy=True)
    monkeypatch.setattr(machine, "others_now", lambda: 0.1)
    assert quiet_enough(allow_busy=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "vit_x-*"], "--case 'vit_x-*' is the name of no case"),
        ([], "give --set"),
        (["--quick", "--repeats", "0"], "0 is not allowed: it must be at least 1"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_the_command_itself_loads_no_torch() -> None:
    """It stays small beside the processes that it measures."""
    code = "import sys, benchmarks.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and it would be measured")
def test_without_a_gpu_none_is_measured() -> None:
    with pytest.raises(ValueError, match="--device cuda needs a GPU of CUDA"):
        main(["--device", "cuda"])
