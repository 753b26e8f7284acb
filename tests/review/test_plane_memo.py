"""What is remembered of a plane changes no result, whatever is asked for one after another."""

import cv2
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam_amg import AmgParameters
from napari_sam_amg.amg.bits import cut_out
from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.amg.region import RegionCandidates, finish, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.objects.table import Units
from napari_sam_amg.review.plane_memo import PlaneMemo

SIZE = (120, 150)
FLOOR = AmgParameters(pred_iou_thresh=0.2, stability_score_thresh=0.2, crop_n_layers=1)
CROPS = ((0, 0, 150, 120), (0, 0, 80, 70), (70, 0, 150, 70))


def made_up(count: int, seed: int) -> RegionCandidates:
    """Discs with holes and strays, several of each, in three crops."""
    rng = np.random.default_rng(seed)
    crops = [_candidates(rng, count, crop) for crop in CROPS]
    return RegionCandidates(whole_plane((3,), SIZE), StoredCandidates(FLOOR, SIZE, tuple(crops)))


def _candidates(rng: np.random.Generator, count: int, crop: tuple[int, int, int, int]) -> Candidates:
    x0, y0, x1, y1 = crop
    boxes, bits, points = [], [], []
    for _ in range(count):
        frame = np.zeros(SIZE, np.uint8)
        x, y = int(rng.integers(x0, x1) // 12 * 12), int(rng.integers(y0, y1) // 12 * 12)
        cv2.circle(frame, (x, y), int(rng.integers(4, 20)), 1, -1)
        frame[:, rng.integers(x0, x1, 2)] = 0  # in pieces
        frame[rng.integers(y0, y1, 30), rng.integers(x0, x1, 30)] ^= 1
        frame[:y0], frame[y1:], frame[:, :x0], frame[:, x1:] = 0, 0, 0, 0
        left, top, right, bottom = box_of(frame.astype(bool)) or (x0, y0, x0, y0)
        boxes.append((left, top, right, bottom))
        bits.append(cut_out(np.packbits(frame[:, x0:x1], axis=1), left - x0, top, right - x0, bottom))
        points.append((x, y))
    scores = rng.uniform(0.21, 1, (2, count)).astype(np.float32)
    crop_boxes = np.tile(np.array(crop, np.int64), (count, 1))
    return Candidates(np.array(boxes, np.int64), *scores, np.array(points, np.float64), crop_boxes, bits)


any_parameters = st.fixed_dictionaries(
    {
        "pred_iou_thresh": st.floats(0.2, 0.8),
        "stability_score_thresh": st.floats(0.2, 0.8),
        "min_mask_region_area": st.sampled_from([0, 4, 60]),
        "label_pieces": st.sampled_from(["largest", "all"]),
        "min_label_region_area": st.sampled_from([0, 10, 40]),
        "overlap": st.sampled_from(["score", "small", "large"]),
        "box_nms_thresh": st.sampled_from([0.3, 0.7, 1.0]),
        "min_visible_fraction": st.sampled_from([0.0, 0.5]),
        "min_area": st.sampled_from([0, 150]),
        "max_area": st.sampled_from([0, 500]),
    }
)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(any_parameters, min_size=2, max_size=3))
def test_as_if_each_were_the_first(seed, asked):
    candidates, units = made_up(10, seed), Units((0.5, 0.25), area_column="area_um2")
    memo = PlaneMemo(candidates, units)
    for changes in [*asked, asked[0]]:
        params = AmgParameters(**{"crop_n_layers": 1, **changes})
        ours, expected = memo.finish(params), finish(candidates, params, units.pixel_size, units.area_column)
        np.testing.assert_array_equal(ours.labels, expected.labels)
        pd.testing.assert_frame_equal(ours.features, expected.features, check_exact=True)
        assert ours.masks.boxes.tolist() == expected.masks.boxes.tolist()
        for one, other in zip(ours.masks.cutouts, expected.masks.cutouts, strict=True):
            np.testing.assert_array_equal(one, other)
