"""The table of objects: measured plane by plane, each object's row given away once it is complete."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.table import plane_columns
from napari_sam_amg.checks import check_kind, check_positive, shown

#: From the faces of voxels, which look along three axes, to a surface: right for a sphere, and for any shape in the
#: mean over its directions (Crofton's formula). A sphere's voxels have half as much again in faces.
FACES_TO_SURFACE = 2 / 3

# What is known of an object that may go on, in columns: added up, the least and the most of its planes.
_ADDED = (
    "planes", "filled_planes", "volume", "shared_z", "shared_y", "shared_x", "moment_z", "moment_y", "moment_x",
    "predicted_iou", "stability_score",
)  # fmt: skip
_LEAST = ("first_plane", "bbox_y0", "bbox_x0", "least_predicted_iou", "least_stability_score", "weakest_link")
_MOST = ("last_plane", "bbox_y1", "bbox_x1")
#: Columns of cross-sections from which all that is worked out.
_OF_SECTIONS = (
    "area", "filled", "centroid_y", "centroid_x", "link_iou", "predicted_iou", "stability_score", "bbox_y0", "bbox_x0",
    "bbox_y1", "bbox_x1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Units:
    """How large a voxel is, and how columns in physical units are called. ``ValueError`` for sizes that are none."""

    pixel_size: tuple[float, float] | None = None  # (y, x)
    spacing: float | None = None  # from plane to plane, in the same unit
    area_column: str = "area_physical"

    def __post_init__(self) -> None:
        if self.pixel_size is not None:
            check_kind("pixel_size", self.pixel_size, Sequence, "two numbers, along y and x")
            if len(self.pixel_size) != 2:
                raise ValueError(f"pixel_size={shown(self.pixel_size)} is not allowed: it must be two numbers")
            for size in self.pixel_size:
                check_positive("pixel_size", size)
        if self.spacing is not None:
            check_positive("spacing", self.spacing)
        check_kind("area_column", self.area_column, str, "the name of a column")

    @property
    def voxel(self) -> tuple[float, float, float] | None:
        """(z, y, x) if all are known."""
        return None if self.pixel_size is None or self.spacing is None else (self.spacing, *self.pixel_size)

    def column(self, quantity: str, power: int) -> str:
        """Of "volume" and 3 "volume_um3" where areas are "area_um2"; "volume_physical" beside "area_physical"."""
        unit = self.area_column.removeprefix("area_")
        return f"{quantity}_{unit.removesuffix('2')}{power if power > 1 and unit.endswith('2') else ''}"


@dataclass(slots=True, eq=False)
class _Open:
    """Objects that may go on, n rows."""

    ids: NDArray[np.int64]  # (n,) rising
    parents: NDArray[np.int64]  # (n,) 0: none
    largest: NDArray[np.float64]  # (n, 2) area of the largest cross-section, and its plane
    added: NDArray[np.float64]  # (n, columns)
    least: NDArray[np.float64]
    most: NDArray[np.float64]


def _begun(ids: NDArray[np.int64], parents: NDArray[np.int64]) -> _Open:
    count = len(ids)
    unknown = [np.full((count, len(names)), np.nan) for names in (_LEAST, _MOST)]
    return _Open(ids, parents, np.zeros((count, 2)), np.zeros((count, len(_ADDED))), *unknown)


class Tally:
    """Objects along one line of planes. It holds those alone that may go on."""

    def __init__(self, params_link: str, axis: int, units: Units) -> None:
        self._through_time, self._axis, self._units = params_link == "t", axis, units
        self._open = _begun(np.empty(0, np.int64), np.empty(0, np.int64))
        self._before: NDArray[np.int32] | None = None  # the plane before, with ids
        self._none: pd.DataFrame | None = None  # a table without a row, which most planes have

    def add(
        self, places: NDArray[np.int32], labels: NDArray[np.int32], table: pd.DataFrame, parents: NDArray[np.int64]
    ) -> None:
        """Measure a plane: a row for each cross-section, in order of id, and the objects' parents.

        ``places``: (H, W) which row, counted from 1, each pixel belongs to; ``labels``: the same with ids.
        """
        ids = table["index"].to_numpy(np.int64)
        is_new = ~np.isin(ids, self._open.ids)
        self._open = _stacked(self._open, _begun(ids[is_new], parents[is_new]))
        rows, to, columns = np.searchsorted(self._open.ids, ids), self._open, self._measured(places, labels, table)
        nothing = np.zeros(len(rows))  # through time there are no faces
        to.added[rows] += np.column_stack([columns.get(name, nothing) for name in _ADDED])
        to.least[rows] = np.fmin(to.least[rows], np.column_stack([columns[name] for name in _LEAST]))
        to.most[rows] = np.fmax(to.most[rows], np.column_stack([columns[name] for name in _MOST]))
        is_larger = columns["volume"] > to.largest[rows, 0]
        to.largest[rows[is_larger]] = np.column_stack([columns["volume"], columns["first_plane"]])[is_larger]
        self._before = labels

    def _measured(
        self, places: NDArray[np.int32], labels: NDArray[np.int32], table: pd.DataFrame
    ) -> dict[str, NDArray[np.float64]]:
        """What each cross-section adds to its object."""
        found = {name: table[name].to_numpy(np.float64) for name in _OF_SECTIONS}
        area, position = found["area"], table[_plane_column(table, self._axis)].to_numpy(np.float64)
        found |= {"planes": np.ones(len(table)), "filled_planes": found["filled"], "volume": area}
        found |= {f"moment_{name}": area * found[f"centroid_{name}"] for name in "yx"} | {"moment_z": area * position}
        found |= {"first_plane": position, "last_plane": position, "weakest_link": found["link_iou"]}
        for name in ("predicted_iou", "stability_score"):
            # nothing is predicted of what was filled in, nor by AIS of anything
            found |= {f"least_{name}": found[name], name: np.nan_to_num(found[name])}
        if not self._through_time:
            found |= _shared(places, labels, self._before, area)
        return found

    def take(self, ids: NDArray[np.int64], index: tuple[int, ...]) -> pd.DataFrame:
        """The rows of objects that are complete; ``index`` of the plane in which they end."""
        if not len(ids) and self._none is not None:
            return self._none.copy()
        chosen = np.isin(self._open.ids, ids)
        done, self._open = _rows(self._open, chosen), _rows(self._open, ~chosen)
        table = self._table(done, index)
        self._none = table.iloc[:0] if self._none is None else self._none
        return table

    def _table(self, of: _Open, index: tuple[int, ...]) -> pd.DataFrame:
        added = dict(zip(_ADDED, of.added.T, strict=True))
        least, most = dict(zip(_LEAST, of.least.T, strict=True)), dict(zip(_MOST, of.most.T, strict=True))
        # all at once: a column that is set by itself takes a data frame longer than all that is in it
        columns: dict[str, NDArray[Any]] = {"index": of.ids}
        if self._through_time:
            columns["parent"] = of.parents
        for axis, name in enumerate(plane_columns(len(index))):
            columns[name] = (
                of.largest[:, 1].astype(np.int64) if axis == self._axis else np.full(len(of.ids), index[axis])
            )
        columns["first_plane"] = least["first_plane"].astype(np.int64)
        columns["last_plane"] = most["last_plane"].astype(np.int64)
        columns |= {name: added[name].astype(np.int64) for name in ("planes", "filled_planes")}
        columns |= self._size(added)
        rated = added["planes"] - added["filled_planes"]
        for name in ("predicted_iou", "stability_score"):
            columns[name] = np.where(np.isnan(least[f"least_{name}"]), np.nan, added[name] / np.maximum(rated, 1))
            columns[f"least_{name}"] = least[f"least_{name}"]
        columns["weakest_link"] = least["weakest_link"]
        columns |= self._centroid(added)
        for name in ("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"):
            columns[name] = (least if name in least else most)[name].astype(np.int64)
        return pd.DataFrame(columns)

    def _size(self, added: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
        volume, units = added["volume"], self._units
        if self._through_time:
            sizes = {"area": volume / added["planes"]}
            if units.pixel_size is not None:
                sizes[units.area_column] = sizes["area"] * (units.pixel_size[0] * units.pixel_size[1])
            return sizes
        faces = [2 * FACES_TO_SURFACE * (volume - added[f"shared_{axis}"]) for axis in "zyx"]
        found: dict[str, NDArray[Any]] = {
            "volume": volume.astype(np.int64),
            "surface": sum(faces, np.zeros(len(volume))),
        }
        if units.voxel is not None:
            z, y, x = units.voxel
            found[units.column("volume", 3)] = volume * (z * y * x)
            found[units.column("surface", 2)] = faces[0] * (y * x) + faces[1] * (z * x) + faces[2] * (z * y)
        return found

    def _centroid(self, added: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        units = self._units
        sizes = dict(zip("zyx", units.voxel or (None, *(units.pixel_size or (None, None))), strict=True))
        axes = "yx" if self._through_time else "zyx"
        found = {f"centroid_{axis}": added[f"moment_{axis}"] / added["volume"] for axis in axes}
        for axis in axes:
            size = sizes[axis]
            if size is not None:
                found[units.column(f"centroid_{axis}", 1)] = found[f"centroid_{axis}"] * size
        return found


def _plane_column(table: pd.DataFrame, axis: int) -> str:
    return "plane" if "plane" in table else f"plane_{axis}"


def _shared(
    places: NDArray[np.int32],
    labels: NDArray[np.int32],
    before: NDArray[np.int32] | None,
    area: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """The faces between two voxels of each object, by the axis along which these lie.

    All voxels but those where something else lies before them: the few at the outline are counted, not the many inside.
    """
    begins = np.empty(places.shape, bool)
    found = {}
    for axis, here, last in (("y", begins[1:], (slice(1), ...)), ("x", begins[:, 1:], (..., slice(1)))):
        along = places if axis == "y" else places.T
        np.not_equal(along[1:], along[:-1], out=here if axis == "y" else here.T)
        begins[last] = True
        found[f"shared_{axis}"] = area - _count(places, begins, len(area))
    if before is None:
        return {"shared_z": np.zeros(len(area)), **found}
    return {"shared_z": area - _count(places, np.not_equal(labels, before, out=begins), len(area)), **found}


def _count(places: NDArray[np.int32], chosen: NDArray[np.bool_], rows: int) -> NDArray[np.float64]:
    """How many of the chosen pixels belong to each row."""
    return np.bincount(places.ravel()[np.flatnonzero(chosen)], minlength=rows + 1)[1:].astype(np.float64)


def _stacked(one: _Open, other: _Open) -> _Open:
    return _Open(*(np.concatenate([getattr(one, name), getattr(other, name)]) for name in _Open.__slots__))


def _rows(of: _Open, chosen: NDArray[np.bool_]) -> _Open:
    return _Open(*(getattr(of, name)[chosen] for name in _Open.__slots__))
