"""Rows of the table measured again, for objects whose pixels were changed: out of the labels, without the model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_sam_amg.amg.table import of_plane_axes, plane_columns
from napari_sam_amg.objects.table import FACES_TO_SURFACE, Units
from napari_sam_amg.review.edits import Index

Box = tuple[slice, slice]  # rows and columns of a plane


@dataclass(frozen=True, slots=True)
class Grid:
    """What the rows of a table stand for: labels of planes, or objects through planes."""

    link: str = "none"  # as :class:`AmgParameters` has it
    axis: int = 0  # of the stack's axes the one that objects go through
    units: Units = Units()
    plane_axes: str = "YX"  # letters of the plane's two axes, for the names of columns
    through: str = "Z"


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The pixels of an object in one plane."""

    index: Index
    corner: tuple[int, int]
    mask: NDArray[np.bool_]  # (h, w), at least one is true

    @property
    def box(self) -> Box:
        (top, left), (height, width) = self.corner, self.mask.shape
        return slice(top, top + height), slice(left, left + width)


def pieces(plane_of: Callable[[Index], NDArray[Any]], label: int, boxes: Mapping[Index, Box]) -> list[Piece]:
    """An object's pixels, looked for in one box of each of some planes; in order of the planes."""
    found = []
    for index in sorted(boxes):
        box = boxes[index]
        mask = np.asarray(plane_of(index)[box]) == label
        if mask.any():
            found.append(Piece(index, (box[0].start or 0, box[1].start or 0), mask))
    return found


def measured(parts: Sequence[Piece], grid: Grid) -> dict[str, float]:
    """The columns that tell an object's size and place, named as its table has them. At least one piece.

    An object of planes that are not linked, painted in several, has the pixels of all of them, and is said to be in
    the plane that holds most.
    """
    sizes = np.array([part.mask.sum() for part in parts], np.int64)
    row: dict[str, float] = {}
    at = parts[int(sizes.argmax())].index
    row |= dict(zip(plane_columns(len(at)), at, strict=True)) if at else {}
    row |= _size(parts, sizes, grid) | _place(parts, sizes, grid)
    names = pd.DataFrame(columns=list(row))
    renamed = of_plane_axes(names, grid.plane_axes, grid.through).columns
    return dict(zip(renamed, row.values(), strict=True))


def _size(parts: Sequence[Piece], sizes: NDArray[np.int64], grid: Grid) -> dict[str, float]:
    units, total = grid.units, int(sizes.sum())
    pixel = None if units.pixel_size is None else units.pixel_size[0] * units.pixel_size[1]
    if grid.link == "none":
        return {"area": total} | ({} if pixel is None else {units.area_column: total * pixel})
    positions = [part.index[grid.axis] for part in parts]
    row: dict[str, float] = {"first_plane": min(positions), "last_plane": max(positions), "planes": len(parts)}
    if grid.link == "t":
        mean = total / len(parts)
        return row | {"area": mean} | ({} if pixel is None else {units.area_column: mean * pixel})
    faces = [2 * FACES_TO_SURFACE * (total - shared) for shared in _shared(parts, grid)]
    row |= {"volume": total, "surface": sum(faces)}
    if units.voxel is not None:
        z, y, x = units.voxel
        row[units.column("volume", 3)] = total * (z * y * x)
        row[units.column("surface", 2)] = faces[0] * (y * x) + faces[1] * (z * x) + faces[2] * (z * y)
    return row


def _shared(parts: Sequence[Piece], grid: Grid) -> tuple[int, int, int]:
    """Faces between two pixels of the object, across z, y and x."""
    across = sum(_overlap(one, other) for one, other in pairwise(parts) if _are_next(one, other, grid))
    down = sum(int((part.mask[1:] & part.mask[:-1]).sum()) for part in parts)
    right = sum(int((part.mask[:, 1:] & part.mask[:, :-1]).sum()) for part in parts)
    return across, down, right


def _are_next(one: Piece, other: Piece, grid: Grid) -> bool:
    return other.index[grid.axis] - one.index[grid.axis] == 1


def _overlap(one: Piece, other: Piece) -> int:
    """Pixels that both have."""
    start = [max(a, b) for a, b in zip(one.corner, other.corner, strict=True)]
    stop = [min(part.corner[a] + part.mask.shape[a] for part in (one, other)) for a in (0, 1)]
    if start[0] >= stop[0] or start[1] >= stop[1]:
        return 0
    same = [
        part.mask[
            start[0] - part.corner[0] : stop[0] - part.corner[0], start[1] - part.corner[1] : stop[1] - part.corner[1]
        ]
        for part in (one, other)
    ]
    return int((same[0] & same[1]).sum())


