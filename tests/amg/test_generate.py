"""Every stage after the network, on a model whose masks are known exactly."""

import numpy as np
import pytest

from napari_sam_amg.amg.propose import count_batches
from napari_sam_amg.params import AmgParameters
from tests.amg.frames import mask_steps
from tests.disc_model import BlobModel, blobs

DISCS = ((20, 20, 8), (60, 30, 12), (100, 70, 15))


def rgb(image):
    return np.repeat(image[..., None], 3, axis=2)


def masks_of(image, **params):
    *_, masks = mask_steps(rgb(image), BlobModel(), AmgParameters(stability_score_thresh=0.6, **params))
    return masks


def matches(masks, image):
    """Each blob, drawn by itself, against the best mask."""
    frames = [masks.frame(row) for row in range(len(masks))]
    blob_frames = [blobs(image.shape, (disc,)) > 127 for disc in DISCS]
    return [max((blob & frame).sum() / (blob | frame).sum() for frame in frames) for blob in blob_frames]


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_one_mask_for_each_blob(layers):
    image = blobs()
    masks = masks_of(image, points_per_side=16, crop_n_layers=layers, crop_n_points_downscale_factor=2)
    assert len(masks) == 3
    assert min(matches(masks, image)) > 0.9


def test_small_crops_win_and_cut_masks_are_dropped():
    masks = masks_of(blobs((192, 256), ((40, 40, 12), (128, 96, 30))), points_per_side=16, crop_n_layers=1)
    assert len(masks) == 2
    sizes = {tuple(box) for box in masks.crop_boxes.tolist()}
    assert (0, 0, 256, 192) in sizes  # the large blob is cut by every smaller crop
    assert len(sizes) == 2


def test_no_masks_found():
    masks = masks_of(np.zeros((50, 40), np.uint8), points_per_side=4)
    assert len(masks) == 0
    assert masks.to_coco() == []
    assert masks.size == (50, 40)


def test_masks_are_held_cut_to_their_boxes():
    masks = masks_of(blobs(), points_per_side=16)
    for row, (x0, y0, x1, y1) in enumerate(masks.boxes.tolist()):
        cutout = masks.cutouts[row]
        assert cutout.shape == (y1 - y0 + 1, x1 - x0 + 1)
        assert cutout.any(axis=0)[[0, -1]].all()
        assert cutout.any(axis=1)[[0, -1]].all()
        assert masks.areas[row] == cutout.sum()


def test_every_batch_is_a_step_and_closing_cancels():
    model, params = BlobModel(), AmgParameters(points_per_side=8, points_per_batch=10, crop_n_layers=1)
    image = rgb(blobs())
    assert count_batches((96, 128), params) == 5 * 7
    assert len(list(mask_steps(image, model, params))) == 5 * 7 + 1
    model.decoded = 0
    steps = mask_steps(image, model, params)
    next(steps)
    next(steps)
    steps.close()
    assert model.decoded == 20


def test_select_takes_booleans_and_indices():
    masks = masks_of(blobs(), points_per_side=16)
    assert masks.select([2, 0]).boxes.tolist() == masks.boxes[[2, 0]].tolist()
    picked = masks.select(np.array([False, True, False]))
    np.testing.assert_array_equal(picked.frame(0), masks.frame(1))
