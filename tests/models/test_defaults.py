"""Which parameters suit a model: one rule for the loader, the widget and the command line."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam_amg.models import defaults, registry
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.defaults import OURS, PUBLISHED, model_defaults, suited
from napari_sam_amg.models.registry import EMBEDDED, embedded_path, known_models
from napari_sam_amg.params import AmgParameters

IN_FILE = {"pred_iou_thresh": 0.4, "box_nms_thresh": 0.5}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters that are newer than the files of this project's models."""
    monkeypatch.setattr(defaults, "OURS", {"pred_iou_thresh": 0.9, "min_visible_fraction": 0.25})


def test_every_published_model_has_some() -> None:
    assert set(PUBLISHED) == set(registry._DOWNLOADABLE)
    for entry in (OURS, *PUBLISHED.values()):
        AmgParameters(**entry)


def ours(path: Path, tiny: Mapping[str, Any]) -> str:
    torch.save({**tiny, "amg": IN_FILE}, path)
    return str(path)


def foreign(path: Path, state: dict[str, Tensor]) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.usefixtures("newer")
def test_loader_and_widget_say_the_same(
    folder: Path, tiny_file: dict[str, Any], hollow_vit_t: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_file, vit = ours(folder / "tiny.pt", tiny_file), foreign(folder / "vit.pt", hollow_vit_t)
    foreign(folder / "known.pt", hollow_vit_t | {"a counter": torch.ones(1)})
    digest = hashlib.sha256((folder / "known.pt").read_bytes()).hexdigest()
    lm = dataclasses.replace(registry._DOWNLOADABLE["vit_t_lm"], digest=f"sha256:{digest}", file_name="known.pt")
    monkeypatch.setitem(registry._DOWNLOADABLE, "vit_t_lm", lm)
    (folder / "models.toml").write_text(
        '[mine]\nfile = "tiny.pt"\nthresholds = { box_nms_thresh = 0.1, points_per_side = 16.0 }\n'
        '[other]\nfile = "vit.pt"\nthresholds = { pred_iou_thresh = 0.1 }\n'
        f'[lm]\nfile = "known.pt"\nurl = "https://example.org/a.pt"\nsha256 = "{digest}"\n'
        "thresholds.pred_iou_thresh = 0.2"
    )
    newer = {"min_visible_fraction": 0.25, **IN_FILE}
    expected: dict[str, Mapping[str, Any]] = {
        own_file: newer,
        "mine": {**newer, "box_nms_thresh": 0.1, "points_per_side": 16},
        vit: {},
        "other": {"pred_iou_thresh": 0.1},
        str(folder / "known.pt"): PUBLISHED["vit_t_lm"],
        "vit_t_lm": PUBLISHED["vit_t_lm"],
        "lm": {"pred_iou_thresh": 0.2},  # who gives a name gives the thresholds, too
    }
    for name, wanted in expected.items():
        assert model_defaults(name) == wanted, name
        assert load_model(name, "cpu").info.amg_defaults == wanted, name
    assert type(model_defaults("mine")["points_per_side"]) is int


@pytest.mark.parametrize("name", known_models()[1:])
def test_a_known_name_needs_no_file(folder: Path, name: str) -> None:
    assert model_defaults(name) == PUBLISHED[name] == suited(name)


def test_embedded_under_any_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(embedded_path().read_bytes())
    assert model_defaults(str(tmp_path / "copy.pt")) == model_defaults(EMBEDDED) == load_model().info.amg_defaults
    assert model_defaults(EMBEDDED)["crop_layers"] == "auto"


@pytest.mark.parametrize(
    "write",
    [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"PK\3\4"), lambda path: path.touch()],
)
def test_what_is_wrong_with_a_file_is_for_the_loader_to_say(folder: Path, write: Callable[[Path], Any]) -> None:
    write(folder / "a.pt")
    (folder / "models.toml").write_text('[mine]\nfile = "a.pt"\nthresholds.pred_iou_thresh = 0.1')
    assert model_defaults(str(folder / "a.pt")) == {}
    assert model_defaults("mine") == {"pred_iou_thresh": 0.1}


def test_parameters_that_are_not_allowed_are_not_shown(folder: Path, tiny_file: dict[str, Any]) -> None:
    torch.save(tiny_file | {"amg": {"pred_iou_thresh": 7}}, folder / "a.pt")
    assert model_defaults(str(folder / "a.pt")) == {}
