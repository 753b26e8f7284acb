"""Masks from stored candidates are those of a run with the same parameters."""

import dataclasses
import time

import numpy as np
import pytest

from napari_sam_amg import AmgParameters, generate_masks, load_model, propose_candidates, refilter
from napari_sam_amg.amg.crops import crop_boxes
from napari_sam_amg.amg.prompts import square_grid
from tests.amg.frames import assert_same
from tests.disc_model import BlobModel, blobs
from tests.samples import sample

WEAK = AmgParameters(points_per_side=12, pred_iou_thresh=0.2, stability_score_thresh=0.3)
#: Of the blob model, whose masks have the predicted IoUs 0.6, 0.7 and 0.95.
BLOB_WEAK = AmgParameters(points_per_side=12, pred_iou_thresh=0.5, stability_score_thresh=0.3, crop_n_layers=1)


@pytest.mark.parametrize("batch", [5, 64])
def test_all_points_that_were_asked_are_known_whatever_they_gave(batch):
    params = dataclasses.replace(BLOB_WEAK, points_per_side=4, points_per_batch=batch, pred_iou_thresh=0.9)
    model = BlobModel()
    stored = propose_candidates(blobs(), model, params)
    grids = [
        square_grid(4) * crop.size[::-1] + (crop.x0, crop.y0)  # of the image and its four crops
        for crop in crop_boxes((96, 128), params)
    ]
    np.testing.assert_allclose(stored.asked, np.concatenate(grids), rtol=1e-6)
    assert len(stored.asked) == model.decoded == 80 > len(stored)
    some = propose_candidates(blobs(), model, dataclasses.replace(params, point_search="hierarchical", crop_n_layers=0))
    assert len(some.asked) == model.decoded - 80 > 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pred_iou_thresh": 0.65},
        {"stability_score_thresh": 0.8},
        {"box_nms_thresh": 0.95, "crop_nms_thresh": 0.3},
        {"min_mask_region_area": 30, "points_per_batch": 7},
        {"pred_iou_thresh": 1.0},
    ],
    ids=str,
)
def test_as_a_run_with_these_parameters(changes):
    image, params = blobs(), dataclasses.replace(BLOB_WEAK, **changes)
    model = BlobModel()
    stored = propose_candidates(image, model, BLOB_WEAK)
    model.decoded = 0
    ours = refilter(stored, params)
    assert model.decoded == 0
    assert_same(ours, generate_masks(image, model, params))
    assert len(stored) >= len(ours)


def test_a_real_model_again_and_again_in_a_fraction_of_the_time():
    image, model = sample("tissue.tif")[:, :200], load_model(device="cpu")
    began = time.process_time()
    stored = propose_candidates(image, model, WEAK)
    run = time.process_time() - began
    strict = dataclasses.replace(WEAK, pred_iou_thresh=0.4, stability_score_thresh=0.5, min_mask_region_area=20)
    began = time.process_time()
    few = refilter(stored, strict)
    assert time.process_time() - began < 0.1 * run  # 0.02 is the mark on an idle machine
    assert_same(few, generate_masks(image, model, strict))
    assert len(refilter(stored, WEAK)) > len(few) > 3
    assert_same(refilter(stored, strict), few)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_iou_thresh": 0.1}, "pred_iou_thresh=0.1 is lower than 0.5, with which the candidates were stored"),
        ({"stability_score_thresh": 0.0}, "stability_score_thresh=0.0 is lower than 0.3"),
        ({"stability_score_offset": 2.0}, "stability_score_offset=2.0 differs from 1.0"),
        ({"crop_n_layers": 0}, "crop_n_layers=0 differs from 1"),
        ({"points_per_side": 13}, "points_per_side=13 differs from 12"),
    ],
    ids=str,
)
def test_what_was_not_stored_is_refused(changes, message):
    stored = propose_candidates(blobs(), BlobModel(), BLOB_WEAK)
    with pytest.raises(ValueError, match=message):
        refilter(stored, dataclasses.replace(BLOB_WEAK, **changes))


def test_nothing_found_is_stored_too():
    stored = propose_candidates(np.zeros((50, 40, 3), np.uint8), BlobModel(), BLOB_WEAK)
    assert len(stored) == len(refilter(stored, BLOB_WEAK)) == 0
