"""Rows that are measured again are those that the run would have given."""

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg.amg.table import of_plane_axes
from napari_sam_amg.objects.table import Units
from napari_sam_amg.review.remeasure import (
    Grid,
    boxes_in,
    boxes_of,
    disagreeing,
    joined,
    measured,
    pieces,
    places_of_all,
    rows_of_all,
)
from tests.objects.discs import T, Z, linked, stack

VOXEL = Units((0.5, 0.25), 2.0, "area_um2")
COLUMNS = [((20, 20, 8), range(5)), ((60, 30, 12), range(2, 9)), ((100, 70, 15), range(4, 10))]
WHOLE = np.s_[:, :]


@pytest.mark.parametrize("params", [Z, T])
def test_an_object_through_planes_has_its_row_again(params):
    labels, _, objects = linked(stack(COLUMNS, 11), params, units=VOXEL)
    grid = Grid(params.link, 0, VOXEL)
    assert len(objects) == 3
    for _, row in objects.iterrows():
        boxes = boxes_of(objects, [row["index"]], grid, 1)[row["index"]]
        assert len(boxes) == row["planes"]
        again = measured(pieces(lambda index: labels[index], row["index"], boxes), grid)
        assert len(again) > 8
        for name, value in again.items():
            assert value == pytest.approx(row[name]), name
        unmeasured = {name for name in objects.columns if name not in again} - {"index"}
        assert all(
            "iou" in name or "stab" in name or name in ("parent", "filled_planes", "weakest_link")
            for name in unmeasured
        )


def test_faces_are_counted_where_planes_overlap_only():
    labels = np.zeros((3, 9, 9), np.int32)
    labels[0, 1:4, 1:4], labels[1, 3:6, 3:6] = 1, 1  # they share one pixel
    parts = pieces(lambda index: labels[index], 1, {(z,): WHOLE for z in range(3)})
    row = measured(parts, Grid("z"))
    faces = 2 * 2 / 3 * ((18 - 1) + (18 - 12) + (18 - 12))
    assert row["surface"] == pytest.approx(faces)
    assert (row["first_plane"], row["last_plane"], row["planes"], row["volume"]) == (0, 1, 2, 18)


def test_an_object_of_one_plane_has_its_row_again():
    labels, _, _ = linked(stack(COLUMNS, 5), Z)
    grid = Grid("none", units=VOXEL)
    ids = np.unique(labels[4])[1:]
    for label in ids:
        parts = pieces(lambda index: labels[index], label, {(4,): WHOLE})
        row = measured(parts, grid)
        where = np.nonzero(labels[4] == label)
        assert row["area"] == len(where[0])
        assert row["area_um2"] == pytest.approx(len(where[0]) * 0.125)
        assert (row["centroid_y"], row["centroid_x"]) == pytest.approx([axis.mean() for axis in where])
        box = [where[0].min(), where[1].min(), where[0].max() + 1, where[1].max() + 1]
        assert [row[f"bbox_{name}"] for name in ("y0", "x0", "y1", "x1")] == box
        assert row["plane"] == 4


def test_an_object_that_was_painted_in_two_planes_has_all_its_pixels():
    labels = np.zeros((2, 3, 9, 9), np.int32)
    labels[0, 1, 2:4, 2:4], labels[1, 2, 5:8, 5:8] = 7, 7
    everywhere = dict.fromkeys(np.ndindex(2, 3), WHOLE)
    row = measured(pieces(lambda index: labels[index], 7, everywhere), Grid())
    assert (row["plane_0"], row["plane_1"]) == (1, 2), "the plane that holds most"
    assert row["area"] == 13
    assert [row[f"bbox_{name}"] for name in ("y0", "x0", "y1", "x1")] == [2, 2, 8, 8]


def test_columns_are_called_after_the_axes():
    labels = np.zeros((1, 9, 9), np.int32)
    labels[0, 1:3, 4:8] = 1
    row = measured(pieces(lambda index: labels[index], 1, {(0,): WHOLE}), Grid("z", 0, VOXEL, "ZX", "Y"))
    assert (row["centroid_z"], row["centroid_x"], row["centroid_y"]) == (1.5, 5.5, 0)
    assert (row["bbox_z0"], row["bbox_x1"]) == (1, 8)
    assert row["centroid_z_um"] == 0.75
    table = of_plane_axes(pd.DataFrame(columns=["centroid_z", "bbox_y0"]), "ZX", "Y")
    assert set(table.columns) <= set(row)
    rows = pd.DataFrame([{"index": 5, **row}, {"index": 6, **row}])
    assert boxes_of(rows, [5, 9], Grid("z", 0, VOXEL, "ZX", "Y"), 1) == {5: {(0,): (slice(1, 3), slice(4, 8))}}


def test_a_row_that_says_nothing_has_no_boxes():
    assert boxes_of(pd.DataFrame({"index": [1], "area": [4]}), [1], Grid(), 0) == {}
    nothing = {name: [np.nan] for name in ("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1")}
    assert boxes_of(pd.DataFrame({"index": [1]} | nothing), [1], Grid(), 0) == {}
    assert joined(None, WHOLE) == WHOLE
    assert joined(np.s_[2:4, 5:6], np.s_[1:3, 5:9]) == np.s_[1:4, 5:9]


def all_rows(labels, grid):
    def plane_of(index):
        return labels[index]

    return rows_of_all(plane_of, places_of_all(plane_of, np.ndindex(labels.shape[:1])), grid)


def test_all_objects_of_planes_and_what_the_table_has_otherwise():
    labels, _, objects = linked(stack(COLUMNS, 11), Z, units=VOXEL)
    grid = Grid("z", 0, VOXEL)
    rows = all_rows(labels, grid)
    assert set(rows) == set(objects["index"])
    assert disagreeing(objects, rows) == {}
    labels[3][labels[3] == 2] = 0
    labels[labels == 1] = 7
    rows = all_rows(labels, grid)
    found = disagreeing(objects, rows)
    assert set(found) == {1, 2, 7}
    assert found[1] is None
    assert found[2]["volume"] < objects.loc[objects["index"] == 2, "volume"].item()
    assert disagreeing(objects, {}) == dict.fromkeys([1, 2, 3])


@pytest.mark.parametrize("far", [1, 10**9])
def test_boxes_of_a_plane_whatever_the_ids(far):
    labels = np.zeros((9, 9), np.int64)
    labels[1:3, 4:6], labels[8, 8], labels[0, 0] = 3 * far, 5 * far, 5 * far
    assert boxes_in(labels) == {3 * far: np.s_[1:3, 4:6], 5 * far: np.s_[0:9, 0:9]}
    assert boxes_in(np.full((2, 2), far)) == {far: np.s_[0:2, 0:2]}
    assert boxes_in(np.zeros((2, 2), int)) == {}
