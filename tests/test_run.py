import subprocess
import sys
from collections import Counter
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_sam_amg import (
    AmgParameters,
    PlaneStack,
    generate_masks,
    parameters_for,
    propose_candidates,
    segment_planes,
)
from napari_sam_amg.amg.preprocess import IntensityRange, survey
from napari_sam_amg.objects.table import Units
from tests.cli.terminal import DEFAULTS, INFO
from tests.disc_model import BlobModel, blobs

PARAMS = AmgParameters(points_per_side=16, stability_score_thresh=0.6)
STACK = np.stack([
    blobs((96, 128), ((20, 20, 8), (60, 30, 12))),
    np.zeros((96, 128), np.uint8),
    blobs((96, 128), ((100, 70, 15),)),
])  # fmt: skip


def results(stack, **options):
    return [step.result for step in segment_planes(stack, BlobModel(), PARAMS, **options) if step.result is not None]


def test_ids_are_unique_over_a_stack_with_an_empty_plane():
    planes = results(PlaneStack(STACK))
    assert [np.unique(plane.labels).tolist() for plane in planes] == [[0, 1, 2], [0], [0, 3]]
    assert [plane.features["index"].tolist() for plane in planes] == [[1, 2], [], [3]]
    assert [plane.index for plane in planes] == [(0,), (1,), (2,)]


def test_progress_counts_every_batch_of_every_plane():
    steps = list(segment_planes(PlaneStack(STACK), BlobModel(), PARAMS))
    assert [step.done for step in steps if step.result is None] == [1, 2, 3, 4, 9, 10, 11, 12]  # nothing in the second
    assert [step.done for step in steps if step.result is not None] == [4, 8, 12]
    assert {step.total for step in steps} == {12}


def test_planes_are_read_when_their_turn_comes():
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return block

    lazy = da.from_array(STACK, chunks=(1, 96, 128)).map_blocks(note, dtype=np.uint8, meta=np.empty((0, 0, 0)))
    steps = segment_planes(PlaneStack(lazy), BlobModel(), PARAMS, intensities=IntensityRange(0, 255))
    next(steps)
    assert read == [0]
    list(steps)
    assert read == [0, 1, 2]


THREE = np.stack([STACK[0]] * 3)
AUTO = replace(PARAMS, crop_layers="auto", points_per_side=8)


class Storage:
    """A stack that counts how often a plane is read, and of which some cannot be."""

    def __init__(self, planes, broken=(), error=RuntimeError):
        self.planes, self.broken, self.error = planes, broken, error
        self.shape, self.dtype = planes.shape, planes.dtype
        self.reads = Counter()

    def __getitem__(self, where):
        self.reads[where[0]] += 1
        if where[0] in self.broken:
            raise self.error("a block is missing")
        return self.planes[where]


@pytest.mark.parametrize(
    ("params", "intensities", "most"),
    [(PARAMS, None, 2), (AUTO, None, 2), (PARAMS, IntensityRange(0, 255), 1), (AUTO, IntensityRange(0, 255), 2)],
)
def test_a_plane_is_read_at_most_twice(params, intensities, most):
    storage = Storage(STACK)
    list(segment_planes(PlaneStack(storage), BlobModel(), params, intensities=intensities))
    assert max(storage.reads.values()) == most
    assert set(storage.reads) == {0, 1, 2}


@pytest.mark.parametrize("params", [PARAMS, AUTO])
@pytest.mark.parametrize("intensities", [None, IntensityRange(0, 255)])
def test_a_single_plane_is_read_once(params, intensities):
    storage = Storage(STACK)
    list(segment_planes(PlaneStack(storage, fixed={0: 0}), BlobModel(), params, intensities=intensities))
    assert storage.reads == {0: 1}


@pytest.mark.parametrize("chunks", [(3, 96, 128), (2, 40, 128), (1, 96, 64)])
@pytest.mark.parametrize("params", [PARAMS, AUTO])
def test_a_chunk_is_computed_at_most_twice(params, chunks):
    reads = Counter()

    def note(block, block_info=None):
        reads[block_info[0]["chunk-location"]] += 1
        return block

    lazy = da.from_array(STACK, chunks=chunks).map_blocks(note, dtype=np.uint8, meta=np.empty((0, 0, 0)))
    list(segment_planes(PlaneStack(lazy), BlobModel(), params))
    assert set(reads.values()) <= {1, 2}


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, KeyError, type("Foreign", (Exception,), {})])
@pytest.mark.parametrize("broken", [(0,), (1,), (2,), (0, 2)])
def test_planes_that_cannot_be_read_do_not_lose_the_others(broken, error):
    stack = np.stack([STACK[0], STACK[2], STACK[0]])
    whole = results(PlaneStack(stack))
    planes = results(PlaneStack(Storage(stack, broken, error)))
    assert [plane.index for plane in planes] == [(0,), (1,), (2,)]
    for at, plane in enumerate(planes):
        assert list(plane.features.columns) == list(whole[at].features.columns)
        if at in broken:
            assert "a block is missing" in plane.problem
            assert (len(plane.features), len(plane.masks), plane.image) == (0, 0, None)
            assert not plane.labels.any()
        else:
            assert plane.problem == ""
            np.testing.assert_array_equal(plane.labels > 0, whole[at].labels > 0)
    ids = np.unique(np.concatenate([plane.labels.ravel() for plane in planes]))
    assert ids.tolist() == list(range(len(ids)))


