import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from napari_sam_amg.amg.labels import paint
from napari_sam_amg.params import AmgParameters
from tests.amg.frames import masks_from_frames

#: Labels as they are painted, nothing cleaned.
RAW = {"label_pieces": "all", "min_label_region_area": 0, "max_ring_area": 0}


def square(y0, x0, y1, x1, size=(20, 30)):
    frame = np.zeros(size, bool)
    frame[y0:y1, x0:x1] = True
    return frame


BIG, SMALL = square(0, 0, 10, 10), square(2, 2, 6, 6)


@pytest.mark.parametrize(
    ("overlap", "iou", "owner_of_the_overlap"),
    [("score", [0.8, 0.9], 1), ("score", [0.9, 0.8], 0), ("small", [0.9, 0.8], 1), ("large", [0.8, 0.9], 0)],
)
def test_the_policy_decides_who_owns_a_pixel(overlap, iou, owner_of_the_overlap):
    painted = paint(masks_from_frames([BIG, SMALL], iou), AmgParameters(overlap=overlap))
    assert painted.rows[painted.labels[3, 3] - 1] == owner_of_the_overlap


def test_a_hidden_mask_takes_no_pixel_and_no_id():
    painted = paint(masks_from_frames([BIG, SMALL, square(12, 12, 15, 15)], [0.9, 0.8, 0.7]), AmgParameters())
    assert painted.rows.tolist() == [0, 2]
    assert np.unique(painted.labels).tolist() == [0, 1, 2]
    assert painted.visible.tolist() == painted.areas.tolist() == [100, 9]


def test_no_sliver_is_left_and_what_it_covered_shows():
    first, second, third = square(0, 0, 10, 10), square(0, 2, 10, 12), square(0, 10, 10, 15)
    painted = paint(masks_from_frames([first, second, third], [0.9, 0.8, 0.7]), AmgParameters())
    assert painted.rows.tolist() == [0, 2]  # of the second only 20 of 100 px are left
    assert painted.visible.tolist() == [100, 50]  # and the third has those too which the second claimed
    assert (painted.labels == 2).sum() == 50


def test_empty_masks_get_no_label():
    painted = paint(masks_from_frames([np.zeros((5, 6), bool)]), AmgParameters(min_visible_fraction=0))
    assert len(painted.rows) == 0
    assert not painted.labels.any()


def test_ties_go_by_predicted_iou_and_then_by_row():
    same = [square(0, 0, 10, 10), square(0, 5, 10, 15), square(0, 10, 10, 20)]
    painted = paint(masks_from_frames(same, [0.7, 0.7, 0.7]), AmgParameters(min_visible_fraction=0))
    assert painted.rows.tolist() == [0, 1, 2]
    assert painted.visible.tolist() == [100, 50, 50]
    for overlap in ("small", "large"):  # as large as one another: the better one first
        painted = paint(masks_from_frames(same, [0.7, 0.9, 0.8]), AmgParameters(overlap=overlap))
        assert painted.rows[painted.labels[5, [6, 12]] - 1].tolist() == [1, 1]


def slow_paint(frames, order, fraction):
    labels, owner = np.zeros(frames[0].shape, int), []
    for row in order:
        free = frames[row] & (labels == 0)
        if free.sum() and free.sum() >= fraction * frames[row].sum():
            owner.append(row)
            labels[free] = len(owner)
    return labels, owner


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]))
def test_against_full_frames(seed, fraction):
    rng = np.random.default_rng(seed)
    frames = [rng.random((8, 9)) < 0.3 for _ in range(6)]
    iou = rng.permutation(6) / 10
    painted = paint(masks_from_frames(frames, iou), AmgParameters(min_visible_fraction=fraction, **RAW))
    labels, owner = slow_paint(frames, np.argsort(-iou), fraction)
    np.testing.assert_array_equal(painted.labels, labels)
    assert painted.rows.tolist() == owner
    assert painted.visible.tolist() == painted.shown.tolist() == [(labels == i + 1).sum() for i in range(len(owner))]


def sizes(pixels):
    """Of the 4-connected pieces, largest first."""
    return sorted(np.bincount(label(pixels)[0].ravel())[1:].tolist(), reverse=True)


LONG = square(2, 1, 7, 29)


@pytest.mark.parametrize(("column", "left"), [(20, 95), (11, 50), (2, 95), (16, 75), (24, 115)])
@pytest.mark.parametrize("area", [0, 30])
def test_a_mask_that_a_better_one_crosses_keeps_its_largest_piece(column, left, area):
    bar = square(0, column, 9, column + 8)
    painted = paint(masks_from_frames([LONG, bar], [0.8, 0.9]), AmgParameters(min_mask_region_area=area))
    assert [sizes(painted.labels == i) for i in (1, 2)] == [[bar.sum()], [left]]
    assert painted.shown.tolist() == painted.visible.tolist() == [bar.sum(), left]


