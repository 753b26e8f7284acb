from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.amg import remove_small_regions as reference_remove

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.regions import clean, remove_small_regions
from napari_sam_amg.params import AmgParameters
from tests.amg.frames import masks_from_frames


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from(["holes", "islands"]))
def test_one_mask_as_the_reference_cleans_it(seed, area, mode):
    mask = np.random.default_rng(seed).random((14, 17)) < 0.55
    ours, changed = remove_small_regions(mask, area, mode)
    expected, expected_change = reference_remove(mask, area, mode)
    assert changed == expected_change
    np.testing.assert_array_equal(ours, expected)


def reference_frame(frame, area):
    filled, _ = reference_remove(frame, area, "holes")
    return reference_remove(filled, area, "islands")[0]


def some_frame(rng, shape):
    """Noise inside a random box, which may reach any edge of the frame."""
    frame = np.zeros(shape, bool)
    (y0, y1), (x0, x1) = (sorted(rng.integers(0, side + 1, 2)) for side in shape)
    frame[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < rng.choice([0.5, 0.8, 1.0])
    return frame


@given(st.integers(0, 2**32 - 1), st.integers(1, 250))
def test_cutouts_give_what_full_frames_give(seed, area):
    rng = np.random.default_rng(seed)
    frames = [some_frame(rng, (13, 19)) for _ in range(4)]
    masks = masks_from_frames(frames)
    params = AmgParameters(min_mask_region_area=area, box_nms_thresh=1.0, crop_nms_thresh=1.0)
    cleaned = clean(masks, params)
    expected = sorted(reference_frame(frame, area).tobytes() for frame in frames)
    assert sorted(cleaned.frame(row).tobytes() for row in range(len(cleaned))) == expected


@pytest.mark.parametrize("area", [2, 6, 13, 20, 43])
def test_boxes_at_every_edge_of_an_image_as_the_full_frame(area):
    """At each edge, along each, and across the image: what is outside is one part, two or none, small or large."""
    rng = np.random.default_rng(area)
    frames = []
    for y0, y1 in combinations((0, 1, 2, 8, 14, 15, 16), 2):
        for x0, x1 in combinations((0, 1, 2, 8, 15, 16, 17), 2):
            frame = np.zeros((16, 17), bool)
            frame[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < 0.8
            frame[y0, x0] = frame[y1 - 1, x1 - 1] = True  # so that this is its box
            frames.append(frame)
    params = AmgParameters(min_mask_region_area=area, box_nms_thresh=1.0, crop_nms_thresh=1.0)
    cleaned = clean(masks_from_frames(frames), params)
    by_row = {int(point[0]): cleaned.frame(row) for row, point in enumerate(cleaned.points)}
    assert len(by_row) == len(frames)
    for row, frame in enumerate(frames):
        np.testing.assert_array_equal(by_row[row], reference_frame(frame, area))


def test_unchanged_masks_win_the_second_suppression():
    solid = np.zeros((30, 30), bool)
    solid[5:25, 5:25] = True
    holed = solid.copy()
    holed[10, 10] = False
    cleaned = clean(masks_from_frames([holed, solid]), AmgParameters(min_mask_region_area=10))
    assert len(cleaned) == 1
    assert cleaned.points[0].tolist() == [1.0, 1.0]  # the second mask


@pytest.mark.parametrize("count", [0, 3])
def test_off_or_empty_returns_the_same_masks(count):
    masks = masks_from_frames([np.eye(9, dtype=bool)] * count, size=(9, 9))
    assert clean(masks, AmgParameters()) is masks
    assert isinstance(clean(masks, AmgParameters(min_mask_region_area=3)), Masks)
