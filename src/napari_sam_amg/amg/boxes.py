"""Boxes as XYXY, the last column and row included, as in the reference."""

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """The box of the true pixels; None if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
