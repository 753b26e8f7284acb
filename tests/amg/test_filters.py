import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.amg import calculate_stability_score, is_box_near_crop_edge

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.filters import confident, cut_by_crop, non_maximum, stability_score, stable
from napari_sam_amg.params import AmgParameters


def test_predicted_iou_at_the_threshold_is_dropped():
    kept = confident(torch.tensor([0.5, 0.5000001, 0.4]), AmgParameters(pred_iou_thresh=0.5))
    assert kept.tolist() == [False, True, False]


def test_stability_at_the_threshold_is_kept_and_nan_is_not():
    kept = stable(np.array([0.75, 0.7499, np.nan], np.float32), AmgParameters(stability_score_thresh=0.75))
    assert kept.tolist() == [True, False, False]


def test_thresholds_of_zero_keep_all():
    params = AmgParameters(pred_iou_thresh=0, stability_score_thresh=0)
    assert confident(torch.tensor([-0.1, 0.0]), params).all()
    assert stable(np.array([0.0, np.nan], np.float32), params).all()


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_stability_as_the_reference_computes_it(seed, offset):
    logits = np.random.default_rng(seed).normal(0, 2, (9, 7)).astype(np.float32)
    expected = calculate_stability_score(torch.as_tensor(logits)[None], 0.0, offset).item()
    (ours,) = stability_score(*(np.array([np.count_nonzero(logits > level)]) for level in (-offset, offset)))
    assert ours == pytest.approx(expected) or (math.isnan(ours) and math.isnan(expected))


@given(st.lists(st.tuples(*[st.integers(0, 199)] * 4), min_size=1, max_size=30))
def test_crop_edges_as_the_reference_finds_them(corners):
    crop, size = CropBox(40, 0, 140, 90, 1), (90, 200)
    local = np.array([[min(a, c) % 100, min(b, d) % 90, max(a, c) % 100, max(b, d) % 90] for a, b, c, d in corners])
    expected = is_box_near_crop_edge(torch.as_tensor(local), list(crop.xyxy), [0, 0, size[1], size[0]])
    ours = cut_by_crop(local + np.array([crop.x0, crop.y0] * 2), crop, size)
    assert ours.tolist() == expected.tolist()


def slow_non_maximum(boxes, scores, threshold):
    def iou(a, b):
        width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
        return width * height / union if union else 0

    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1003, 0.5003, 0.7003]))
def test_suppression_against_the_obvious_loop_and_again_changes_nothing(seed, threshold):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (25, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 20, (25, 2))], axis=1)
    scores = rng.permutation(25).astype(np.float32)
    kept = non_maximum(boxes, scores, threshold)
    assert kept.tolist() == slow_non_maximum(boxes.tolist(), scores.tolist(), threshold)
    assert non_maximum(boxes[kept], scores[kept], threshold).tolist() == list(range(len(kept)))


def test_boxes_without_area_never_suppress_each_other():
    assert len(non_maximum(np.zeros((5, 4), np.int64), np.ones(5, np.float32), 0.5)) == 5