def test_progress_goes_on_while_planes_fail():
    steps = segment_planes(PlaneStack(Storage(THREE, (0, 1))), BlobModel(), PARAMS)
    assert [step.done for step in steps] == [4, 8, 9, 10, 11, 12, 12, 12, 12]


@pytest.mark.parametrize("intensities", [None, IntensityRange(0, 255)])
def test_a_stack_of_which_no_plane_can_be_read_is_an_error(intensities):
    steps = segment_planes(PlaneStack(Storage(STACK, (0, 1, 2))), BlobModel(), PARAMS, intensities=intensities)
    with pytest.raises(RuntimeError, match="a block is missing"):
        assert not [step.result for step in steps if step.result is not None]


def planes_of(model, stack=THREE):
    model.embedded = []
    steps = segment_planes(PlaneStack(stack), model, PARAMS, intensities=IntensityRange(0, 255))
    return [step.result for step in steps if step.result is not None]


@pytest.mark.parametrize("at", [0, 2])
def test_a_plane_that_the_model_cannot_take_does_not_lose_the_others(at):
    model = BlobModel()
    stack = np.stack([STACK[0], np.roll(STACK[0], 1), np.roll(STACK[0], 2)])
    calls = iter(range(3))
    model.embed = lambda image: fail() if next(calls) == at else BlobModel.embed(model, image)

    def fail():
        raise RuntimeError("no kernel")

    problems = [plane.problem for plane in planes_of(model, stack)]
    assert problems == ["RuntimeError: no kernel" if number == at else "" for number in range(3)]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory"), KeyboardInterrupt(), type("Stop", (Exception,), {})()]
)
@pytest.mark.parametrize("at", [0, 1])
def test_lack_of_memory_and_what_ends_a_run_are_not_swallowed(error, at):
    model, calls = BlobModel(), iter(range(3))

    def embed(image):
        if next(calls) == at:
            raise error
        return BlobModel.embed(model, image)

    model.embed = embed
    with pytest.raises(type(error)):
        planes_of(model)


def test_lack_of_memory_while_reading_is_not_swallowed():
    for intensities in (None, IntensityRange(0, 255)):
        steps = segment_planes(
            PlaneStack(Storage(STACK, (1,), MemoryError)), BlobModel(), PARAMS, intensities=intensities
        )
        with pytest.raises(MemoryError):
            list(steps)


@pytest.mark.parametrize("params", [PARAMS, AUTO])
@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((2, 96, 128), np.uint8), "every pixel is 0"),
        (np.ones((96, 128), bool), "every pixel is 1"),
        (np.full((96, 128), np.nan), "no pixel is finite: every value is NaN or infinite"),
        (np.full((1, 96, 128), 7.5), "every pixel is 7.5"),
    ],
)
def test_an_image_with_nothing_in_it_has_no_labels_and_is_not_shown_to_the_model(image, reason, params):
    model = BlobModel()
    steps = list(segment_planes(PlaneStack(image), model, params))
    planes = [step.result for step in steps if step.result is not None]
    assert [(plane.nothing, plane.problem, len(plane.features), plane.labels.max()) for plane in planes] == [
        (reason, "", 0, 0)
    ] * len(planes)
    assert len(planes) == (len(image) if image.ndim == 3 else 1)
    assert model.embedded == []
    assert steps[-1].done == steps[-1].total
    assert planes[0].params.crop_layers != "auto"


@pytest.mark.parametrize("params", [PARAMS, AUTO])
@pytest.mark.parametrize(
    "image",
    [np.zeros((96, 128)), np.full((96, 128, 3), 255, np.uint8), np.full((96, 128), np.nan), np.ones((9, 9), bool)],
)
def test_masks_of_an_image_with_nothing_in_it_are_none(image, params):
    model = BlobModel()
    masks = generate_masks(image, model, params)
    assert (len(masks), masks.size, model.embedded) == (0, image.shape[:2], [])
    assert masks.to_coco() == []
    assert len(propose_candidates(image, model, params)) == 0


