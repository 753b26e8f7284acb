import dataclasses

import numpy as np
import pytest

from napari_sam_amg.amg.seams import cut_at_crop_edge
from tests.amg.frames import masks_from_frames

SIZE = (400, 500)
CROP = (100, 50, 420, 370)  # 320 px: masks are dropped within 10 px of its edges, and looked at within 15


def box(x0, y0, x1, y1):
    frame = np.zeros(SIZE, bool)
    frame[y0 : y1 + 1, x0 : x1 + 1] = True
    return frame


def disc(x, y, radius):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(rows - y, columns - x) <= radius


def is_cut(frame, crop=CROP):
    masks = masks_from_frames([frame])
    return cut_at_crop_edge(dataclasses.replace(masks, crop_boxes=np.array([crop]))).tolist() == [True]


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize(("gap", "expected"), [(0, True), (9, True), (15, True), (16, False), (40, False)])
def test_a_straight_end_near_each_edge(turn, gap, expected):
    x0, y0, x1, y1 = 200, 150, 260, 210
    sides = [(100 + gap, y0, x1, y1), (x0, 50 + gap, x1, y1), (x0, y0, 419 - gap, y1), (x0, y0, x1, 369 - gap)]
    assert is_cut(box(*sides[turn])) == expected


@pytest.mark.parametrize("turn", range(4))
def test_a_round_end_is_no_cut_but_touching_the_edge_is(turn):
    def at(gap):
        near = gap + 20
        return disc(*[(100 + near, 200, 20), (250, 50 + near, 20), (419 - near, 200, 20), (250, 369 - near, 20)][turn])

    assert not is_cut(at(5))
    assert is_cut(at(0))


@pytest.mark.parametrize("crop", [(0, 0, 500, 400), (0, 0, 320, 400), (180, 0, 500, 400)])
def test_the_edge_of_the_image_cuts_nothing(crop):
    assert not is_cut(box(200, 0, 260, 399), crop)


def test_a_straight_side_away_from_the_edge_does_not_count():
    half = disc(135, 200, 30) & (np.mgrid[: SIZE[0], : SIZE[1]][1] <= 135)  # round at x = 105, straight at x = 135
    assert not is_cut(half)
    assert is_cut(half, (0, 50, 140, 370))
