"""Measuring objects in an image of labels, and asking where there is none."""

import numpy as np
import pytest

from napari_sam_amg.sam.object_maps import SeenObjects, measure


def bars(*widths, height=30):
    """Vertical bars side by side, labelled 1, 2, ..."""
    return np.repeat(np.arange(1, len(widths) + 1, dtype=np.int32), widths)[None].repeat(height, axis=0)


def test_neighbours_that_touch_have_their_own_area_and_thickness():
    areas, thickness = measure(bars(5, 9, 1), 3)
    assert areas.tolist() == [150, 270, 30]
    np.testing.assert_allclose(thickness, [5, 9, 1])


def test_an_object_at_the_edge_of_the_image_ends_there():
    np.testing.assert_allclose(measure(bars(7), 1)[1], [7])


def test_the_thickness_is_that_of_the_thickest_place():
    owners = np.zeros((40, 40), np.int32)
    owners[5:14, 5:14] = 1
    owners[9, 14:35] = 1
    np.testing.assert_allclose(measure(owners, 1)[1], [9])


def test_labels_that_no_pixel_has_are_of_no_size():
    areas, thickness = measure(np.zeros((4, 4), np.int32), 2)
    assert (areas.tolist(), thickness.tolist()) == ([0, 0], [1, 1])
    assert measure(np.zeros((4, 4), np.int32), 0)[0].shape == (0,)


@pytest.mark.parametrize(
    ("point", "expected"), [((0, 0), True), ((0.49, 0.9), True), ((0.51, 0), False), ((1, 1), False)]
)
def test_points_are_looked_up_in_the_map_of_the_background(point, expected):
    empty = np.empty(0)
    seen = SeenObjects(np.empty((0, 2)), empty, empty, np.array([[True, False], [True, False], [True, False]]))
    assert seen.in_background(np.array([point], float)).tolist() == [expected]
    assert len(seen) == 0
