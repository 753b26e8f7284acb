import dataclasses
import inspect
import math

import pytest
from segment_anything import SamAutomaticMaskGenerator

from napari_sam_amg.params import AmgParameters, merged, parameter_choices, parameter_spec, parameter_type


def test_names_and_defaults_are_the_reference_s():
    reference = inspect.signature(SamAutomaticMaskGenerator.__init__).parameters
    ours = {spec.name: spec.default for spec in dataclasses.fields(AmgParameters)}
    expected = {name: p.default for name, p in reference.items() if name not in ("self", "model", "output_mode")}
    assert {name: ours[name] for name in expected} == expected


@pytest.mark.parametrize("spec", dataclasses.fields(AmgParameters), ids=lambda spec: spec.name)
def test_every_parameter_is_described_and_its_default_allowed(spec):
    assert len(spec.metadata["help"]) > 20
    kind = parameter_type(spec.name)
    if kind in (int, float):
        allowed = spec.metadata["range"]
        assert allowed.low <= spec.default <= allowed.high


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("points_per_side", 0, "points_per_side=0 is out of range: allowed is 1 to 512"),
        ("points_per_side", 2.5, "a whole number from 1 to 512"),
        ("points_per_side", True, "a whole number"),
        ("pred_iou_thresh", 1.01, "pred_iou_thresh=1.01 is out of range: allowed is 0 to 1"),
        ("pred_iou_thresh", math.nan, "a number from 0 to 1"),
        ("stability_score_thresh", -0.1, "stability_score_thresh=-0.1 is out of range"),
        ("box_nms_thresh", "0.7", "box_nms_thresh='0.7' is not allowed"),
        ("crop_n_layers", None, "crop_n_layers=None is not allowed"),
        ("overlap", "best", "overlap='best' is not allowed: choose one of score, small, large"),
        ("points_per_side", None, "exactly one of points_per_side and point_grids"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        AmgParameters(**{name: value})


@pytest.mark.parametrize("grids", [(), (((0.5, 1.5),),), (((0.5,),),)])
def test_bad_point_grids(grids):
    with pytest.raises(ValueError, match="point_grids"):
        AmgParameters(points_per_side=None, point_grids=grids)


def test_kinds_for_forms_and_flags():
    assert parameter_type("points_per_side") is int
    assert parameter_type("overlap") is str
    assert parameter_type("point_grids") is tuple
    assert parameter_choices("overlap") == ("score", "small", "large")
    assert sum(spec.metadata["basic"] for spec in dataclasses.fields(AmgParameters)) == 4
    assert parameter_spec("crop_n_layers").default == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "auto"),
        ({"crop_n_layers": 1}, "all"),
        ({"point_grids": (((0.5, 0.5),),)}, "all"),
        ({"crop_n_layers": 2, "crop_layers": "last"}, "last"),
    ],
)
def test_asking_for_crop_layers_overrules_a_models_choice_of_one(given, expected):
    assert merged({"crop_layers": "auto"}, given).crop_layers == expected
