"""Removal of small holes and small separate pieces of masks."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.filters import non_maximum
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.params import AmgParameters

BoolImage = NDArray[np.bool_]


Corner = tuple[int, int]


def remove_small_regions(
    mask: BoolImage, area_thresh: int, mode: Literal["holes", "islands"], large: Sequence[Corner] = ()
) -> tuple[BoolImage, bool]:
    """Fill holes, or drop 8-connected pieces, of fewer than ``area_thresh`` pixels.

    If every piece is too small, the largest stays. Returns the mask and whether it changed.
    ``large``: pixels (row, column) whose regions count as large, since they go on outside.
    Source: ``segment_anything.utils.amg.remove_small_regions``.
    """
    working = (mask ^ (mode == "holes")).astype(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(working, connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA].copy()
    for corner in large:
        sizes[regions[corner] - 1] = area_thresh
    small = np.flatnonzero(sizes < area_thresh) + 1
    if not len(small):
        return mask, False
    if mode == "holes":
        return np.isin(regions, np.append(small, 0)), True  # 0: what is no hole, which is the mask
    kept = np.setdiff1d(np.arange(1, len(stats)), small)
    if not len(kept):
        kept = np.array([sizes.argmax() + 1])
    return np.isin(regions, kept), True


#: Of a mask, by its row: its box, its cutout, and whether they changed.
Cleaned = tuple[NDArray[np.int64], BoolImage, bool]


def clean(masks: Masks, params: AmgParameters) -> Masks:
    """Apply ``min_mask_region_area`` to all masks, then drop those that became duplicates.

    As in the reference, masks which did not change win the second suppression.
    """
    area = params.min_mask_region_area
    if area == 0 or len(masks) == 0:
        return masks
    masks, rows = without_duplicates(masks, [clean_one(masks, row, area) for row in range(len(masks))], params)
    return masks.select(rows)


def without_duplicates(
    masks: Masks, cleaned: Sequence[Cleaned], params: AmgParameters
) -> tuple[Masks, NDArray[np.int64]]:
    """The masks as they are now, and which of them stay."""
    unchanged = np.array([not changed for _, _, changed in cleaned], np.float32)
    masks = dataclasses.replace(
        masks,
        boxes=np.array([box for box, _, _ in cleaned], np.int64),
        cutouts=[cutout for _, cutout, _ in cleaned],
    )
    return masks, non_maximum(masks.boxes, unchanged, max(params.box_nms_thresh, params.crop_nms_thresh))


def clean_one(masks: Masks, row: int, area: int) -> Cleaned:
    """One mask without holes and pieces of less than ``area`` pixels, by its pixels and where they lie alone."""
    before, (rows, columns) = masks.cutouts[row], masks.window(row)
    framed, (top, left), outside = _with_ring(before, rows, columns, masks.size)
    if any(size < area for _, size in outside):  # the outside itself may be a hole to fill
        framed, (top, left), outside = masks.frame(row), (0, 0), []
    filled, holes = remove_small_regions(framed, area, "holes", [corner for corner, _ in outside])
    kept, islands = remove_small_regions(filled, area, "islands")
    box = box_of(kept)
    if not (holes or islands) or box is None:
        return masks.boxes[row], before, holes or islands
    x0, y0, x1, y1 = box
    return np.add(box, (left, top, left, top)), kept[y0 : y1 + 1, x0 : x1 + 1].copy(), True


def _with_ring(
    cutout: BoolImage, rows: slice, columns: slice, size: tuple[int, int]
) -> tuple[BoolImage, tuple[int, int], list[tuple[Corner, int]]]:
    """The cutout with a ring of one background pixel wherever the image goes on.

    The ring joins the background around the mask just as the rest of the image does. Returns the
    framed cutout, its (row, column) in the image, and for each separate part of the image outside:
    a pixel of the ring that belongs to it, and its size beyond the ring.
    """
    height, width = size
    top, bottom, left, right = rows.start > 0, rows.stop < height, columns.start > 0, columns.stop < width
    framed = np.pad(cutout, ((int(top), int(bottom)), (int(left), int(right))))
    outside: list[tuple[Corner, int]] = []
    if top and bottom and not (left or right):  # the mask spans the image: two parts
        outside = [((0, 0), (rows.start - 1) * width), ((-1, 0), (height - rows.stop - 1) * width)]
    elif left and right and not (top or bottom):
        outside = [((0, 0), (columns.start - 1) * height), ((0, -1), (width - columns.stop - 1) * height)]
    elif top or bottom or left or right:
        corner = (-1 if bottom and not top else 0, -1 if right and not left else 0)
        outside = [(corner, height * width - framed.size)]
    return framed, (rows.start - top, columns.start - left), outside
