import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam_amg.amg.labels import paint
from napari_sam_amg.params import AmgParameters
from tests.amg.frames import masks_from_frames


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


def test_ids_go_on_from_the_first_id():
    painted = paint(masks_from_frames([SMALL]), AmgParameters(), first_id=41)
    assert np.unique(painted.labels).tolist() == [0, 41]


def test_empty_masks_get_no_label():
    painted = paint(masks_from_frames([np.zeros((5, 6), bool)]), AmgParameters(min_visible_fraction=0))
    assert len(painted.rows) == 0
    assert not painted.labels.any()


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
    painted = paint(masks_from_frames(frames, iou), AmgParameters(min_visible_fraction=fraction))
    labels, owner = slow_paint(frames, np.argsort(-iou), fraction)
    np.testing.assert_array_equal(painted.labels, labels)
    assert painted.rows.tolist() == owner
    assert painted.visible.tolist() == [int((labels == i + 1).sum()) for i in range(len(owner))]
