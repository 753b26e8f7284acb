"""Settings out of records and files of one's own, and where two of them differ."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.settings import Settings, differences, read_settings, settings_of

PARAMETERS = dataclasses.asdict(AmgParameters(pred_iou_thresh=0.7, crop_layers="auto"))
MODEL = {"name": "vit_b", "architecture": "vit_b", "file": "vit_b.pth", "sha256": "1" * 64}
RUN = {"model": MODEL, "precision": "fast", "parameters": PARAMETERS, "versions": {"torch": "2.10"}}
OF_LINE = {
    "settings": {
        "model": MODEL, "precision": "fast", "parameters": PARAMETERS, "channel": 1, "series": None,
        "intensities": [3, 200], "pixel_size": 0.5, "plane": "XZ", "ranges": {"Z": [1, 5, 1]},
    },
    "input": {"sha256": "a", "shape": [3, 4]}, "outputs": [], "versions": {"torch": "2.10"}, "device": "cpu",
    "intensities": {"from": "given", "low": 3, "high": 200}, "parameters_used": PARAMETERS | {"crop_n_layers": 2},
}  # fmt: skip
OF_LAYER = RUN | {
    "intensities": {"from": "percentiles", "low": 5, "high": 99.5},
    "source": {"shape": [9, 9], "plane": None, "first": [2], "axes": {}},
}


def test_a_record_of_the_command_line() -> None:
    settings = settings_of(OF_LINE)
    assert (settings.model, settings.sha256, settings.precision) == ("vit_b", "1" * 64, "fast")
    assert settings.params() == AmgParameters(pred_iou_thresh=0.7, crop_layers="auto")
    assert settings.intensities == (3, 200)
    assert settings.reading == {"channel": 1, "pixel_size": 0.5, "plane": "XZ", "ranges": {"Z": [1, 5, 1]}}
    assert (settings.first, settings.seen) == (None, None)


@pytest.mark.parametrize(
    "wrap", [lambda run: run, lambda run: {"run": run, "layer": {}}, lambda run: {"napari-sam-amg": run}]
)
def test_a_record_of_a_layer(wrap: Any) -> None:
    settings = settings_of(wrap(OF_LAYER))
    assert settings.params() == AmgParameters(pred_iou_thresh=0.7, crop_layers="auto")
    assert (settings.intensities, settings.seen, settings.first) == (None, None, (2,))
    assert settings.reading == {}


def test_a_run_on_one_plane_keeps_the_percentiles_of_all() -> None:
    record = OF_LAYER | {"source": {"plane": [1], "first": None}}
    assert settings_of(record).seen == (5, 99.5)
    assert settings_of(record).intensities is None
    contrast = record | {"intensities": {"from": "contrast limits", "low": 1, "high": 2}}
    assert settings_of(contrast).intensities == (1, 2)


def test_a_whole_record_knows_no_defaults_of_a_model() -> None:
    without = {name: value for name, value in PARAMETERS.items() if name != "max_ring_area"}
    settings = settings_of(RUN | {"parameters": without})
    assert settings.params({"max_ring_area": 0.0, "pred_iou_thresh": 0.1}) == settings_of(RUN).params()


def test_a_file_of_ones_own_lies_on_the_defaults_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'model = "vit_b"\nintensities = [0, 255.5]\nchannel = 2\n[parameters]\npoints_per_side = 16.0\n'
    )
    settings = read_settings(tmp_path / "a.toml")
    assert (settings.model, settings.sha256, settings.intensities) == ("vit_b", "", (0, 255.5))
    assert settings.reading == {"channel": 2}
    params = settings.params({"pred_iou_thresh": 0.5, "points_per_side": 8}, {"box_nms_thresh": 0.9})
    assert params == AmgParameters(points_per_side=16, pred_iou_thresh=0.5, box_nms_thresh=0.9)
    (tmp_path / "a.json").write_text(json.dumps({"parameters": {"points_per_side": 16}}))
    assert read_settings(tmp_path / "a.json").params().points_per_side == 16


def test_what_is_given_comes_first() -> None:
    settings = Settings(parameters={"point_grids": (((0.5, 0.5),),), "points_per_side": None}, is_whole=True)
    assert settings.params({}, {"points_per_side": 4}).point_grids is None
    assert settings.params({}, {"overlap": "small"}).point_grids == (((0.5, 0.5),),)
    # who asks for crop layers means SAM's, not those that "auto" would choose
    auto = settings_of(RUN)
    assert auto.params({}, {"crop_n_layers": 1}).crop_layers == "all"
    assert auto.params({}, {"pred_iou_thresh": 0.1}).crop_layers == "auto"


BAD: list[tuple[str, str]] = [
    ("[1, 2]", "holds a list"),
    ("{", "is no file of settings, JSON or TOML"),
    ('{"thresholds": {}}', "'thresholds' is no setting: allowed are model, precision"),
    ('{"parameters": {"pred_iou_tresh": 0.5}}', "'pred_iou_tresh' is no parameter: allowed are points_per_side"),
    ('{"parameters": {"pred_iou_thresh": 5}}', "pred_iou_thresh=5 is out of range"),
    ('{"parameters": [1]}', r"parameters=\[1\] is not allowed"),
    ('{"intensities": [1]}', r"intensities=\[1\] is not allowed: it must be two numbers"),
    ('{"intensities": [1, "a"]}', "is not allowed: it must be two numbers"),
    ('{"intensities": 5}', "intensities=5 is not allowed"),
    ('{"model": 5}', "model=5 is not allowed: it must be a name"),
    ('{"channel": "red"}', "channel='red' is not allowed: it must be a whole number from 0"),
    ('{"channel": true}', "channel=True is not allowed"),
    ('{"run": null, "layer": {}}', "these labels were not found by a run"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_files_are_named_with_what_is_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        read_settings(path)
    assert str(error.value).count("bad.json") == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json cannot be read: No such file"):
        read_settings(tmp_path / "none.json")


def test_differences_name_each_setting_settings_first() -> None:
    other = json.loads(json.dumps(OF_LINE))
    other["settings"]["parameters"]["pred_iou_thresh"] = 0.9
    other["settings"]["model"]["sha256"] = "2" * 64
    other["settings"]["plane"] = None
    other["settings"]["z_spacing"] = 3
    other["versions"]["torch"] = "2.11"
    other["input"]["sha256"] = "b"
    other["device"] = "cuda"
    other["seconds"], other["labels"] = 5, 9  # what came out is no setting
    assert differences(OF_LINE, OF_LINE) == []
    assert differences(OF_LINE, other) == [
        ("model.sha256", "1" * 64, "2" * 64),
        ("parameters.pred_iou_thresh", 0.7, 0.9),
        ("plane", "XZ", None),
        ("z_spacing", None, 3),
        ("image.sha256", "a", "b"),
        ("device", "cpu", "cuda"),
        ("versions.torch", "2.10", "2.11"),
    ]


def test_records_of_both_doors_can_be_compared() -> None:
    names = [name for name, *_ in differences(OF_LINE, {"run": OF_LAYER})]
    assert "parameters.pred_iou_thresh" not in names
    assert {"channel", "intensities.from", "intensities.low", "image.shape"} <= set(names)
    assert differences(OF_LAYER, {"run": OF_LAYER}) == []
    assert differences({"parameters": {"overlap": "small"}}, {}) == [("parameters.overlap", "small", None)]