@pytest.mark.parametrize("full", [0, 3, 5])
def test_the_crop_layer_is_chosen_by_the_plane_that_shows_most(full):
    stack = np.zeros((6, 96, 128), np.uint8)
    stack[full] = STACK[0]
    stack[(full + 1) % 6] = blobs((96, 128), ((20, 20, 4),))
    model = BlobModel()
    first = next(segment_planes(PlaneStack(stack), model, AUTO))
    assert first.result is None or first.result.nothing
    height = model.embedded[0].shape[0]
    np.testing.assert_array_equal(model.embedded[0][..., 0] > 127, stack[full][:height] > 127)
    assert survey(PlaneStack(stack)).fullest == (full,)


def test_the_plane_asked_for_comes_first():
    steps = segment_planes(PlaneStack(STACK), BlobModel(), PARAMS, first=(2,))
    assert [step.result.index for step in steps if step.result is not None] == [(2,), (0,), (1,)]


def test_small_crops_cut_no_object_along_their_edges():
    params = AmgParameters(points_per_side=8, stability_score_thresh=0.6, crop_layers="last", crop_n_layers=3)
    image = blobs((96, 128), ((20, 20, 8), (60, 30, 12), (100, 70, 15), (18, 75, 2)))
    *_, last = segment_planes(PlaneStack(image), BlobModel(), params)
    assert last.result is not None
    assert not last.result.features["cut_by_crop"].any()
    assert last.result.features["area"].tolist() == [(blobs((96, 128), ((18, 75, 2),)) > 0).sum()]


def test_physical_area_under_the_name_asked_for():
    (first, *_) = results(PlaneStack(STACK), units=Units((0.5, 0.2), area_column="area_um2"))
    np.testing.assert_allclose(first.features["area_um2"], first.features["area"] * 0.1)


def test_labels_of_other_number_types_are_identical():
    expected = results(PlaneStack(STACK))
    for copy in (STACK.astype(np.uint16) * 16, STACK.astype(np.float32) / 255):
        for ours, theirs in zip(results(PlaneStack(copy)), expected, strict=True):
            np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_generate_masks_takes_the_model_s_own_defaults_and_any_image():
    model = BlobModel()
    image = blobs()
    masks = generate_masks(image, model, PARAMS)
    assert len(masks) == 3
    generate_masks(np.repeat(image[..., None], 3, axis=2), model)
    assert model.decoded == 16**2 * 2  # the second time with the model's points_per_side
    np.testing.assert_array_equal(model.embedded[1][..., 0], image)  # uint8 RGB is used as it is


@pytest.mark.parametrize("image", [np.zeros((1, 1), np.uint8), np.zeros((1, 1, 3), np.uint8)])
def test_images_that_are_too_small(image):
    with pytest.raises(ValueError, match="1 x 1 pixels"):
        generate_masks(image, BlobModel(), PARAMS)


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["napari_sam_amg.run", "napari_sam_amg.cli"])
def test_the_engine_needs_no_viewer(module):
    assert not imported_by(f"import {module}") & {"napari", "qtpy", "magicgui", "PyQt6"}


def test_importing_the_package_imports_no_torch():
    assert "torch" not in imported_by("import napari_sam_amg, napari_sam_amg.params, napari_sam_amg.cli")


def test_parameters_are_the_model_s_own_but_for_those_given():
    model = BlobModel(info=INFO)
    assert parameters_for(model, overlap="small") == replace(parameters_for(model), overlap="small")
    assert parameters_for(model).points_per_side == DEFAULTS["points_per_side"]
    (own,) = (step.result.params for step in segment_planes(PlaneStack(STACK[0]), model) if step.result is not None)
    assert own.points_per_side == DEFAULTS["points_per_side"]
    with pytest.raises(ValueError, match="'overlapp' is no parameter: allowed are points_per_side, "):
        parameters_for(model, overlapp="small")


MODEL, ONE = BlobModel(), STACK[0]
WRONG = {
    "path": (lambda: generate_masks("a.tif", MODEL), "an image of type str is not allowed: expected an array"),
    "list": (lambda: generate_masks(ONE.tolist(), MODEL), "an image of type list is not allowed"),
    "nothing": (lambda: PlaneStack(None), "an image of type NoneType is not allowed"),
    "name of a model": (lambda: generate_masks(ONE, "embedded"), "model='embedded' is not allowed: it must be loaded"),
    "no model": (lambda: propose_candidates(ONE, None), "model=None is not allowed"),
    "parameters": (lambda: generate_masks(ONE, MODEL, {"link": "z"}), "params={'link': 'z'} is not allowed: give Amg"),
    "array": (lambda: list(segment_planes(STACK, MODEL)), r"type ndarray is not allowed: write PlaneStack\(array\)"),
}


@pytest.mark.parametrize(("call", "words"), WRONG.values(), ids=WRONG)
def test_arguments_of_other_kinds_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
