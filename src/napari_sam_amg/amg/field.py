"""A part of every plane that is segmented, and looks there as it does in the whole: a box, or polygons in one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam_amg.amg.planes import MIN_SIDE, PlaneStack
from napari_sam_amg.amg.views import cut_to

Side = tuple[int, int]  # first pixel, and the first one behind
Polygon = tuple[tuple[float, float], ...]  # corners (y, x)
EXACT = 1e-3  # px; a polygon whose corners are so near to those of its box is that box


@dataclass(frozen=True, slots=True)
class Field:
    """Where in a plane. Pixels have their centres at whole numbers, as in napari."""

    rows: Side
    columns: Side
    outlines: tuple[Polygon, ...] = ()  # what lies in any of them; empty: all of the box

    @property
    def corner(self) -> tuple[int, int]:
        return self.rows[0], self.columns[0]

    @property
    def size(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def holds(self, y: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
        """Which points lie inside a polygon, of a plane's coordinates; all do if there is none."""
        y, x = np.asarray(y, float), np.asarray(x, float)
        if not self.outlines:
            return np.ones(y.shape, bool)
        return np.any([_inside(outline, y, x) for outline in self.outlines], axis=0)

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        corners = [[list(corner) for corner in outline] for outline in self.outlines]
        shape = {"outlines": corners} if len(corners) > 1 else {"outline": corners[0]} if corners else {}
        return {"rows": list(self.rows), "columns": list(self.columns)} | shape

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Field":
        """Of what ``record`` gave. ``ValueError`` for anything else."""
        try:
            sides = [(int(record[side][0]), int(record[side][1])) for side in ("rows", "columns")]
            corners = record.get("outlines") or [record.get("outline", ())]
            outlines = tuple(tuple((float(y), float(x)) for y, x in outline) for outline in corners)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"region={record!r} is not allowed: it must have rows and columns, from and to") from error
        return cls(sides[0], sides[1], tuple(filter(None, outlines)))


def _inside(outline: Polygon, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
    inside, corners = np.zeros(y.shape, bool), np.array(outline)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        # to the right of how many edges: an odd number inside
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def field_of(shapes: Sequence[ArrayLike], size: tuple[int, int]) -> Field:
    """The part of a plane of (height, width) ``size`` that polygons of corners (y, x) cover, each or several at once.

    Those outside are passed over. Raises ``ValueError`` if all are, or if what they cover is too small.
    """
    polygons = [np.asarray(corners, float) for corners in shapes]
    inside = [(points, box) for points in polygons if (box := _box(points, size)) is not None]
    if not inside:
        raise ValueError("it lies outside the image" if len(polygons) == 1 else "all shapes lie outside the image")
    firsts, ends = np.array([box for _, box in inside]).transpose(2, 0, 1)
    (top, left), (bottom, right) = firsts.min(axis=0).tolist(), ends.max(axis=0).tolist()
    height, width = bottom - top, right - left
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"it covers {height} x {width} pixels of the image: each side must have at least {MIN_SIDE}")
    is_box = len(inside) == 1 and _is_box(inside[0][0])
    outlines = () if is_box else tuple(tuple((float(y), float(x)) for y, x in points) for points, _ in inside)
    return Field((top, bottom), (left, right), outlines)


def _box(points: NDArray[np.float64], size: tuple[int, int]) -> list[Side] | None:
    """The pixels of a plane around a polygon (n, 2), rows and columns; None if there are none."""
    # a pixel belongs to it if its centre does; that of the far edge does not, so that fields side by side share none
    low, high = np.ceil(points.min(axis=0)), np.ceil(points.max(axis=0))
    sides = [
        (int(np.clip(first, 0, length)), int(np.clip(end, 0, length)))
        for first, end, length in zip(low, high, size, strict=True)
    ]
    return sides if all(first < end for first, end in sides) else None


def _is_box(points: NDArray[np.float64]) -> bool:
    return len(points) == 4 and all(np.unique(np.round(axis / EXACT)).size == 2 for axis in points.T)


def cut_stack(stack: PlaneStack, field: Field) -> PlaneStack:
    """The same planes, cut to the box of ``field``. Raises ``ValueError`` if it is not inside."""
    for side, length in zip((field.rows, field.columns), stack.plane_size, strict=True):
        if not 0 <= side[0] < side[1] <= length:
            raise ValueError(f"{side[0]} to {side[1]} is outside a plane of {stack.plane_size} pixels")
    windows = {stack.leading: field.rows, stack.leading + 1: field.columns}
    return replace(stack, data=cut_to(stack.data, windows))
