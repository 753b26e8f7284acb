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
from napari_sam_amg.review.edits import HandEdits, Index
from napari_sam_amg.review.rows import placed

ORIGIN = "origin"
MODEL, EDITED, MERGED, DRAWN = "model", "edited by hand", "merged by hand", "drawn by hand"
#: What is known of a mask that the model gave, and of no other.
SCORES = (
    "predicted_iou", "stability_score", "least_predicted_iou", "least_stability_score", "weakest_link", "mask_area",
    "visible_fraction", "cut_by_crop", "point_y", "point_x", "parent", "filled_planes",
)  # fmt: skip


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


def rows_of_all(
    plane_of: Callable[[Index], NDArray[Any]], planes: Iterable[Index], grid: Grid
) -> dict[int, dict[str, float]]:
    """What is measured of every object in these planes, by id. Others may write to the labels meanwhile."""
    where: dict[int, dict[Index, Box]] = {}
    for index in planes:
        for label, box in boxes_in(plane_of(index).copy()).items():
            where.setdefault(label, {})[index] = box
    found = ((label, pieces(plane_of, label, boxes)) for label, boxes in where.items())
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


#: Beginnings of names, by how often they are looked at; columns that are measured on demand come after the scores.
_USE = (
    ("index",), ("parent",), ("plane", "first_plane", "last_plane"), ("area", "volume", "surface"),
    ("predicted_iou", "stability_score", "least_", "weakest_link"), (ORIGIN,), (), ("centroid_",), ("bbox_",),
    ("filled_planes", "visible_fraction", "mask_area", "cut_by_crop"), ("point_",),
)  # fmt: skip


def in_order_of_use(columns: Iterable[str]) -> list[str]:
    """Names of columns, those that are read most first, and the prompt last."""
    on_demand = _USE.index(())

    def rank(name: str) -> int:
        return next((at for at, starts in enumerate(_USE) if starts and name.startswith(starts)), on_demand)

    return sorted(columns, key=rank)


def origins(ids: Iterable[int], edits: HandEdits, unknown: Mapping[int, str] | None = None) -> list[str]:
    """Where each object comes from. ``unknown``: of objects that somebody changed without any step."""
    drawn, merged, touched = edits.drawn, edits.merged, edits.touched
    if unknown:
        drawn |= {label for label, origin in unknown.items() if origin == DRAWN}
        touched |= set(unknown)
    return [DRAWN if i in drawn else MERGED if i in merged else EDITED if i in touched else MODEL for i in ids]


def mended(
    table: pd.DataFrame,
    found: Mapping[int, Mapping[str, float] | None],
    known: pd.DataFrame,
    edits: HandEdits,
    stale: Iterable[str] = (),
    unknown: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """The table with the rows of some objects measured again; in order of id.

    ``found``: by id what was measured of it, None if it is gone. ``known``: the rows that the model's own masks had
    (column "index"), from which an object that is as it was has its scores again. A column "origin" tells model and
    hands apart. ``stale``: columns that are NaN for these objects, until they are measured again. ``unknown``: as
    in :func:`origins`.
    """
    ids = np.array([label for label, row in found.items() if row is not None], np.int64)
    measured_rows = pd.DataFrame([found[label] for label in ids.tolist()])
    if table.shape[1] == 1:  # labels that came without a table
        table = table.reindex(columns=["index", *measured_rows.columns])
    names = [name for name in table.columns if name not in ("index", ORIGIN)]
    own = known[known["index"].isin(ids)]
    order = np.argsort(ids)
    at = order[np.searchsorted(ids, own["index"], sorter=order)]
    own = own.drop(columns=[*stale, *measured_rows.columns], errors="ignore")
    new = pd.DataFrame(placed([(own, at), (measured_rows, np.arange(len(ids)))], len(ids), names))
    new[ORIGIN] = origins(ids.tolist(), edits, unknown)
    _without_scores(new)
    return _replaced(table[~table["index"].isin(list(found))], new, ids)


def _replaced(rest: pd.DataFrame, new: pd.DataFrame, ids: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of both, ``ids`` those of the new ones."""
    rest = rest.assign(**{ORIGIN: rest[ORIGIN].fillna(MODEL) if ORIGIN in rest else MODEL})
    others = rest["index"].to_numpy(np.int64)
    order = np.sort(np.concatenate([others, ids]))
    names = [str(name) for name in rest.columns if name != "index"]
    parts = [(rest, np.searchsorted(order, others)), (new, np.searchsorted(order, ids))]
    columns = {"index": order} | placed(parts, len(order), names)
    return pd.DataFrame({name: columns[name] for name in in_order_of_use(columns)})


def _without_scores(rows: pd.DataFrame) -> None:
    """Nothing is predicted of what the model did not propose; an edited object keeps the scores of its mask."""
    no_mask = rows[ORIGIN].isin([DRAWN, MERGED])
    for name in (name for name in SCORES if name in rows):
        rows[name] = rows[name].where(~no_mask)
    if "visible_fraction" in rows:
        rows["visible_fraction"] = rows["visible_fraction"].where(rows[ORIGIN] == MODEL)
