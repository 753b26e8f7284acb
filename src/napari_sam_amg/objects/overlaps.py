"""Which masks, or labels, of two planes share how many pixels: counted for the pairs that meet, and for no other."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Masks


def pixels_of(masks: Masks) -> sp.csr_array:
    """(M, height * width) a one for every pixel of a mask; the product of two such counts what their masks share."""
    width = masks.size[1]
    parts = [np.empty(0, np.int64)]
    for cutout, (x0, y0, x1, _) in zip(masks.cutouts, masks.boxes.tolist(), strict=True):
        inside = np.flatnonzero(cutout)
        # a row of the box is followed by the next one of the plane
        parts.append(inside + (inside // (x1 + 1 - x0)) * (width - (x1 + 1 - x0)) + (y0 * width + x0))
    ends = np.cumsum([len(part) for part in parts])
    columns = np.concatenate(parts)
    return sp.csr_array((np.ones(len(columns), np.int32), columns, ends), shape=(len(masks), masks.size[0] * width))


def iou_of_masks(one: sp.csr_array, other: sp.csr_array) -> sp.coo_array:
    """(M, N) IoU of the masks of two planes, by their pixels; zeros are not stored."""
    shared = sp.coo_array(one @ other.T)
    areas, others = np.diff(one.indptr), np.diff(other.indptr)
    return _iou(shared, areas, others)


def iou_of_labels(one: NDArray[np.int32], other: NDArray[np.int32]) -> sp.coo_array:
    """(n + 1, m + 1) IoU of labels 0 to n with labels 0 to m of another plane; that of background is not stored."""
    both = (one > 0) & (other > 0)
    rows, columns = one[both], other[both]
    areas, others = np.bincount(one.ravel()), np.bincount(other.ravel())
    # on the way from coo to csr what is there several times is added up, in linear time
    pixels = sp.coo_array((np.ones(len(rows), np.int64), (rows, columns)), shape=(len(areas), len(others)))
    return _iou(pixels.tocsr().tocoo(), areas, others)


def _iou(shared: sp.coo_array, areas: NDArray[np.int64], others: NDArray[np.int64]) -> sp.coo_array:
    row, column = shared.coords
    return sp.coo_array((shared.data / (areas[row] + others[column] - shared.data), (row, column)), shape=shared.shape)