def _place(parts: Sequence[Piece], sizes: NDArray[np.int64], grid: Grid) -> dict[str, float]:
    """Centroid and box."""
    moments, corners = np.zeros(2), []
    for part in parts:
        counts = [part.mask.sum(axis=1), part.mask.sum(axis=0)]  # down, to the right
        for axis, count in enumerate(counts):
            moments[axis] += count @ (np.arange(len(count)) + part.corner[axis])
        ends = [np.flatnonzero(count)[[0, -1]] + start for count, start in zip(counts, part.corner, strict=True)]
        corners.append((ends[0][0], ends[1][0], ends[0][1] + 1, ends[1][1] + 1))
    row = {f"centroid_{name}": float(moment / sizes.sum()) for name, moment in zip("yx", moments, strict=True)}
    if grid.link == "z":
        row = {"centroid_z": float(sizes @ [part.index[grid.axis] for part in parts] / sizes.sum())} | row
    if grid.link != "none":
        lengths = dict(zip("zyx", grid.units.voxel or (None, *(grid.units.pixel_size or (None, None))), strict=True))
        for letter, length in lengths.items():
            if length is not None and f"centroid_{letter}" in row:
                row[grid.units.column(f"centroid_{letter}", 1)] = row[f"centroid_{letter}"] * length
    edges = np.array(corners)
    ends = [*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)]
    return row | {f"bbox_{name}": int(end) for name, end in zip(("y0", "x0", "y1", "x1"), ends, strict=True)}


def boxes_of(table: pd.DataFrame, ids: Iterable[int], grid: Grid, axes: int) -> dict[int, dict[Index, Box]]:
    """Where objects are, by their rows: a box in each plane of each. Those whose row does not say are left out.

    ``axes``: how many the stack has.
    """
    down, right = list(grid.plane_axes.lower())
    names = [
        f"bbox_{down}0",
        f"bbox_{right}0",
        f"bbox_{down}1",
        f"bbox_{right}1",
        *(plane_columns(axes) if axes else []),
    ]
    names += [] if grid.link == "none" else ["first_plane", "last_plane"]
    wanted = list(ids)
    rows = table.reindex(columns=["index", *names])
    rows = rows[rows["index"].isin(wanted)].dropna()
    found: dict[int, dict[Index, Box]] = {}
    for label, top, left, bottom, end, *places in rows.to_numpy(np.int64).tolist():
        box, index = (slice(top, bottom), slice(left, end)), tuple(places[:axes])
        span = range(places[axes], places[axes + 1] + 1) if grid.link != "none" else ()
        through = [(*index[: grid.axis], position, *index[grid.axis + 1 :]) for position in span]
        found[label] = dict.fromkeys(through or [index], box)
    return found


def boxes_in(labels: NDArray[np.integer]) -> dict[int, Box]:
    """The box of each object of a plane (H, W), by id."""
    highest = int(labels.max(initial=0))
    if highest > labels.size:  # ids of another program, too far apart for a table
        ids, dense = np.unique(labels, return_inverse=True)
        dense = dense.reshape(labels.shape) + (1 if ids[0] else 0)
        ids = ids[ids != 0]
    else:
        there = np.bincount(labels.ravel(), minlength=1)[: highest + 1] > 0
        there[0] = False
        ids, places = np.flatnonzero(there), np.cumsum(there) * there
        dense = places.astype(np.int32)[labels]
    return {int(label): box for label, box in zip(ids, find_objects(dense), strict=True) if box is not None}


def places_of_all(plane_of: Callable[[Index], NDArray[Any]], planes: Iterable[Index]) -> dict[int, dict[Index, Box]]:
    """Where every object is in these planes, by id. Others may write to the labels meanwhile."""
    where: dict[int, dict[Index, Box]] = {}
    for index in planes:
        for label, box in boxes_in(plane_of(index).copy()).items():
            where.setdefault(label, {})[index] = box
    return where


def rows_of_all(
    plane_of: Callable[[Index], NDArray[Any]], places: Mapping[int, Mapping[Index, Box]], grid: Grid
) -> dict[int, dict[str, float]]:
    """What is measured of every object, by id. Others may write to the labels meanwhile."""
    found = ((label, pieces(plane_of, label, boxes)) for label, boxes in places.items())
    return {label: measured(parts, grid) for label, parts in found if parts}


def disagreeing(table: pd.DataFrame, rows: Mapping[int, Mapping[str, float]]) -> dict[int, Mapping[str, float] | None]:
    """Of all objects that there are, those that the table has otherwise, and None for those that it alone has."""
    found: dict[int, Mapping[str, float] | None] = dict.fromkeys(set(table["index"].tolist()) - set(rows))
    held = table.set_index("index")
    names = [name for name in next(iter(rows.values()), {}) if name in held]
    same = held.reindex(list(rows))[names].to_numpy(np.float64)
    measured_rows = np.array([[row.get(name, np.nan) for name in names] for row in rows.values()], np.float64)
    # a plane that is the largest of several is not always the same one
    is_other = (
        ~np.isclose(same, measured_rows, equal_nan=True).all(axis=1)
        if len(rows) and names
        else np.ones(len(rows), bool)
    )
    is_other |= ~np.isin(list(rows), table["index"]) if len(rows) else is_other
    return found | {label: row for (label, row), other in zip(rows.items(), is_other, strict=True) if other}


def joined(one: Box | None, other: Box) -> Box:
    """The box around both."""
    if one is None:
        return other
    down, right = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return down, right
