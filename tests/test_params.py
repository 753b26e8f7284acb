import dataclasses
import inspect
import json
import math
from enum import StrEnum
from fractions import Fraction

import numpy as np
import pytest
import torch
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
        ("points_per_side", 2.5, "points_per_side=2.5 .* a whole number from 1 to 512, and no float$"),
        ("points_per_side", 16.0, "points_per_side=16.0 .* a whole number from 1 to 512, and no float$"),
        (
            "points_per_side",
            np.float64(16),
            "points_per_side=16.0 is not .* a whole number from 1 to 512, and no float$",
        ),
        ("points_per_side", np.array([16, 32]), r"points_per_side=\[16, 32\] is not allowed"),
        ("points_per_side", "16", r"points_per_side='16' is not allowed: it must be a whole number from 1 to 512$"),
        ("points_per_side", np.array(None), "exactly one of points_per_side and point_grids"),
        ("points_per_side", np.bool_(True), "points_per_side=True is not allowed"),
        ("points_per_side", 10**400, r"points_per_side=10+\.\.\. is out of range: allowed is 1 to 512$"),
        ("pred_iou_thresh", np.float64(3.5), "^pred_iou_thresh=3.5 is out of range: allowed is 0 to 1$"),
        ("pred_iou_thresh", np.float32("nan"), "^pred_iou_thresh=nan is not allowed: it must be a number from 0 to 1$"),
        ("pred_iou_thresh", math.inf, "pred_iou_thresh=inf is out of range"),
        ("pred_iou_thresh", True, "pred_iou_thresh=True is not allowed"),
        ("pred_iou_thresh", np.array([0.5]), r"pred_iou_thresh=\[0.5\] is not allowed"),
        ("overlap", np.array(["score"]), r"overlap=\['score'\] is not allowed: choose one of score, small, large"),
        ("overlap", b"score", "overlap=b'score' is not allowed"),
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


def test_a_number_that_python_does_not_write_out():
    with pytest.raises(ValueError, match=r"^points_per_side=a number of thousands of digits is out of range"):
        AmgParameters(points_per_side=10**5000)


class Word(StrEnum):
    SMALL = "small"


@pytest.mark.parametrize("integer", [np.int64(16), np.uint8(16), np.array(16), torch.tensor(16)])
@pytest.mark.parametrize(
    "number", [np.float32(0.5), np.longdouble(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2)]
)
@pytest.mark.parametrize("word", [np.str_("small"), Word.SMALL])
def test_numbers_and_words_of_other_kinds_are_kept_as_plain_ones(integer, number, word):
    params = AmgParameters(points_per_side=integer, pred_iou_thresh=number, box_nms_thresh=np.int8(1), overlap=word)
    same = AmgParameters(points_per_side=16, pred_iou_thresh=0.5, box_nms_thresh=1, overlap="small")
    assert params == same
    assert json.dumps(dataclasses.asdict(params)) == json.dumps(dataclasses.asdict(same))
    plain = [
        type(getattr(params, name)) for name in ("points_per_side", "pred_iou_thresh", "box_nms_thresh", "overlap")
    ]
    assert plain == [int, float, float, str]


POINTS = ((0.0, 0.5), (0.25, 1.0), (0.75, 0.125))


@pytest.mark.parametrize(
    "grids",
    [
        np.array([POINTS]), np.array([POINTS], np.float32), [np.array(POINTS)], [[list(point) for point in POINTS]],
        [[np.array(point) for point in POINTS]], [[tuple(map(np.float64, point)) for point in POINTS]],
        torch.tensor([POINTS]), np.array(POINTS), POINTS, iter([POINTS]),
    ],
)  # fmt: skip
def test_point_grids_of_arrays_are_kept_as_tuples_of_numbers(grids):
    params = AmgParameters(points_per_side=None, point_grids=grids)
    assert params == AmgParameters(points_per_side=None, point_grids=(POINTS,))
    assert hash(params) is not None
    assert json.loads(json.dumps(dataclasses.asdict(params)))["point_grids"] == [[list(point) for point in POINTS]]
    assert {type(number) for point in params.point_grids[0] for number in point} == {float}


def test_several_grids_and_empty_ones():
    grids = [np.empty((0, 2)), np.array(POINTS), np.array([[1, 0]])]
    params = AmgParameters(points_per_side=None, point_grids=grids, crop_n_layers=2)
    assert params.point_grids == ((), POINTS, ((1.0, 0.0),))


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ((), "^point_grids is empty: give one list"),
        (np.empty((0, 2)), "^point_grids is empty: give one list"),
        ((((0.5, 1.5),),), r"^point_grids\[0\] holds \(0.5, 1.5\): points are \(x, y\) with both in 0..1$"),
        ([POINTS, [(-0.1, 0.5)]], r"^point_grids\[1\] holds \(-0.1, 0.5\)"),
        ([[(np.float64(3.5), 0)]], r"^point_grids\[0\] holds \(3.5, 0\)"),
        (np.array([[[np.nan, 0]]]), r"^point_grids\[0\] holds \(nan, 0.0\)"),
        ((((0.5,),),), r"^point_grids\[0\] holds \(0.5,\)"),
        ([[(0.5, 0.5, 0.5)]], r"^point_grids\[0\] holds"),
        ([[("0", "1")]], r"^point_grids\[0\] holds \('0', '1'\)"),
        ([[(0, True)]], r"^point_grids\[0\] holds \(0, True\)"),
        ([[5]], r"^point_grids\[0\] holds 5"),
        ([["ab"]], r"^point_grids\[0\] holds 'ab'"),
        ([5], r"^point_grids\[0\]=5 is not allowed: it must be a list of points"),
        (5, "^point_grids=5 is not allowed: it must be a list of grids, one for each crop layer$"),
        ("grid.json", "^point_grids='grid.json' is not allowed: it must be a list of grids"),
        ([[list(range(1000))]], r"^point_grids\[0\] holds \(0, 1, 2.{,80}\.\.\.: points are"),
    ],
)
def test_bad_point_grids(grids, message):
    with pytest.raises(ValueError, match=message):
        AmgParameters(points_per_side=None, point_grids=grids)


def test_kinds_for_forms_and_flags():
    assert parameter_type("points_per_side") is int
    assert parameter_type("overlap") is str
    assert parameter_type("point_grids") is tuple
    assert parameter_choices("overlap") == ("score", "small", "large")
    assert sum(spec.metadata["basic"] for spec in dataclasses.fields(AmgParameters)) == 5
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


def test_defaults_out_of_a_file_may_say_16_point_0():
    params = merged({"points_per_side": 16.0, "pred_iou_thresh": 1.0}, {"crop_n_layers": 1})
    assert type(params.points_per_side) is int
    assert type(params.pred_iou_thresh) is float
    with pytest.raises(ValueError, match=r"points_per_side=16.5 is not allowed"):
        merged({"points_per_side": 16.5})
    with pytest.raises(ValueError, match=r"crop_n_layers=1.0 is not allowed"):
        merged({}, {"crop_n_layers": 1.0})


def test_areas_between_which_nothing_lies_are_refused():
    with pytest.raises(ValueError, match="min_area=9 is more than max_area=3: no mask would be kept"):
        AmgParameters(min_area=9, max_area=3)
    assert AmgParameters(min_area=9, max_area=9).max_area == 9
    assert AmgParameters(min_area=9).max_area == 0  # off
