"""Rows of the table say what hands made, and of what the model made all that it said."""

import numpy as np
import pandas as pd

from napari_sam_amg.review.edits import HandEdits, Patch
from napari_sam_amg.review.mended import DRAWN, EDITED, MERGED, MODEL, ORIGIN, in_order_of_use, mended, origins

TABLE = pd.DataFrame(
    {
        "index": [1, 2, 4],
        "area": [10, 20, 40],
        "predicted_iou": [0.9, 0.8, 0.7],
        "visible_fraction": [1.0, 0.5, 1.0],
        "solidity": [0.1, 0.2, 0.4],
    }
)


def edits_of(before: np.ndarray, after: np.ndarray, new=()) -> HandEdits:
    edits = HandEdits()
    edits.draw([Patch.of((), before, after)], new)
    return edits


def test_rows_say_what_hands_made():
    before = np.array([[0, 1, 2, 4]], np.int32)
    edits = edits_of(before, np.array([[7, 1, 1, 4]], np.int32), new=[7])
    table = mended(TABLE, {1: {"area": 2}, 2: None, 7: {"area": 1}}, TABLE, edits, ["solidity"])
    assert table["index"].tolist() == [1, 4, 7]
    assert table["area"].tolist() == [2, 40, 1]
    assert table[ORIGIN].tolist() == [EDITED, MODEL, DRAWN]
    np.testing.assert_array_equal(table["predicted_iou"], [0.9, 0.7, np.nan])
    np.testing.assert_array_equal(table["visible_fraction"], [np.nan, 1, np.nan])
    np.testing.assert_array_equal(table["solidity"], [np.nan, 0.4, np.nan])


def test_what_is_undone_is_the_models_again():
    before = np.array([[0, 1, 2, 4]], np.int32)
    edits = edits_of(before, np.array([[0, 0, 2, 4]], np.int32))
    gone = mended(TABLE, {1: None}, TABLE, edits)
    assert gone["index"].tolist() == [2, 4]
    edits.undo()
    back = mended(gone, {1: {"area": 10}}, TABLE, edits)
    assert back[ORIGIN].tolist() == [MODEL] * 3
    np.testing.assert_array_equal(back[TABLE.columns].to_numpy(), TABLE.to_numpy())


def test_a_merged_object_has_no_score():
    edits = HandEdits()
    edits.merge([1, 2])
    assert origins([1, 2, 4], edits) == [MERGED, EDITED, MODEL]
    table = mended(TABLE, {1: {"area": 30}, 2: None}, TABLE, edits)
    assert table.loc[0, ["area", ORIGIN]].tolist() == [30, MERGED]
    assert np.isnan(table.loc[0, "predicted_iou"])


def test_the_last_object_may_go():
    table = mended(TABLE, {1: None, 2: None, 4: None}, TABLE, HandEdits())
    assert len(table) == 0
    assert set(table.columns) == {*TABLE.columns, ORIGIN}
    again = mended(table, {4: {"area": 40}}, TABLE, HandEdits())
    assert again["predicted_iou"].tolist() == [0.7]


def test_columns_in_order_of_use():
    columns = ["point_y", "solidity", "bbox_y0", "mask_area", "origin", "predicted_iou", "area_um2", "plane", "index"]
    order = ["index", "plane", "area_um2", "predicted_iou", "origin", "solidity", "bbox_y0", "mask_area", "point_y"]
    assert in_order_of_use(columns) == order
