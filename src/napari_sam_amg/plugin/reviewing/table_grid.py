"""What the rows of a layer's table stand for, and how large its pixels are: enough to measure objects again."""

from typing import Any

import numpy as np
import pandas as pd

from napari_sam_amg.objects.table import Units
from napari_sam_amg.plugin.reviewing.reviewed import ReviewedLayer
from napari_sam_amg.review.remeasure import Grid

_AREA = "area_"


def table_grid(review: ReviewedLayer) -> Grid:
    """By what the run was made on; of saved results by their record, their table and the layer's scale."""
    used = review.record.get("parameters_used", {})
    link = str(used.get("link", "none"))
    source = review.source
    if source is None:
        return _saved_grid(review, link)
    params = review.params
    place = None if params is None else source.linked_place(params)
    through = "Z" if params is None else source.through(params)
    spacing = None if place is None else source.spacing(place)
    units = Units(source.pixel_size, spacing, source.area_column)
    return Grid(link if place is not None else "none", place or 0, units, source.plane_axes, through)


def _saved_grid(review: ReviewedLayer, link: str) -> Grid:
    table = review.layer.features
    names = str(review.record.get("source", {}).get("axes", {}).get("names", "yx")).upper()
    axis = _linked_axis(review, table)
    column = next((str(name) for name in table.columns if str(name).startswith(_AREA)), "")
    if not column:
        column = next((f"{_AREA}{str(name)[7:-1]}2" for name in table.columns if str(name).startswith("volume_")), "")
    if not column:
        return Grid(link, axis, Units(), names)
    scale = np.abs(np.asarray(review.layer.scale, float))
    down, right = (float(scale[axis]) for axis in review.plane_axes)
    factor = np.sqrt(_ratio(table, column) / (down * right)) if column in table else 1.0
    spacing = float(scale[review.stack_axes[axis]]) if axis < len(review.stack_axes) else None
    return Grid(link, axis, Units((down * factor, right * factor), spacing, column), names)


def _linked_axis(review: ReviewedLayer, table: pd.DataFrame) -> int:
    """The axis of the stack along which objects go: that of which first and last planes are told."""
    if len(review.stack_axes) < 2 or "first_plane" not in table:
        return 0
    within = [
        bool(table[f"plane_{axis}"].between(table["first_plane"], table["last_plane"])[1:].all())
        for axis in range(len(review.stack_axes))
        if f"plane_{axis}" in table
    ]
    return within.index(True) if True in within else 0


def _ratio(table: pd.DataFrame, column: str) -> float:
    """Of the physical area to that in pixels; the layer's scale may be in another unit."""
    ratios: Any = (table[column] / table["area"]).dropna()
    return float(ratios.median()) if len(ratios) else 1.0
