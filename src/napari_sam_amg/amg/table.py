"""The features table: one row for every label id, the layout that napari's own table expects."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:  # which import torch; tables of saved labels do without
    from napari_sam_amg.amg.labels import LabelPlane
    from napari_sam_amg.amg.masks import Masks

BACKGROUND_ID = 0
#: Of cross-sections of objects through a stack, whose ids are not unique: IoU with the one in the plane before.
LINKED_COLUMN = "link_iou"


def plane_columns(axes: int) -> list[str]:
    """Names of the columns that hold a plane's index: one for each stack axis."""
    return ["plane"] if axes == 1 else [f"plane_{axis}" for axis in range(axes)]


def plane_table(
    masks: "Masks",
    painted: "LabelPlane",
    index: tuple[int, ...] = (),
    pixel_size: tuple[float, float] | None = None,
    area_column: str = "area_physical",
    more: Mapping[str, NDArray[Any]] | None = None,
) -> pd.DataFrame:
    """One row per label of a plane, in order of id.

    Columns: index (label id), the plane's index where there is a stack, area (px that the label
    shows), area in physical units (``pixel_size`` (y, x) given), predicted_iou, stability_score,
    centroid_y/x (px), bbox_y0, bbox_x0, bbox_y1, bbox_x1 (px, y1 and x1 not included, as
    scikit-image's), mask_area (px before overlaps were resolved), visible_fraction (of mask_area, what
    was painted), cut_by_crop (1 if the edge of a crop may have cut the mask), point_y/x (px, the
    prompt). ``more``: columns in the place of these, or behind them.
    """
    rows = painted.rows
    sums, boxes = _places(painted.labels, len(rows))
    # all at once: a column that is set by itself takes a data frame .6 ms
    columns: dict[str, Any] = {"index": np.arange(1, 1 + len(rows))}
    columns |= {name: np.full(len(rows), at) for name, at in zip(plane_columns(len(index)), index, strict=True)}
    columns["area"] = painted.shown
    if pixel_size is not None:
        columns[area_column] = painted.shown * (pixel_size[0] * pixel_size[1])
    columns["predicted_iou"] = masks.predicted_iou[rows]
    columns["stability_score"] = masks.stability_score[rows]
    for name, of_axis in zip("yx", sums, strict=True):
        columns[f"centroid_{name}"] = of_axis / painted.shown
    for name, ends in zip(("y0", "x0", "y1", "x1"), boxes, strict=True):
        columns[f"bbox_{name}"] = ends
    columns["mask_area"] = painted.areas
    columns["visible_fraction"] = painted.visible / painted.areas
    columns["cut_by_crop"] = painted.cut.astype(np.int64)  # a number: the background's row has NaN
    columns |= {"point_y": masks.points[rows, 1], "point_x": masks.points[rows, 0]}
    return pd.DataFrame(columns | dict(more or {}))


def _places(labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each label 1, 2, ... ``count``: the sums of its y and of its x, (2, count), and y0, x0, y1, x1: (4, count).

    By the pieces of rows that have one label, of which there are far fewer than pixels.
    """
    changes = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    stops = np.append(starts[1:], labels.size)
    ids = labels.ravel()[starts]
    starts, stops, ids = starts[ids > 0], stops[ids > 0], ids[ids > 0]
    y, x0 = np.divmod(starts, labels.shape[1])
    lengths = stops - starts
    x1 = x0 + lengths
    # sums of whole numbers, which floats hold exactly
    sums = [np.bincount(ids, of, count + 1)[1:] for of in (y * lengths, (x0 + x1 - 1) * lengths // 2)]
    order = np.argsort(ids, kind="stable")
    first = np.searchsorted(ids[order], np.arange(1, count + 1))
    least = [np.minimum.reduceat(of[order], first) for of in (y, x0)] if count else [first, first]
    most = [np.maximum.reduceat(of[order], first) for of in (y + 1, x1)] if count else [first, first]
    return np.array(sums), np.array([*least, *most])


def of_plane_axes(table: pd.DataFrame, axes: str, through: str = "Z") -> pd.DataFrame:
    """With the two letters of a plane's axes, down and to the right, in the names of the columns: "centroid_z".

    ``through``: the letter of the axis along which planes were joined to objects, if they were.
    """
    new = dict(zip("zyx", (through + axes).lower(), strict=True))
    if axes == "YX":
        return table
    pattern = r"(?<=_)[zyx](?=([01]|_[a-z]+)?$)"
    return table.rename(columns={name: re.sub(pattern, lambda found: new[found[0]], name) for name in table.columns})


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables of all planes, one below the other."""
    # pandas warns of empty tables, whose columns have no types to join; one of them gives the columns if all are empty
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def with_background(table: pd.DataFrame) -> pd.DataFrame:
    """A first row for label 0, NaN but for its index.

    napari's features table takes the row's number for the label id, so that row and id must agree.
    """
    background = pd.DataFrame({"index": [BACKGROUND_ID]})
    return pd.concat([background, table], ignore_index=True)


def rows_up_to(highest: int, table: pd.DataFrame) -> pd.DataFrame:
    """A row for each id from 0 to ``highest``, NaN but for its index where the table has none."""
    return table.set_index("index").reindex(range(highest + 1)).rename_axis("index").reset_index()
