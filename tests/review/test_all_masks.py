"""Outlines of all masks, those under others too."""

import cv2
import numpy as np

from napari_sam_amg.review.all_masks import outlines_of
from napari_sam_amg.review.why import fates_of
from tests.review.test_why import PARAMS, SIZE, box, stored, table


def filled(line):
    image = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(image, [np.rint(line[:, ::-1]).astype(np.int32)], 1)
    return image.astype(bool)


def test_every_mask_has_its_outline_whether_others_lie_over_it_or_not():
    masks = [box(5, 5, 25, 25), box(7, 7, 24, 17), box(30, 40, 44, 60)]
    fates = fates_of(stored(table(masks, [0.9, 0.8, 0.7])), PARAMS)
    outlines = outlines_of(fates, np.array([11, 12]))
    assert (outlines.masks, outlines.hidden) == (3, 1)
    found = {
        int(row["mask"]): filled(line) for line, (_, row) in zip(outlines.lines, outlines.table.iterrows(), strict=True)
    }
    for number, place in enumerate(fates.rows.tolist(), 1):
        np.testing.assert_array_equal(found[number], masks[place])
    assert all((line[0] == line[-1]).all() for line in outlines.lines)
    by_label = outlines.table.set_index("label")
    assert sorted(outlines.table["label"]) == [0, 11, 12]
    assert by_label.loc[0, "why"] == "0% of it free, 50% needed; label 11 has most"
    assert (by_label.loc[11, "area"], by_label.loc[11, "why"]) == (400, "")


def test_pieces_have_an_outline_each_and_a_pixel_is_seen():
    pieces = box(2, 2, 8, 9) | box(20, 20, 21, 21)
    outlines = outlines_of(fates_of(stored(table([pieces], [0.9])), PARAMS), np.array([1]))
    assert outlines.table["mask"].tolist() == [1, 1]
    assert sorted(len(line) for line in outlines.lines)[0] == 2
    (dash,) = [line for line in outlines.lines if len(line) == 2]
    assert dash.tolist() == [[20, 19.5], [20, 20.5]]


def test_nothing_has_none():
    outlines = outlines_of(fates_of(stored(table([], [])), PARAMS), np.array([], np.int64))
    assert (outlines.lines, len(outlines.table), outlines.masks) == ([], 0, 0)
