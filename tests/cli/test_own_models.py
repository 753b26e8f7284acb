"""Models of ``models.toml`` on the command line."""

import json
from pathlib import Path

import pytest

from napari_sam_amg.cli.main import main
from napari_sam_amg.models import checkpoint
from napari_sam_amg.models.checkpoint import load_model
from tests.cli.terminal import Terminal


@pytest.fixture
def entries(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file ``models.toml``; models are loaded, not replaced by blobs."""
    monkeypatch.setattr(checkpoint, "load_model", load_model)
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(terminal.folder))
    return terminal.folder / "models.toml"


def test_own_model_segments_with_its_thresholds(terminal: Terminal, entries: Path, tiny_checkpoint: Path) -> None:
    thresholds = "thresholds = { points_per_side = 3, box_nms_thresh = 0.4 }"
    entries.write_text(f'[mine]\nfile = "{tiny_checkpoint.as_posix()}"\n{thresholds}')
    assert terminal.segment(terminal.png(), "--model", "mine", "--device", "cpu", "--box-nms-thresh", "0.6") == 0
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert record["settings"]["model"]["name"] == "mine"
    parameters = record["settings"]["parameters"]
    assert parameters["points_per_side"] == 3  # of models.toml, which wins over the checkpoint's 6
    assert parameters["box_nms_thresh"] == 0.6  # a flag wins over both
    assert parameters["pred_iou_thresh"] == 0.0  # of the checkpoint
    assert terminal.lines()[1] == []


def test_bad_entry_is_a_warning(terminal: Terminal, entries: Path, tiny_checkpoint: Path) -> None:
    entries.write_text('[mine]\nfile = "a.pt"\nthresholds.overlap = "big"')
    path = terminal.png()
    assert terminal.segment(path, "--checkpoint", tiny_checkpoint, "--device", "cpu") == 0
    warning = (
        f"napari-sam-amg: warning: {entries}: [mine] thresholds: overlap='big' is not allowed: "
        "choose one of score, small, large"
    )
    assert terminal.lines()[1] == [warning]
    assert terminal.segment(path, "--model", "mine", "--overwrite") == 1
    first, second = terminal.lines()[1]
    assert first == warning
    assert second.startswith("napari-sam-amg: error: model='mine' is unknown: choose one of embedded")


def test_help_names_it(terminal: Terminal, entries: Path) -> None:
    entries.write_text('[mine]\nfile = "a.pt"')
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    assert "vit_l_em_organelles, mine (default: embedded)" in " ".join(" ".join(terminal.lines()[0]).split())
