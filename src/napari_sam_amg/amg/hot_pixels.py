"""Camera defects: single pixels far above all their neighbours, replaced some rows at a time.

A plane may fill a good part of the memory, so nothing here copies one as a whole.
"""

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.no_data import BESIDE, closed

HOLLOW = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)  # the eight neighbours
HOT_SHARE = 0.5
PIXELS_AT_A_TIME = 2**18
LEAST = np.finfo(np.float32).min  # stands for pixels without data: darker than all
ROWS_MULTIPLE = 8  # rows at a time are a multiple of this, but for the last: amg.contrast makes squares of them


def row_slices(height: int, width: int) -> Iterator[slice]:
    """The rows of a plane, some at a time, from the top."""
    count = max(PIXELS_AT_A_TIME // width // ROWS_MULTIPLE, 1) * ROWS_MULTIPLE
    return (slice(top, min(top + count, height)) for top in range(0, height, count))


def hot_margin(plane: NDArray[Any]) -> float:
    """How far above all eight neighbours a pixel of a plane must be to be hot.

    Half the range of the median-filtered plane: a camera defect is that far, the image of even a point source is spread
    over several pixels. Infinity where nothing is hot: in colour planes, and in those that are flat once they
    are filtered, since their lonely pixels are all there is to see.
    """
    if plane.ndim == 3:
        return math.inf
    darkest, brightest = np.float32(np.inf), np.float32(-np.inf)
    for rows in row_slices(*plane.shape):
        values, inner = _with_neighbours(plane, rows)
        median = known(cv2.medianBlur(finite_floats(values), 3)[inner])
        darkest = median.min(initial=darkest)
        brightest = median.max(initial=brightest)
    return margin_of(darkest, brightest)


def margin_of(darkest: np.float32, brightest: np.float32) -> float:
    """By the extremes of the median-filtered plane."""
    with np.errstate(over="ignore"):
        span = float(brightest - darkest)
    return HOT_SHARE * span if span > 0 else math.inf


def known(medians: NDArray[Any]) -> NDArray[Any]:
    """Those of places with data."""
    return medians[medians > LEAST]


def brightest_beside(smooth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The greatest of the eight neighbours of each pixel."""
    return np.asarray(cv2.dilate(smooth, HOLLOW), np.float32)


def clean_rows(plane: NDArray[Any], rows: slice, margin: float) -> NDArray[np.float64]:
    """Some rows of a plane as floats, their hot pixels replaced by the 3 x 3 median. ``margin``: the plane's.

    Narrow gaps are closed, and pixels without data are NaN, see :func:`no_data.closed`.
    """
    seen, inner = _with_neighbours(plane, rows)
    values = seen[inner]
    if margin == math.inf:
        return values
    smooth = finite_floats(seen)
    with np.errstate(over="ignore"):
        hot = smooth[inner] > brightest_beside(smooth)[inner] + margin
    if hot.any():
        values[hot] = without_least(cv2.medianBlur(smooth, 3)[inner][hot])
    return values


def remove_hot_pixels(plane: NDArray[Any]) -> NDArray[np.float64]:
    """A plane (H, W) with its hot pixels replaced; colour planes (H, W, 3) come back as floats and no more."""
    margin = hot_margin(plane)
    return np.concatenate([clean_rows(plane, rows, margin) for rows in row_slices(*plane.shape[:2])])


def _with_neighbours(plane: NDArray[Any], rows: slice) -> tuple[NDArray[np.float64], slice]:
    """These rows and the one above and below, where there is one, narrow gaps closed; where in them the rows are."""
    top = max(rows.start - 1, 0)
    first = max(top - BESIDE, 0)
    inner = slice(top - first, rows.stop + 1 - first)
    return closed(plane[first : rows.stop + 1 + BESIDE], inner), slice(rows.start - top, rows.stop - top)


def finite_floats(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """As 32-bit floats: ``LEAST`` for what has no data, 0 for what is too large."""
    with np.errstate(over="ignore"):
        # by way of 64 bits, as all values go: large integers are rounded the same in every type
        smooth = values.astype(np.float32)
    smooth[~np.isfinite(smooth)] = 0
    smooth[np.isnan(values)] = LEAST
    return smooth


def without_least(medians: NDArray[Any]) -> NDArray[np.float64]:
    """With NaN for places without data."""
    return np.where(medians > LEAST, medians.astype(np.float64), np.nan)
