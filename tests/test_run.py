import subprocess
import sys

import dask.array as da
import numpy as np
import pytest

from napari_sam_amg import AmgParameters, PlaneStack, generate_masks, segment_planes
from napari_sam_amg.amg.preprocess import IntensityRange
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
    assert [step.done for step in steps if step.result is None] == list(range(1, 13))
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


def test_small_crops_cut_no_object_along_their_edges():
    params = AmgParameters(points_per_side=8, stability_score_thresh=0.6, crop_layers="last", crop_n_layers=3)
    image = blobs((96, 128), ((20, 20, 8), (60, 30, 12), (100, 70, 15), (18, 75, 2)))
    *_, last = segment_planes(PlaneStack(image), BlobModel(), params)
    assert last.result is not None
    assert not last.result.features["cut_by_crop"].any()
    assert last.result.features["area"].tolist() == [(blobs((96, 128), ((18, 75, 2),)) > 0).sum()]


def test_physical_area_under_the_name_asked_for():
    (first, *_) = results(PlaneStack(STACK), pixel_size=(0.5, 0.2), area_column="area_um2")
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
