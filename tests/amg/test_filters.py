import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.utils.amg import calculate_stability_score, is_box_near_crop_edge

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.filters import (
    best_in_crop,
    confident,
    cut_by_crop,
    edge_tolerance,
    non_maximum,
    of_right_size,
    passing,
    rows_between_crops,
    stability_score,
    stable,
    sure,
    undominated,
    weakest,
)
from napari_sam_amg.amg.masks import Candidates, no_candidates
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


@pytest.mark.parametrize("tolerance", [0, 1, 4.5, 20])
@pytest.mark.parametrize("margin", [0, 1, 10, 30])
def test_an_edge_near_the_image_s_own_edge_does_not_cut(tolerance, margin):
    """Every distance on every side: near the crop's edge counts, unless the image's edge is as near."""
    crop, size = CropBox(margin, margin, 300 - margin, 200 - margin, 1), (200, 300)
    for side in range(4):
        ends = np.arange(-40, 41)
        boxes = np.tile([150, 100, 150, 100], (len(ends), 1))
        boxes[:, side] = crop.xyxy[side] + ends
        of_image = (0, 0, 300, 200)[side]
        expected = [abs(end) <= tolerance < abs(crop.xyxy[side] + end - of_image) for end in ends]
        assert cut_by_crop(boxes, crop, size, tolerance).tolist() == expected
        assert any(expected) == (margin > 0)


def test_tolerance_of_the_edge_is_the_reference_s_but_a_share_of_crops_that_are_alone():
    small, wide, large = CropBox(0, 0, 64, 96, 2), CropBox(0, 0, 3000, 320, 1), CropBox(0, 0, 2000, 1000, 1)
    assert [edge_tolerance(crop, "all") for crop in (small, wide, large)] == [20, 20, 20]
    assert [edge_tolerance(crop, "last") for crop in (small, wide, large)] == [2, 10, 20]


def candidates(boxes, predicted_iou, stability=None, crop_boxes=None) -> Candidates:
    count = len(boxes)
    scores = np.array(predicted_iou, np.float32)
    return Candidates(
        np.array(boxes, np.int64),
        scores,
        scores if stability is None else np.array(stability, np.float32),
        np.zeros((count, 2)),
        np.array(crop_boxes or [(0, 0, 100, 100)] * count, np.int64),
        [np.zeros((1, 1), np.uint8)] * count,
    )


def test_sure_means_halfway_from_both_thresholds_to_1():
    params = AmgParameters(pred_iou_thresh=0.5, stability_score_thresh=0.25)
    some = candidates([(0, 0, 9, 9)] * 4, [0.75, 0.74, 0.75, 1.0], [0.625, 1.0, 0.62, np.nan])
    assert sure(some, params).tolist() == [True, False, False, False]


BOX, SAME = (10, 10, 50, 50), (10, 10, 50, 49)


def test_within_a_crop_the_better_mask_stays_and_between_crops_the_smaller_crop_s():
    crops = [(0, 0, 100, 100), (0, 0, 60, 60), (0, 0, 50, 80)]  # 10000, 3600 and 4000 px
    three = candidates([BOX, SAME, SAME], [0.9, 0.7, 0.8], crop_boxes=crops)
    assert best_in_crop(three, AmgParameters()).predicted_iou.tolist() == pytest.approx([0.9])
    assert rows_between_crops(three, AmgParameters()).tolist() == [1]
    assert rows_between_crops(three, AmgParameters(crop_layers="last")).tolist() == [0]


@pytest.mark.parametrize(("best", "name"), [(best_in_crop, "box_nms_thresh"), (rows_between_crops, "crop_nms_thresh")])
@pytest.mark.parametrize("crop_layers", ["all", "last"])
def test_each_suppression_has_its_own_threshold(best, name, crop_layers):
    two = candidates([(0, 0, 10, 10), (0, 0, 10, 6)], [0.9, 0.8])  # an IoU of .6
    others = {"box_nms_thresh": 0.7, "crop_nms_thresh": 0.7, "crop_layers": crop_layers}
    assert len(best(two, AmgParameters(**others | {name: 0.55}))) == 1
    others = {"box_nms_thresh": 0.55, "crop_nms_thresh": 0.55, "crop_layers": crop_layers}
    assert len(best(two, AmgParameters(**others | {name: 0.65}))) == 2


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


few = st.integers(0, 2)
cut_parts = st.lists(
    st.tuples(few, few, few, few, st.integers(0, 5), st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8, np.nan])),
    min_size=1,
    max_size=25,
)


@settings(max_examples=50)
@given(cut_parts, st.lists(st.tuples(*[st.floats(0, 0.99)] * 3), min_size=1, max_size=4))
def test_what_is_undominated_gives_the_best_ones_for_any_thresholds(parts, thresholds):
    boxes = [(x, y, x + 10 * width, y + 10 * height) for x, y, width, height, _, _ in parts]
    some = candidates(boxes, [part[4] / 6 for part in parts], [part[5] for part in parts])
    some = replace(some, points=np.arange(2.0 * len(parts)).reshape(-1, 2))
    kept = undominated(some)
    for iou, stability, nms in thresholds:
        params = AmgParameters(pred_iou_thresh=iou, stability_score_thresh=stability, box_nms_thresh=nms)
        ours, expected = (best_in_crop(passing(table, params), params) for table in (kept, some))
        np.testing.assert_array_equal(ours.points, expected.points)


def test_of_a_thousand_masks_with_one_box_a_handful_is_undominated():
    rng = np.random.default_rng(0)
    some = candidates([(0, 0, 50, 50)] * 1000, rng.random(1000), rng.random(1000))
    assert 1 < len(undominated(some)) < 20
    assert len(undominated(no_candidates())) == 0


def test_weakest_lets_through_what_either_does():
    one, other = (AmgParameters(pred_iou_thresh=a, stability_score_thresh=b, points_per_side=c) for a, b, c in (
        (0.5, 0.6, 7), (0.7, 0.4, 9)))  # fmt: skip
    assert weakest(one, other) == replace(one, stability_score_thresh=0.4)
    assert weakest(other, one) == replace(other, pred_iou_thresh=0.5)


@pytest.mark.parametrize(
    ("least", "most", "kept"),
    [(0, 0, [0, 1, 2]), (4, 0, [1, 2]), (5, 0, [2]), (0, 4, [0, 1]), (0, 3, [0]), (4, 4, [1]), (5, 8, [])],
)
def test_masks_of_the_right_size(least, most, kept):
    packed = [np.packbits(np.ones((1, count), bool), axis=1) for count in (3, 4, 9)]
    some = replace(candidates([(0, 0, 9, 9)] * 3, [1, 1, 1]), bits=packed)
    assert np.flatnonzero(of_right_size(some, AmgParameters(min_area=least, max_area=most))).tolist() == kept


def test_areas_are_those_of_the_cutouts():
    rng = np.random.default_rng(0)
    frames = [rng.random((height, 40)) < 0.5 for height in (1, 7, 0, 12)]
    some = replace(candidates([(0, 0, 39, 9)] * 4, [1] * 4), bits=[np.packbits(frame, axis=1) for frame in frames])
    assert some.areas.tolist() == [frame.sum() for frame in frames]
    assert no_candidates().areas.tolist() == []
