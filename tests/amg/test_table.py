import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import find_objects

from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.table import _places as places
from napari_sam_amg.amg.table import joined, plane_table, with_background
from napari_sam_amg.params import AmgParameters
from tests.amg.frames import masks_from_frames


def two_squares():
    frames = np.zeros((2, 20, 30), bool)
    frames[0, 2:6, 3:13] = True
    frames[1, 4:10, 11:15] = True  # 2 x 2 px of it belong to the first
    return masks_from_frames(list(frames), [0.9, 0.8])


def test_one_row_per_label_with_what_was_measured():
    masks = two_squares()
    painted = paint(masks, AmgParameters())
    table = plane_table(masks, painted, (7,), (0.5, 0.25), "area_um2")
    assert table["index"].tolist() == [1, 2]
    assert table["plane"].tolist() == [7, 7]
    assert table["area"].tolist() == [40, 20]
    assert table["area_um2"].tolist() == [5.0, 2.5]
    assert table["mask_area"].tolist() == [40, 24]
    assert table["visible_fraction"].tolist() == pytest.approx([1, 20 / 24])
    assert table["predicted_iou"].tolist() == pytest.approx([0.9, 0.8])
    assert table[["centroid_y", "centroid_x"]].values[0].tolist() == [3.5, 7.5]
    assert table[["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]].values.tolist() == [[2, 3, 6, 13], [4, 11, 10, 15]]
    assert table[["point_y", "point_x"]].values.tolist() == [[0, 0], [1, 1]]


def test_without_masks_the_columns_are_the_same():
    full = plane_table(two_squares(), paint(two_squares(), AmgParameters()), (0,))
    nothing = masks_from_frames([], size=(20, 30))
    empty = plane_table(nothing, paint(nothing, AmgParameters()), (0,))
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)


def test_columns_of_two_stack_axes():
    table = plane_table(two_squares(), paint(two_squares(), AmgParameters()), (3, 9))
    assert table[["plane_0", "plane_1"]].values.tolist() == [[3, 9]] * 2


def test_the_row_number_is_the_label_id_once_the_background_is_there():
    masks = two_squares()
    tables = [plane_table(masks, paint(masks, AmgParameters()), (plane,)) for plane in (0, 1)]
    tables[1]["index"] += 2
    table = with_background(joined(tables))
    assert table["index"].tolist() == table.index.tolist() == [0, 1, 2, 3, 4]
    assert table.iloc[0].drop("index").isna().all()


def test_joining_planes_without_masks():
    nothing = masks_from_frames([], size=(20, 30))
    empty = plane_table(nothing, paint(nothing, AmgParameters()), (0,))
    assert len(joined([empty, empty])) == 0
    assert with_background(joined([empty]))["index"].tolist() == [0]


def test_box_centroid_and_area_are_of_what_is_shown():
    frame = np.zeros((200, 300), bool)
    frame[10:20, 10:20] = True
    frame[12, 14:16] = False  # a hole, which is filled
    frame[180, 290:293] = True  # a stray far away
    masks = masks_from_frames([frame])
    row = plane_table(masks, paint(masks, AmgParameters())).iloc[0]
    assert row[["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]].tolist() == [10, 10, 20, 20]
    assert row[["centroid_y", "centroid_x"]].tolist() == [14.5, 14.5]
    assert (row["area"], row["mask_area"], row["cut_by_crop"]) == (100, 101, 0)
    assert row["visible_fraction"] == 98 / 101


@given(st.integers(0, 6), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_places_are_those_of_the_pixels(count, height, width, seed):
    labels = np.random.default_rng(seed).integers(0, count + 1, (height, width)).astype(np.int32)
    _, labels = np.unique(np.append(labels, 0), return_inverse=True)
    labels = labels[:-1].reshape(height, width).astype(np.int32)
    boxes = find_objects(labels)
    sums, ends = places(labels, len(boxes))
    for number, (rows, columns) in enumerate(boxes):
        y, x = np.nonzero(labels == number + 1)
        assert sums[:, number].tolist() == [y.sum(), x.sum()]
        assert ends[:, number].tolist() == [rows.start, columns.start, rows.stop, columns.stop]
    assert sums.shape == (2, len(boxes))
    assert ends.shape == (4, len(boxes))
