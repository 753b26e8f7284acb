"""One label, one object: strays, gaps and rings that painting leaves in a label image.

All rules here are ours: the reference ends with masks, which are left as they are. Pieces are counted
4-connected, so that a pixel which hangs on by a corner is a piece of its own.
"""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.near_boxes import near_pairs
from napari_sam_amg.params import AmgParameters

BoolImage = NDArray[np.bool_]
LabelImage = NDArray[np.int32]

#: Of a label, the share that lies within the convex hull of another, which then is a ring around it. Of 17 521 true
#: objects in microscopy images for training one pair would be taken for that, two neurites; of 87 in photographs two.
WITHIN = 0.9


def without_strays(free: BoolImage, params: AmgParameters) -> BoolImage:
    """The pieces that a label keeps of its pixels: the largest, and with ``label_pieces="all"`` every large one."""
    return large_pieces(free, np.inf if params.label_pieces == "largest" else params.smallest_piece)


def large_pieces(mask: BoolImage, least: float) -> BoolImage:
    """The largest 4-connected piece, of several the first, and all of at least so many pixels."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=4
    )
    if count <= 2:  # the background, and one piece
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the background, which may be the largest
    kept = areas >= least
    kept[areas.argmax()] = True
    kept[0] = False
    return mask if kept[1:].all() else kept[pieces]


def plainly_one_piece(cutouts: Sequence[BoolImage]) -> NDArray[np.bool_]:
    """(M,) of which masks it is plain to see that they are one piece: one run of pixels a row, each on the one before.

    Nearly all nuclei are like that. Told for all masks at once, since OpenCV takes longer to be called than to count.
    """
    if not cutouts:
        return np.empty(0, bool)
    pixels = np.concatenate(cutouts, axis=None)
    heights, widths = np.array([cutout.shape for cutout in cutouts]).T
    ends = np.cumsum(np.repeat(widths, heights))  # of the rows of all masks
    starts = np.append(0, ends[:-1])
    begins, stops = pixels.copy(), pixels.copy()
    begins[1:] &= ~pixels[:-1]
    begins[starts] = pixels[starts]
    stops[:-1] &= ~pixels[1:]
    stops[ends - 1] = pixels[ends - 1]
    first, last = np.flatnonzero(begins), np.flatnonzero(stops)
    run = np.searchsorted(first, starts)
    is_run = np.diff(run, append=len(first)) == 1
    # the columns of a row that has several runs, or none, decide about nothing
    run = np.minimum(run, len(first) - 1) if len(first) else run[:0]
    left, right = first[run] - starts[: len(run)], last[run] - starts[: len(run)]
    touches = np.ones(len(starts), bool)
    touches[1 : len(run)] = (left[1:] <= right[:-1]) & (left[:-1] <= right[1:])
    top = np.cumsum(heights) - heights
    touches[top] = True
    found: NDArray[np.bool_] = np.logical_and.reduceat(is_run & touches, top)
    return found


def give_away(labels: LabelImage, vacated: BoolImage) -> None:
    """Give each region of pixels that labels have lost to the neighbour with the longest border, in place.

    The background is a neighbour too, and wins ties. A border is counted in sides of pixels.
    """
    vacated = vacated & (labels == 0)
    if not vacated.any():
        return
    count, regions = cv2.connectedComponents(vacated.view(np.uint8), connectivity=4)
    rows, columns = np.divmod(np.flatnonzero(vacated), labels.shape[1])
    region = regions[rows, columns].astype(np.int64)
    base = int(labels.max()) + 1  # so that a region and a label beside it are one number
    sides = [region[near] * base + labels[at] for near, at in _beside(rows, columns, labels.shape, vacated)]
    pairs, lengths = np.unique(np.concatenate(sides), return_counts=True)
    # by region, then longest first, then background first
    order = np.lexsort((pairs % base, -lengths, pairs // base))
    taker = np.zeros(count, np.int32)
    seen, first = np.unique(pairs[order] // base, return_index=True)
    taker[seen] = pairs[order][first] % base  # unique gives the first of each region
    labels[rows, columns] = taker[region]


def fill_holes(labels: LabelImage, size: int) -> None:
    """Fill what is smaller than ``size`` pixels, belongs to nobody and has one label all around, in place.

    What the edge of the image bounds is no hole: what lies beyond is not known.
    """
    empty = labels == 0
    count, regions = cv2.connectedComponents(empty.view(np.uint8), connectivity=4)
    inside = np.ones(count, bool)
    inside[0] = False
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        inside[edge] = False
    if not inside.any():
        return
    small = inside & (np.bincount(regions.ravel(), minlength=count) < size)
    if not small.any():
        return
    rows, columns = np.divmod(np.flatnonzero(small[regions]), labels.shape[1])
    region = regions[rows, columns]
    # one label all around: the lowest and the highest number beside the hole are the same
    lowest, highest = np.full(count, np.iinfo(np.int32).max, np.int32), np.zeros(count, np.int32)
    for near, at in _beside(rows, columns, labels.shape, empty):
        np.minimum.at(lowest, region[near], labels[at])
        np.maximum.at(highest, region[near], labels[at])
    filled = np.where(lowest == highest, highest, 0)
    labels[rows, columns] = filled[region]


def _beside(
    rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, ...], own: BoolImage
) -> Iterator[tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """For each of four directions: which of the pixels have a neighbour there that is not ``own``, and its place."""
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        row, column = rows + down, columns + right
        there = np.flatnonzero((row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1]))
        there = there[~own[row[there], column[there]]]
        yield there, (row[there], column[there])


def rings(
    labels: LabelImage,
    windows: Sequence[tuple[slice, slice]],
    max_ring_area: float,
    painted: NDArray[np.int64] | None = None,
) -> set[int]:
    """The labels that lie like a ring around another one, which is not a ring itself.

    A ring holds ``WITHIN`` of the other in its convex hull, and has less than ``max_ring_area`` times its pixels.
    ``windows``: a part of the image that holds all of label 1, of label 2, ...; ``painted``: the pixels of each.
    """
    if painted is None:
        painted = np.bincount(labels.ravel(), minlength=len(windows) + 1)[1:]
    areas = np.concatenate([[0], painted])
    found: set[int] = set()
    for label in _may_hold(windows, areas, labels.shape, max_ring_area):
        if not found.issuperset(_held(labels[windows[label - 1]], label, areas, max_ring_area)):
            found.add(label)
    return found


def _may_hold(
    windows: Sequence[tuple[slice, slice]], areas: NDArray[np.int64], shape: tuple[int, ...], max_ring_area: float
) -> list[int]:
    """The labels in whose windows there is room for as much of another one as a ring holds."""
    spans = [[side.indices(length)[:2] for side, length in zip(window, shape, strict=True)] for window in windows]
    (y0, y1), (x0, x1) = np.array(spans, np.int64).reshape(-1, 2, 2).transpose(1, 2, 0)
    pairs = near_pairs(np.column_stack([x0, y0, x1 - 1, y1 - 1]))
    outer, inner = np.concatenate([pairs, pairs[:, ::-1]]).T
    rows, columns = (
        np.minimum(high[outer], high[inner]) - np.maximum(low[outer], low[inner]) for low, high in ((y0, y1), (x0, x1))
    )
    outer, inner = outer + 1, inner + 1
    room = (rows * columns >= WITHIN * areas[inner]) & (areas[outer] < max_ring_area * areas[inner])
    labels: list[int] = np.unique(outer[room]).tolist()
    return labels


def _held(window: LabelImage, label: int, areas: NDArray[np.int64], max_ring_area: float) -> list[int]:
    """The labels around which one is a ring; ``window`` is the part of the image around it."""
    least = math.ceil(areas[label] / max_ring_area)  # pixels of what it may be a ring around
    if window.size - areas[label] < WITHIN * least:
        return []
    own = window == label
    others = np.bincount(window[~own], minlength=1)
    others[0] = 0
    if not (others >= WITHIN * least).any():
        return []
    # the hull of the outlines is that of all pixels, of which there are many more
    outlines, _ = cv2.findContours(own.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(np.concatenate(outlines))
    inside = cv2.fillConvexPoly(np.zeros(own.shape, np.uint8), hull, 1).astype(bool)
    held = np.bincount(window[inside & ~own], minlength=1)
    held[0] = 0
    whole = areas[: len(held)]
    ringed = (held > 0) & (held >= WITHIN * whole) & (areas[label] < max_ring_area * whole)
    return [int(inner) for inner in np.flatnonzero(ringed)]
