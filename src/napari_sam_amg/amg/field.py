"""A part of every plane that is segmented, and looks there as it does in the whole: a box, or a polygon in one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam_amg.amg.planes import MIN_SIDE, PlaneStack
from napari_sam_amg.amg.views import cut_to

Side = tuple[int, int]  # first pixel, and the first one behind
EXACT = 1e-3  # px; a polygon whose corners are so near to those of its box is that box


@dataclass(frozen=True, slots=True)
class Field:
    """Where in a plane. Pixels have their centres at whole numbers, as in napari."""

    rows: Side
    columns: Side
    outline: tuple[tuple[float, float], ...] = ()  # corners (y, x) of a polygon; empty: all of the box

    @property
    def corner(self) -> tuple[int, int]:
        return self.rows[0], self.columns[0]

    @property
    def size(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def holds(self, y: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
        """Which points lie inside the polygon, of a plane's coordinates; all do if there is none."""
        y, x = np.asarray(y, float), np.asarray(x, float)
        inside = np.zeros(y.shape, bool)
        if not self.outline:
            return ~inside
        corners = np.array(self.outline)
        for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            # to the right of how many edges: an odd number inside
            crosses = (y0 > y) != (y1 > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        return inside

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        outline = {"outline": [list(corner) for corner in self.outline]} if self.outline else {}
        return {"rows": list(self.rows), "columns": list(self.columns)} | outline

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Field":
        """Of what ``record`` gave. ``ValueError`` for anything else."""
        try:
            sides = [(int(record[side][0]), int(record[side][1])) for side in ("rows", "columns")]
            outline = tuple((float(y), float(x)) for y, x in record.get("outline", ()))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"region={record!r} is not allowed: it must have rows and columns, from and to") from error
        return cls(sides[0], sides[1], outline)


def field_of(corners: ArrayLike, size: tuple[int, int]) -> Field:
    """The part of a plane of (height, width) ``size`` that a polygon of corners (y, x) covers.

    Raises ``ValueError`` if it lies outside, or is too small.
    """
    points = np.asarray(corners, float)
    # a pixel belongs to it if its centre does; that of the far edge does not, so that fields side by side share none
    low, high = np.ceil(points.min(axis=0)), np.ceil(points.max(axis=0))
    sides = [
        (int(np.clip(first, 0, length)), int(np.clip(end, 0, length)))
        for first, end, length in zip(low, high, size, strict=True)
    ]
    height, width = (max(0, end - first) for first, end in sides)
    if not height or not width:
        raise ValueError("it lies outside the image")
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"it covers {height} x {width} pixels of the image: each side must have at least {MIN_SIDE}")
    is_box = len(points) == 4 and all(np.isclose(np.unique(np.round(axis / EXACT)).size, 2) for axis in points.T)
    outline = () if is_box else tuple((float(y), float(x)) for y, x in points)
    return Field(sides[0], sides[1], outline)


def cut_stack(stack: PlaneStack, field: Field) -> PlaneStack:
    """The same planes, cut to the box of ``field``. Raises ``ValueError`` if it is not inside."""
    for side, length in zip((field.rows, field.columns), stack.plane_size, strict=True):
        if not 0 <= side[0] < side[1] <= length:
            raise ValueError(f"{side[0]} to {side[1]} is outside a plane of {stack.plane_size} pixels")
    windows = {stack.leading: field.rows, stack.leading + 1: field.columns}
    return replace(stack, data=cut_to(stack.data, windows))
