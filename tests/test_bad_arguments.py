"""Every wrong argument of the package's functions is a ``ValueError`` that names it and says what is allowed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam_amg import (
    AmgParameters,
    PlaneStack,
    evaluate_labels,
    export_onnx,
    generate_masks,
    link_planes,
    load_model,
    parameters_for,
    propose_candidates,
    read_settings,
    refilter,
    segment_again,
    segment_planes,
    segment_to_files,
)
from napari_sam_amg.amg.preprocess import IntensityRange, survey
from napari_sam_amg.objects.table import Units
from tests.disc_model import BlobModel, blobs

PARAMS = AmgParameters(points_per_side=4, stability_score_thresh=0.6)
LINKED = replace(PARAMS, link="z")
STACK = PlaneStack(np.stack([blobs()] * 3))
MORE_AXES = PlaneStack(np.zeros((2, 3, 96, 128), np.uint8))
IMAGES = np.zeros((4, 20, 20), np.uint8)
TRUTH = np.pad(np.ones((3, 3), int), 3)
A_PLANE = r"is no plane of this stack: allowed are indices from \(0,\) to \(2,\)"


def run(**given):
    return list(segment_planes(**{"stack": STACK, "model": BlobModel(), "params": PARAMS} | given))


def stored(image=None):
    return propose_candidates(blobs() if image is None else image, BlobModel(), PARAMS)


def link(*candidates, **given):
    return list(link_planes(candidates, **{"params": LINKED} | given))


@pytest.mark.parametrize("first", [(3,), (-1,), (0, 0), (), 0, "0", [1], (float("nan"),), np.int64(1)], ids=repr)
def test_first_is_a_plane_of_the_stack(first):
    with pytest.raises(ValueError, match=rf"first=.* {A_PLANE}"):
        run(first=first)


def test_first_is_a_plane_that_is_walked():
    for stack in (replace(STACK, within={0: range(2)}), replace(STACK, left_out={(2,)})):
        with pytest.raises(ValueError, match=r"first=\(2,\) is no plane of this stack: .* from \(0,\) to \(1,\)"):
            run(stack=stack, first=(2,))
    with pytest.raises(ValueError, match=r"first=\(0,\) is no plane of this stack: allowed are indices \(\)"):
        run(stack=PlaneStack(blobs()), first=(0,))


@pytest.mark.parametrize("first", [None, (0,), (np.int64(2),)], ids=repr)
def test_first_planes_that_are_right(first):
    results = [step.result for step in run(first=first) if step.result is not None]
    assert results[0].index == (first or (0,))
    assert len(results) == 3


RUNS = {
    "stack": (lambda: run(stack=np.zeros((9, 9))), "a stack of type ndarray is not allowed: write PlaneStack"),
    "model": (lambda: run(model="embedded"), "model='embedded' is not allowed: it must be loaded"),
    "params": (lambda: run(params={}), "params={} is not allowed: give AmgParameters"),
    "intensities": (lambda: run(intensities=(0, 255)), r"intensities=\(0, 255\) is not allowed: it must be Intensity"),
    "surveyed": (lambda: run(surveyed=3), "surveyed=3 is not allowed: it must be a Survey"),
    "survey of others": (lambda: run(stack=MORE_AXES, surveyed=survey(STACK)), r"surveyed shows plane \(0,\), and"),
    "units": (lambda: run(units=(0.5, 0.5)), r"units=\(0.5, 0.5\) is not allowed: it must be Units"),
    "axes": (lambda: run(axes=3), "axes=3 is not allowed: it must be a name for each axis"),
    "names": (lambda: run(axes=[3]), r"axes=\[3\] is not allowed: the stack has 1 axes of planes"),
    "count of names": (lambda: run(axes=["z", "t"]), r"axes=\['z', 't'\] is not allowed"),
    "no names": (lambda: run(params=LINKED, axes=[]), r"axes=\[\] is not allowed"),
    "other axis": (lambda: run(params=LINKED, axes=["t"]), "link='z' needs a stack with one axis 'z'"),
    "work": (lambda: run(work=3), "work=3 is not allowed: it must have the methods"),
    "low": (lambda: IntensityRange("a", 1), "low='a' is not allowed: it must be a number"),
    "high": (lambda: IntensityRange(0, None), "high=None is not allowed: it must be a number"),
    "pixel size": (lambda: Units((0, 1)), "pixel_size=0 is not allowed: it must be a positive number"),
    "pixel sizes": (lambda: Units((1,)), r"pixel_size=\(1,\) is not allowed: it must be two numbers"),
    "one pixel size": (lambda: Units(0.5), "pixel_size=0.5 is not allowed: it must be two numbers, along y and x"),
    "pixel size NaN": (lambda: Units((1, float("nan"))), "pixel_size=nan is not allowed"),
    "spacing": (lambda: Units((1, 1), -2), "spacing=-2 is not allowed: it must be a positive number"),
    "column": (lambda: Units((1, 1), 1, 3), "area_column=3 is not allowed: it must be the name of a column"),
    "parameters for": (lambda: parameters_for(3), "model=3 is not allowed: it must be loaded"),
    "image": (lambda: generate_masks(None, BlobModel()), "an image of type NoneType is not allowed"),
    "list": (lambda: propose_candidates(blobs().tolist(), BlobModel()), "an image of type list is not allowed"),
    "stored": (lambda: refilter(3, PARAMS), "stored=3 is not allowed: it must be what propose_candidates gives"),
    "masks": (lambda: refilter(generate_masks(blobs(), BlobModel(), PARAMS), PARAMS), "stored=.* is not allowed"),
    "refilter": (lambda: refilter(stored(), None), "params=None is not allowed: it must be AmgParameters"),
    "candidates": (lambda: list(link_planes(3, LINKED)), "candidates=3 is not allowed: it must be what propose"),
    "a candidate": (lambda: link(stored(), 3), r"candidates\[1\]=3 is not allowed"),
    "sizes": (lambda: link(stored(), stored(blobs((96, 130)))), r"plane \(1,\) has \(96, 130\) pixels, and those b"),
    "link": (lambda: link(stored(), params="z"), "params='z' is not allowed: it must be AmgParameters"),
    "axis": (lambda: link(stored(), axis=1), r"axis=1 is not allowed: plane \(0,\) has 1 axes"),
    "axis below 0": (lambda: link(stored(), axis=-1), "axis=-1 is not allowed: it must be a whole number from 0"),
    "linked units": (lambda: link(stored(), units=(1, 1)), r"units=\(1, 1\) is not allowed"),
    "labels": (lambda: evaluate_labels(TRUTH, [[1, 2], [3]]), r"labels=\[\[1, 2\], \[3\]\] is not allowed"),
    "predicted": (lambda: evaluate_labels(TRUTH, TRUTH, [0.5]), r"predicted_iou=\[0.5\] is not allowed: it must be a"),
    "a prediction": (lambda: evaluate_labels(TRUTH, TRUTH, {1: "x"}), r"predicted_iou\[1\]='x' is not allowed"),
    "path": (lambda: load_model(3), "name_or_path=3 is not allowed: it must be a name or a path"),
    "bytes": (lambda: load_model(b"x"), "name_or_path=b'x' is not allowed: it must be a name or"),
    "micro batch": (lambda: load_model(micro_batch=1.5), "micro_batch=1.5 is not allowed: it must be a whole n"),
    "no micro batch": (lambda: load_model(micro_batch=True), "micro_batch=True is not allowed"),
    "settings": (lambda: read_settings(None), "path=None is not allowed: it must be a path"),
    "record": (lambda: segment_again(STACK, "a", BlobModel()), "record='a' is not allowed: it must be a table"),
    "again": (lambda: segment_again(STACK, {}, 3), "model=3 is not allowed: it must be loaded"),
    "array": (lambda: segment_again(IMAGES, {}, BlobModel()), "stack=.* is not allowed: it must be PlaneStack"),
    "onnx": (lambda: export_onnx(BlobModel(), "."), "model=BlobModel.* is not allowed: it must be a model, loaded by"),
    "folder": (lambda: export_onnx(load_model(), 3), "folder=3 is not allowed: it must be a path"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), RUNS.values(), ids=RUNS)
def test_what_is_not_allowed_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rgb": "yes"}, "rgb='yes' is not allowed: it must be True or False"),
        ({"fixed": [0]}, r"fixed=\[0\] is not allowed: it must be a dict"),
        ({"fixed": {0: 1.5}}, r"fixed=\{0: 1.5\} is not allowed: it must be a dict of whole numbers"),
        ({"fixed": {"z": 0}}, r"fixed=\{'z': 0\} is not allowed"),
        ({"fixed": {0: True}}, r"fixed=\{0: True\} is not allowed"),
        ({"fixed": {0: 9}}, "position 9 of axis 0 is outside an image of shape"),
        ({"fixed": {0: -1}}, "position -1 of axis 0 is outside"),
        ({"within": {0: 3}}, r"within\[0\]=3 is not allowed: it must be a range, or a list"),
        ({"within": {0: [0.5]}}, r"within\[0\]=0.5 is not allowed: it must be a whole number from 0"),
        ({"within": {0: [1, 1]}}, r"positions \[1, 1\] of axis 0 are not allowed: give each of them once"),
        ({"within": {0: range(0)}}, r"positions range\(0, 0\) of axis 0 are outside"),
        ({"within": {0: range(2, 9)}}, r"positions range\(2, 9\) of axis 0 are outside"),
        ({"within": [1]}, r"within=\[1\] is not allowed: it must be a dict"),
        ({"left_out": 3}, "left_out=3 is not allowed: it must be a set of indices"),
        ({"left_out": {0}}, "left_out holds 0, which is no plane of an image of shape"),
        ({"left_out": {(9,)}}, r"left_out holds \(9,\), which is no plane"),
        ({"left_out": {(0,), (1,), (2,), (3,)}}, "left_out names every plane: there is none left"),
    ],
)
def test_planes_of_a_stack_that_are_not_there(given, message):
    with pytest.raises(ValueError, match=message):
        PlaneStack(IMAGES, **given)


def test_planes_of_a_stack_that_are():
    assert PlaneStack(IMAGES, fixed={0: np.int64(2)}).indices == [()]
    assert PlaneStack(IMAGES, within={0: [2, 0]}, left_out=[(0,)]).indices == [(2,)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": None}, "images=None is not allowed: it must be a path, or several"),
        ({"images": [3]}, "images=3 is not allowed: it must be a path"),
        ({"images": b"x"}, "images=120 is not allowed: it must be a path"),
        ({"output": None}, "output=None is not allowed: it must be a path"),
        ({"output": ""}, "output='' is not allowed: it must be a path"),
        ({"model": 3}, "model=3 is not allowed: it must be a path"),
        ({"params": {}}, r"params=\{\} is not allowed: it must be AmgParameters"),
        ({"recursive": "yes"}, "recursive='yes' is not allowed: it must be True or False"),
        ({"merge_tables": 3}, "merge_tables=3 is not allowed: it must be True or False"),
        ({"client": 3}, "client=3 is not allowed: it must be a Client of dask.distributed"),
        ({"formats": 3}, "formats=3 is not allowed: it must be a set of formats"),
        ({"formats": ["x"]}, "formats='x' is not allowed: choose from labels"),
        ({"overlay": "no"}, "overlay='no' is not allowed: it must be True or False"),
        ({"channel": 1.5}, "channel=1.5 is not allowed: it must be a whole number from 0"),
        ({"channel": -1}, "channel=-1 is not allowed: it must be a whole number from 0"),
        ({"series": "a"}, "series='a' is not allowed: it must be a whole number from 0"),
        ({"intensities": (0, 1)}, r"intensities=\(0, 1\) is not allowed: it must be IntensityRange"),
        ({"ngff_version": "0.9"}, r"ngff_version='0.9' is not allowed: choose from 0.5, 0.4"),
        ({"geometry": 3}, "geometry=3 is not allowed: it must be a Geometry"),
    ],
    ids=repr,
)
def test_files(given, message, tmp_path):
    np.save(tmp_path / "a.npy", blobs())
    with pytest.raises(ValueError, match=message):
        segment_to_files(**{"images": tmp_path / "a.npy", "output": tmp_path / "out"} | given)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            '{"intensities": [2, 1]}',
            r"intensities=\[2, 1\] is not allowed: it must be two numbers, \[black, white\], ris",
        ),
        ('{"intensities": [NaN, 1]}', r"intensities=\[nan, 1\] is not allowed"),
        ('{"intensities": [0, Infinity]}', r"intensities=\[0, inf\] is not allowed"),
        ('{"channel": -1}', "channel=-1 is not allowed: it must be a whole number from 0"),
        ('{"series": 1.5}', "series=1.5 is not allowed: it must be a whole number from 0"),
        ('{"pixel_size": 0}', "pixel_size=0 is not allowed: it must be a positive number"),
        ('{"z_spacing": "a"}', "z_spacing='a' is not allowed: it must be a positive number"),
        ('{"axes": 3}', "axes=3 is not allowed: it must be letters"),
        ('{"settings": {"source": {"first": 3}}}', "first=3 is not allowed with the axes and ranges of this source"),
        ('{"settings": {"source": {"first": ["a"]}}}', r"first=\['a'\] is not allowed"),
        ('{"settings": {"source": {"first": [1], "axes": {"stack": [0, 1]}}}}', r"first=\[1\] is not allowed"),
        ('{"settings": {"source": {"first": [1], "ranges": {"0": 3}}}}', r"first=\[1\] is not allowed"),
    ],
)
def test_files_of_settings(said, message, tmp_path: Path):
    path = tmp_path / "settings.json"
    path.write_text(said)
    with pytest.raises(ValueError, match=message) as caught:
        read_settings(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_intensities_of_numpy_are_numbers():
    assert IntensityRange(np.float32(1), np.uint8(3)).high == 3
