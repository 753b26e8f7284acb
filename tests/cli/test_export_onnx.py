"""A model to ONNX on the command line."""

import sys
from pathlib import Path

import pytest

from napari_sam_amg.cli.main import main
from napari_sam_amg.interchange.onnx import DEFAULT_OPSET, OPSETS


def test_two_files_and_how_far_they_are_from_torch(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export-onnx", "--checkpoint", str(tiny_checkpoint), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tiny_decoder.onnx", "tiny_encoder.onnx"]
    captured = capsys.readouterr()
    assert captured.err == ""
    for line, part in zip(captured.out.splitlines(), ("encoder", "decoder"), strict=True):
        start, _, difference = line.rpartition(" ")
        assert start == f"{tmp_path / 'out' / f'tiny_{part}.onnx'}: differs from torch by at most"
        assert 0 <= float(difference) < 1e-4
    assert main(arguments) == 1
    assert "tiny_encoder.onnx exists already: give --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vit_q"], "'vit_q' is neither a known model"),
        (["--checkpoint", "gone.pt"], "'gone.pt' is neither a known model"),
        (["--opset", "3"], "opset=3 is not allowed: choose one of 18 to 23"),
    ],
)
def test_bad_usage_gets_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-onnx", "--output", str(tmp_path / "out"), *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_missing_package_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export-onnx", "--output", str(tmp_path / "out")]) == 1
    expected = 'exporting to ONNX needs onnxruntime: install with pip install "napari-sam-amg[onnx]"'
    assert capsys.readouterr().err == f"napari-sam-amg: error: {expected}\n"


def test_name_and_file_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export-onnx", "--model", "embedded", "--checkpoint", "a.pt", "--output", str(tmp_path)])
    assert caught.value.code == 2
    assert "not allowed with argument --model" in capsys.readouterr().err


def test_help_states_the_opsets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export-onnx", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"{OPSETS[0]} to {OPSETS[-1]} (default: {DEFAULT_OPSET})" in text
