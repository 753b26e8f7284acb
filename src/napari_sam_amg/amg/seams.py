"""Masks that end where the crop ends in which they were found: the object may go on beyond."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.filters import EDGE_SHARE, EDGE_TOLERANCE, cut_by_crop, edge_tolerance
from napari_sam_amg.amg.masks import Masks

#: Of the distance at which masks are dropped with ``crop_layers="last"``: as far from the edge of its crop a mask that
#: ends in a straight line is taken for cut.
REACH = 1.5
#: Of a mask's length along the edge, the share that its outermost two lines of pixels take if it is straight there.
STRAIGHT = 0.5
#: Of a part that no crop holds whole, the share that labels must hold for its object to count as found.
FOUND = 0.5


def cut_at_crop_edge(masks: Masks) -> NDArray[np.bool_]:
    """(M,) which masks touch an edge of their crop inside the image, or end in a straight line close to it.

    ``filters.cut_by_crop`` drops most of these. It keeps those whose crop ends near the edge of the image, as the
    reference does, and those which the model itself ended a few pixels before the edge.
    """
    height, width = masks.size
    crops = masks.crop_boxes
    edges = crops - np.array([0, 0, 1, 1])  # the outermost pixels of each crop
    gaps = (masks.boxes - edges) * np.array([1, 1, -1, -1])
    inner = crops != np.array([0, 0, width, height])
    sides = np.minimum(crops[:, 2] - crops[:, 0], crops[:, 3] - crops[:, 1])
    reach = REACH * np.minimum(EDGE_TOLERANCE, sides * EDGE_SHARE)
    near = inner & (gaps <= reach[:, None])
    cut: NDArray[np.bool_] = (near & (gaps <= 0)).any(axis=1)
    for row in np.flatnonzero(near.any(axis=1) & ~cut).tolist():
        cut[row] = any(_is_straight(masks.cutouts[row], side) for side in np.flatnonzero(near[row]).tolist())
    return cut


def _is_straight(cutout: NDArray[np.bool_], side: int) -> bool:
    """Whether a mask ends in a straight line at the left (0), top (1), right (2) or bottom (3) of its box."""
    lines = cutout.T if side % 2 else cutout  # each line runs towards the edge
    lines = lines[lines.any(axis=1)]
    outermost = lines[:, :2] if side < 2 else lines[:, -2:]
    return bool(outermost.any(axis=1).sum() >= STRAIGHT * len(lines))


def cut_by_all(boxes: NDArray[np.int64], crops: Sequence[CropBox], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(M,) which parts of objects no crop of ``crop_layers="last"`` holds off its edges.

    An object at an edge of one crop lies in the middle of the next, which overlaps. One that is larger than the overlap
    may be cut there, too, on the other side; and one that is larger than a crop is cut by all.
    """
    # not in a crop at all counts as cut by it: there is nothing to see there
    cut = np.ones(len(boxes), bool)
    for crop in crops:
        inside = (boxes[:, :2] >= crop.xyxy[:2]).all(axis=1) & (boxes[:, 2:] < crop.xyxy[2:]).all(axis=1)
        cut &= ~inside | cut_by_crop(boxes, crop, size, edge_tolerance(crop, "last"))
    return cut


def count_missing(parts: Masks, labels: NDArray[np.int32]) -> int:
    """Objects of which crops saw ``parts`` alone, and that no label covers; those that touch count once."""
    if not len(parts):
        return 0
    missing = np.zeros(labels.shape, np.uint8)
    for row, cutout in enumerate(parts.cutouts):
        window = parts.window(row)
        if np.count_nonzero(cutout & (labels[window] > 0)) < FOUND * np.count_nonzero(cutout):
            missing[window] |= cutout
    return cv2.connectedComponents(missing, connectivity=4)[0] - 1
