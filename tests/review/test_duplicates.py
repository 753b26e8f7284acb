"""How candidates overlap with better ones, as histograms behind the thresholds for duplicates show it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from napari_sam_amg.amg.filters import non_maximum
from napari_sam_amg.amg.masks import concatenate
from napari_sam_amg.review import duplicates
from napari_sam_amg.review.duplicates import columns_with_overlaps, largest_overlap
from tests.amg.models import SeeingModel
from tests.disc_model import blobs
from tests.review.runs import PARAMS, kept_run

#: In the second one a disc that all crops of a layer hold.
PLANES = np.stack([blobs(), blobs(discs=((20, 20, 8), (64, 48, 7), (100, 70, 9)))])
CROPS = ({}, {"crop_n_layers": 1}, {"crop_n_layers": 1, "crop_layers": "last"})


class GradingModel(SeeingModel):
    """Thinks less of a blob the later it comes in its crop."""

    def rate(self, region):
        return super().rate(region) - 0.02 * torch.as_tensor(region % 5)[:, None]


def run_with(crops):
    return kept_run(PLANES, replace(PARAMS, point_search="grid", **crops), GradingModel())[0]


def overlaps(boxes, scores, groups=None):
    """Of each box the largest IoU with one that has a higher score, and is of another group if there are any."""
    if not len(boxes):
        return np.empty(0)
    boxes, scores = torch.as_tensor(boxes).float(), torch.as_tensor(scores)
    counts = scores[None] > scores[:, None]
    if groups is not None:
        counts &= torch.as_tensor(groups[None] != groups[:, None])
    return torch.where(counts, box_iou(boxes, boxes).nan_to_num(0), 0).amax(1).numpy()


@pytest.mark.parametrize("crops", CROPS, ids=str)
def test_overlaps_are_those_with_better_candidates_of_the_crop_and_of_others(crops, monkeypatch):
    monkeypatch.setattr(duplicates, "CHUNK", 7)
    run = run_with(crops)
    columns = columns_with_overlaps(run)
    inside, between = [], []
    for index in run.indices:
        found = run.candidates(index).found.crops
        inside += [overlaps(crop.boxes, crop.predicted_iou) for crop in found]
        if len(found) > 1:
            every = concatenate(found)
            sides = every.crop_boxes[:, 2:] - every.crop_boxes[:, :2]
            better = every.predicted_iou if run.params.crop_layers == "last" else -sides.prod(axis=1)
            between.append(overlaps(every.boxes, better, np.repeat(range(len(found)), [len(crop) for crop in found])))
    np.testing.assert_allclose(columns["overlap"], np.concatenate(inside), atol=1e-6)
    assert len(columns["overlap"]) == len(columns["area"]) > 50
    assert len(np.unique(columns["overlap"])) > 3
    np.testing.assert_allclose(columns["overlap_of_crops"], np.concatenate([np.empty(0), *between]), atol=1e-6)
    assert any(columns["overlap_of_crops"]) == bool(crops)


@given(st.integers(0, 2**32 - 1))
def test_what_overlaps_less_than_the_threshold_is_nobodys_duplicate(seed):
    random = np.random.default_rng(seed)
    corners = random.integers(0, 40, (30, 2))
    boxes, scores = np.hstack([corners, corners + random.integers(5, 30, (30, 2))]), random.permutation(30) / 30
    found = largest_overlap(boxes, scores, boxes, scores)
    np.testing.assert_allclose(found, overlaps(boxes, scores), atol=1e-6)
    for threshold in (0.1003, 0.5003, 0.9003):
        kept = non_maximum(boxes, scores, threshold)
        assert {*np.flatnonzero(found <= threshold)} <= {*kept.tolist()}


def test_of_many_candidates_some_of_every_plane_are_compared(monkeypatch):
    run = run_with({"crop_n_layers": 1})
    all_of_them = columns_with_overlaps(run)
    monkeypatch.setattr(duplicates, "ENOUGH", 30)
    some = columns_with_overlaps(run)
    assert 10 < len(some["overlap"]) < 50 < len(all_of_them["overlap"])
    assert {*some["overlap"].tolist()} <= {*all_of_them["overlap"].tolist()}
    assert {*some["overlap_of_crops"].tolist()} <= {*all_of_them["overlap_of_crops"].tolist()}
