"""Models of ``models.toml`` in the widget."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import Qt

from napari_sam_amg.plugin.choices.model_box import ModelBox


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def messages() -> Iterator[list[Notification]]:
    found: list[Notification] = []
    notification_manager.notification_ready.connect(found.append)
    yield found
    notification_manager.notification_ready.disconnect(found.append)


def test_own_model_can_be_chosen_and_brings_its_thresholds(folder: Path, qtbot: Any) -> None:
    amg = {"pred_iou_thresh": 0.42, "box_nms_thresh": 0.4}
    torch.save({"format": "napari-sam-amg/1", "amg": amg, "model": {"w": torch.ones(3)}}, folder / "a.pt")
    (folder / "models.toml").write_text(
        '[mine]\nfile = "a.pt"\ndescription = "of our screen"\nthresholds = { box_nms_thresh = 0.3, overlap = "small" }'
    )
    box = ModelBox()
    qtbot.addWidget(box)
    row = box.model.findText("mine")
    assert box.model.itemData(row, Qt.ItemDataRole.ToolTipRole).startswith("of our screen\n")
    with qtbot.waitSignal(box.suited) as suited:
        box.model.setCurrentIndex(row)
    thresholds = {"pred_iou_thresh": 0.42, "box_nms_thresh": 0.3, "overlap": "small"}
    assert suited.args == [{"point_search": "guided", **thresholds}]
    assert box.problems() == []
    (folder / "a.pt").unlink()
    (problem,) = box.problems()
    assert problem.message == f"Model: there is no file {folder / 'a.pt'}, which models.toml names"


def test_bad_entry_is_said_and_left_out(folder: Path, qtbot: Any, messages: list[Notification]) -> None:
    (folder / "models.toml").write_text("[mine]\nfile = 3")
    box = ModelBox()
    qtbot.addWidget(box)
    assert box.model.findText("mine") == -1
    assert box.model.findText("vit_b") > 0
    (message,) = messages
    expected = f"{folder / 'models.toml'}: [mine] file=3 is not allowed: it must be a text in quotes"
    assert (message.severity, message.message) == ("warning", expected)
