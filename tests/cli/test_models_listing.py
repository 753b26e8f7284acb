"""The listing of ``napari-sam-amg models``."""

import subprocess
import sys

from napari_sam_amg.cli.main import main
from napari_sam_amg.models.registry import find_known

OWN = """
[here]
file = "here.pt"
description = "nuclei of our screen"
[vit_web]
file = "web.pt"
url = "https://example.org/web.pt"
sha256 = "{sha256}"
"""


def test_own_models_are_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    (tmp_path / "models.toml").write_text(OWN.format(sha256="0" * 64))
    (tmp_path / "here.pt").write_bytes(bytes(5_000_000))
    assert main(["models"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert rows["here"] == ["here", "5", "MB", "yes", "nuclei", "of", "our", "screen", str(tmp_path / "here.pt")]
    assert rows["vit_web"] == ["vit_web", "no", "own", "model", str(tmp_path / "web.pt")]
    assert find_known("vit_web").architecture == ""
    assert rows["vit_b_lm"][1] == "vit_b"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "napari_sam_amg", "models"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # before anything is written
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(60) == 0
