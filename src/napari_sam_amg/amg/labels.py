"""Masks to a label image: each pixel belongs to one label at most, and each label is one object, by stated rules."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.fragments import fill_holes, give_away, plainly_one_piece, rings, without_strays
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.near_boxes import near_pairs
from napari_sam_amg.amg.seams import cut_at_crop_edge
from napari_sam_amg.params import AmgParameters

#: Of a mask, by its row, the pieces that a label keeps of the pixels that are free; these themselves if it is all.
Pieces = Callable[[int, NDArray[np.bool_]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class LabelPlane:
    """A painted plane, and where its labels come from."""

    labels: NDArray[np.int32]  # (H, W), 0 is background, ids 1, 2, ... without gaps
    rows: NDArray[np.int64]  # (n,) the row of the masks behind each id, in order of id
    shown: NDArray[np.int64]  # (n,) pixels that each label owns
    visible: NDArray[np.int64]  # (n,) pixels of its mask that it was painted with
    areas: NDArray[np.int64]  # (n,) pixels of its whole mask
    cut: NDArray[np.bool_]  # (n,) whether the edge of a crop may have cut its mask


def paint(
    masks: Masks,
    params: AmgParameters,
    cut: NDArray[np.bool_] | None = None,
    free_pixels: NDArray[np.int64] | None = None,
    pieces: Pieces | None = None,
    areas: NDArray[np.int64] | None = None,
) -> LabelPlane:
    """Paint masks in order of priority, so that a pixel goes to the first mask that claims it; then clean.

    ``params.overlap`` sets the priority. A mask of which less than ``params.min_visible_fraction``
    is still free is left out whole: it takes no pixel, and leaves no sliver behind. Of the free pixels
    a label keeps its largest 4-connected piece, with ``label_pieces="all"`` every piece of
    ``params.smallest_piece`` pixels, and a mask of which only specks would be left gets no label.
    What a label loses goes to the next mask that claims it, or else to the neighbour with the longest
    border, which may be the background. Small holes are filled, rings around other labels left out.
    ``cut``: (M,) whether the edge of a crop may have cut each mask, if that is known. ``free_pixels``: (M,), is filled
    with how many pixels of each mask were free when its turn came. ``pieces`` stands in for ``without_strays``: whoever
    paints the same masks again and again may remember what it gave. ``areas``: (M,) pixels of the masks, if known.
    """
    cut = cut_at_crop_edge(masks) if cut is None else cut
    areas = masks.areas if areas is None else areas
    labels, vacated = np.zeros(masks.size, np.int32), np.zeros(masks.size, bool)
    pieces = pieces or (lambda row, free: without_strays(free, params))
    is_one = plainly_one_piece(masks.cutouts)
    is_alone = np.ones(len(masks), bool)
    is_alone[near_pairs(masks.boxes)] = False  # of what no other box reaches all is free
    least, smallest = params.min_visible_fraction * areas, params.smallest_piece
    windows = masks.windows
    rows: list[int] = []
    counts: list[int] = []
    for row in priority(masks, areas, cut, params).tolist():
        part = labels[windows[row]]
        free = masks.cutouts[row] if is_alone[row] else masks.cutouts[row] & (part == 0)
        visible = int(areas[row] if is_alone[row] else np.count_nonzero(free))
        if free_pixels is not None:
            free_pixels[row] = visible
        if not visible or visible < least[row]:
            continue
        kept = free if visible == areas[row] and is_one[row] else pieces(row, free)
        left = visible if kept is free else int(np.count_nonzero(kept))
        if left < min(least[row], smallest):
            continue
        rows.append(row)
        counts.append(left)
        part[kept] = len(rows)
        if kept is not free:
            vacated[windows[row]] |= free & ~kept
    kept_rows, painted = np.array(rows, np.int64), np.array(counts, np.int64)
    if params.max_ring_area:
        dropped = rings(labels, [windows[row] for row in rows], params.max_ring_area, painted)
        kept = np.array([label not in dropped for label in range(1, len(rows) + 1)], bool)
        labels, kept_rows, painted = _only(kept, labels), kept_rows[kept], painted[kept]
    give_away(labels, vacated)
    fill_holes(labels, params.smallest_piece)
    shown = np.bincount(labels.ravel(), minlength=len(kept_rows) + 1)[1:]
    return LabelPlane(labels, kept_rows, shown, painted, areas[kept_rows], cut[kept_rows])


def _only(kept: NDArray[np.bool_], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels 1, 2, ... without those that are not ``kept``; those behind move up."""
    if kept.all():
        return labels
    return np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)[labels]


def priority(
    masks: Masks, areas: NDArray[np.int64], cut: NDArray[np.bool_], params: AmgParameters
) -> NDArray[np.int64]:
    """Rows of the masks, first served first; ties go by predicted IoU, then by row.

    Masks that a crop may have cut come last: the whole object is worth more than a part of it.
    """
    by_score = -masks.predicted_iou.astype(np.float64)
    orders: dict[str, NDArray[np.float64]] = {
        "score": by_score,
        "small": areas.astype(np.float64),
        "large": -areas.astype(np.float64),
    }
    return np.lexsort((by_score, orders[params.overlap], cut))
