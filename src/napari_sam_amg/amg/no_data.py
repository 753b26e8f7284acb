"""Pixels without data: NaN and infinities, such as a division by zero or an overflow leaves in an image of floats.

They say nothing of what lies there. Narrow gaps are closed by the pixels around them, wider ones are black.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_REACH = 4  # px
#: px; a gap that holds no square of this side is closed: a model would see it as texture, or as an object.
NARROW = 2 * _REACH + 1
_SQUARE = np.ones((NARROW, NARROW), np.uint8)
#: px around a part of a plane that tell how its gaps are closed: the squares that hold a pixel, as far as it is closed.
BESIDE = 3 * _REACH

Floats = NDArray[np.float64]


def count_without_data(pixels: NDArray[Any]) -> int:
    """How many of some pixels (H, W), or (H, W, 3), are NaN or infinite; in colour in any channel."""
    if pixels.dtype.kind != "f":
        return 0
    gaps = ~np.isfinite(pixels)
    return int(np.count_nonzero(gaps.any(axis=2) if gaps.ndim == 3 else gaps))


def closed(pixels: NDArray[Any], inner: slice = slice(None)) -> Floats:
    """The rows ``inner`` of some pixels (H, W) or (H, W, 3), as floats without narrow gaps; wide ones are NaN.

    A pixel without data takes the median of those around it that have some, from the edge of a gap inwards, each
    channel by itself. ``BESIDE`` rows more than ``inner`` give the same as the whole plane.
    """
    values = pixels[inner].astype(np.float64)
    if pixels.dtype.kind != "f" or np.isfinite(values).all():
        return values
    values = pixels.astype(np.float64)
    for channel in np.moveaxis(values, 2, 0) if values.ndim == 3 else (values,):
        _close(channel)
    return values[inner]


def _close(values: Floats) -> None:
    """In place. Beyond its edges the plane goes on as a gap: a margin is no narrow gap, however thin."""
    gaps = ~np.isfinite(values)
    values[gaps] = np.nan
    wide = cv2.morphologyEx(gaps.astype(np.uint8), cv2.MORPH_OPEN, _SQUARE)
    rows, columns = np.nonzero(gaps & (wide == 0))
    height, width = values.shape
    for _ in range(_REACH):
        if not len(rows):
            return
        around = np.full((len(rows), 9), np.nan)
        for place, (down, right) in enumerate(np.ndindex(3, 3)):
            y, x = rows + down - 1, columns + right - 1
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            around[inside, place] = values[y[inside], x[inside]]
        around.sort(axis=1)  # NaN come last
        known = 9 - np.count_nonzero(np.isnan(around), axis=1)
        found = known > 0
        values[rows[found], columns[found]] = around[found, (known[found] - 1) // 2]
        rows, columns = rows[~found], columns[~found]
