"""Outlines hold exactly the pixels that they were made of."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from napari_sam_amg.io.outlines import rings
from tests.io.roi_pixels import filled


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_rings_give_the_mask_again_by_both_rules(mask: Any) -> None:
    odd, winding = filled(rings(mask), mask.shape)
    np.testing.assert_array_equal(odd, mask)
    np.testing.assert_array_equal(winding, mask)


@given(arrays(bool, (7, 7), elements=st.booleans()))
def test_a_ring_for_each_piece_and_each_hole_and_pieces_first(mask: Any) -> None:
    found = rings(mask)
    pieces = ndimage.label(mask)[1]
    holes = ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))[1] - 1
    assert [_area(ring) > 0 for ring in found] == [True] * pieces + [False] * holes
    assert sum(map(_area, found)) == mask.sum()


def _area(ring: Any) -> float:
    """Positive if it goes clockwise, as seen on the screen."""
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    return float((x * next_y - next_x * y).sum() / 2)


def test_corners_alone_are_kept() -> None:
    (ring,) = rings(np.ones((3, 5), bool))
    assert ring.tolist() == [[0, 0], [5, 0], [5, 3], [0, 3]]


@pytest.mark.parametrize("mask", [[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
def test_pixels_that_touch_at_a_corner_have_an_outline_each(mask: Any) -> None:
    assert [len(ring) for ring in rings(np.array(mask, bool))] == [4, 4]


def test_nothing_has_no_outline() -> None:
    assert rings(np.zeros((3, 4), bool)) == []