@pytest.mark.parametrize(
    ("size", "mask_size", "pieces"),
    [(0, 0, [65, 35]), (0, 36, [65, 35]), (35, 0, [65, 35]), (36, 0, [65]), (30, 36, [65])],
)
def test_all_large_pieces_stay_where_that_is_asked_for(size, mask_size, pieces):
    params = AmgParameters(label_pieces="all", min_label_region_area=size, min_mask_region_area=mask_size)
    painted = paint(masks_from_frames([LONG, square(0, 14, 9, 22)], [0.8, 0.9]), params)
    assert sizes(painted.labels == 2) == pieces


def test_a_piece_that_hangs_on_by_a_corner_is_a_piece():
    corner = square(2, 2, 8, 8) | square(8, 8, 9, 10)
    painted = paint(masks_from_frames([corner]), AmgParameters())
    assert sizes(painted.labels == 1) == [36]


def test_a_lost_piece_goes_to_the_mask_that_claims_it_too():
    stray = square(2, 2, 8, 8) | square(3, 15, 5, 17)
    other = square(2, 12, 8, 20)
    painted = paint(masks_from_frames([stray, other], [0.9, 0.8]), AmgParameters())
    assert painted.shown.tolist() == [36, 48]


def test_a_mask_of_specks_gets_no_label_and_leaves_no_gap_in_the_ids():
    specks = np.zeros((20, 30), bool)
    specks[::4, ::4] = True
    painted = paint(masks_from_frames([specks, square(5, 5, 12, 12)], [0.9, 0.8]), AmgParameters())
    assert painted.rows.tolist() == [1]
    assert np.unique(painted.labels).tolist() == [0, 1]
    small = paint(masks_from_frames([square(5, 5, 7, 7)]), AmgParameters())
    assert small.shown.tolist() == [4]  # one speck in one piece is an object


def test_small_holes_are_filled_and_area_is_of_what_is_shown():
    holed = square(2, 2, 15, 15)
    holed[5, 5:7] = False
    painted = paint(masks_from_frames([holed]), AmgParameters())
    assert (painted.shown.tolist(), painted.visible.tolist(), painted.areas.tolist()) == ([169], [167], [167])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 5, 30]), st.sampled_from(["largest", "all"]))
def test_every_label_is_whole_and_counted_right(seed, size, pieces):
    rng = np.random.default_rng(seed)
    frames = [zoom_noise(rng) for _ in range(5)]
    params = AmgParameters(min_label_region_area=size, label_pieces=pieces, max_ring_area=0)
    painted = paint(masks_from_frames(frames, rng.random(5)), params)
    ids = np.unique(painted.labels[painted.labels > 0]).tolist()
    assert ids == list(range(1, 1 + len(painted.rows)))
    for position, number in enumerate(ids):
        own = painted.labels == number
        found = sizes(own)
        assert painted.shown[position] == own.sum()
        assert painted.visible[position] <= min(painted.areas[position], own.sum())
        assert len(found) == 1 or (pieces == "all" and min(found[1:]) >= size)


def zoom_noise(rng):
    """Ragged blobs in several pieces."""
    return np.kron(rng.random((7, 9)) < 0.4, np.ones((3, 3), bool)) & (rng.random((21, 27)) < 0.9)


def test_a_ring_around_another_label_is_dropped_and_the_ids_move_up():
    y, x = np.mgrid[:40, :60]
    away = np.hypot(y - 15, x - 15)
    inner, halo = away <= 7, away <= 11
    ring, beside = halo & (away > 8), np.hypot(y - 20, x - 45) <= 8
    for outer in (halo, ring):
        for iou in ([0.9, 0.8, 0.7], [0.8, 0.9, 0.7]):
            if outer is halo and iou[0] < iou[1]:
                continue  # the halo is painted first, and nothing of the inner one is left
            painted = paint(masks_from_frames([inner, outer, beside], iou), AmgParameters())
            assert painted.rows.tolist() == [0, 2]
            assert painted.shown.tolist() == [inner.sum(), beside.sum()]
            assert np.unique(painted.labels).tolist() == [0, 1, 2]


def test_a_cell_around_its_small_nucleus_is_no_ring():
    y, x = np.mgrid[:40, :40]
    away = np.hypot(y - 20, x - 20)
    masks = masks_from_frames([away <= 7, away <= 15], [0.9, 0.8])
    assert paint(masks, AmgParameters()).rows.tolist() == [0, 1]
    assert paint(masks, AmgParameters(max_ring_area=4)).rows.tolist() == [0]
    halo = masks_from_frames([away <= 7, away <= 11], [0.9, 0.8])
    assert paint(halo, AmgParameters(max_ring_area=0)).rows.tolist() == [0, 1]


def test_what_a_crop_may_have_cut_is_painted_last_and_said():
    part, whole = square(2, 2, 12, 14), square(2, 2, 12, 24)
    masks = masks_from_frames([part, whole], [0.9, 0.8])
    crops = np.array([[0, 0, 14, 20], [0, 0, 30, 20]])
    painted = paint(dataclasses.replace(masks, crop_boxes=crops), AmgParameters())
    assert painted.rows.tolist() == [1]
    assert painted.cut.tolist() == [False]
    alone = paint(dataclasses.replace(masks, crop_boxes=crops).select([0]), AmgParameters())
    assert alone.cut.tolist() == [True]
