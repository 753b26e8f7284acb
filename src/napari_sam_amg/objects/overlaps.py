"""Which masks, or labels, of two planes share how many pixels: counted for the pairs that meet, and for no other."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Masks

#: Pairs of labels for each pixel of a plane, up to which it is quicker to count in a table of all pairs.
BINS = 1


def pixels_of(masks: Masks) -> sp.csr_array:
    """(M, height * width) a one for every pixel of a mask; the product of two such counts what their masks share."""
    # all masks at once, one behind the other: a mask is a few hundred pixels, and each call of NumPy a microsecond
    pixels = np.concatenate([np.empty(0, bool), *(cutout.ravel() for cutout in masks.cutouts)])
    x0, y0, x1, _ = masks.boxes.T
    widths = x1 + 1 - x0
    ends = np.cumsum([cutout.size for cutout in masks.cutouts], dtype=np.int64)
    inside = np.flatnonzero(pixels)
    counts = np.diff(np.searchsorted(inside, ends), prepend=0)
    starts = ends - [cutout.size for cutout in masks.cutouts]
    within = inside - np.repeat(starts, counts)
    # a row of the box is followed by the next one of the plane
    skipped = masks.size[1] - widths
    columns = within + within // np.repeat(widths, counts) * np.repeat(skipped, counts)
    columns += np.repeat(y0 * masks.size[1] + x0, counts)
    shape = (len(masks), masks.size[0] * masks.size[1])
    return sp.csr_array((np.ones(len(columns), np.int32), columns, np.append(0, np.cumsum(counts))), shape=shape)


def iou_of_masks(one: sp.csr_array, other: sp.csr_array) -> sp.coo_array:
    """(M, N) IoU of the masks of two planes, by their pixels; zeros are not stored."""
    shared = sp.coo_array(one @ other.T)
    areas, others = np.diff(one.indptr), np.diff(other.indptr)
    return _iou(shared, areas, others)


def iou_of_labels(one: NDArray[np.int32], other: NDArray[np.int32]) -> sp.coo_array:
    """(n + 1, m + 1) IoU of labels 0 to n with labels 0 to m of another plane; that of background is not stored."""
    shape = int(one.max(initial=0)) + 1, int(other.max(initial=0)) + 1
    pixels = _counted(one, other, shape) if shape[0] * shape[1] <= BINS * one.size else _joined(one, other, shape)
    return _iou(pixels, np.bincount(one.ravel()), np.bincount(other.ravel()))


def _counted(one: NDArray[np.int32], other: NDArray[np.int32], shape: tuple[int, int]) -> sp.coo_array:
    """Pixels of each pair, in a table of all pairs."""
    pairs = np.multiply(one, shape[1], dtype=np.int64)
    pairs += other
    pixels = np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    pixels[0], pixels[:, 0] = 0, 0
    rows, columns = np.nonzero(pixels)
    return sp.coo_array((pixels[rows, columns], (rows.astype(np.int32), columns.astype(np.int32))), shape=shape)


def _joined(one: NDArray[np.int32], other: NDArray[np.int32], shape: tuple[int, int]) -> sp.coo_array:
    """The same of so many labels that nearly all of such a table would be zeros."""
    both = np.flatnonzero((one > 0) & (other > 0))
    # on the way from coo to csr what is there several times is added up, in linear time
    pairs = one.ravel()[both], other.ravel()[both]
    return sp.coo_array((np.ones(len(both), np.int64), pairs), shape=shape).tocsr().tocoo()


def _iou(shared: sp.coo_array, areas: NDArray[np.int64], others: NDArray[np.int64]) -> sp.coo_array:
    row, column = shared.coords
    return sp.coo_array((shared.data / (areas[row] + others[column] - shared.data), (row, column)), shape=shared.shape)
