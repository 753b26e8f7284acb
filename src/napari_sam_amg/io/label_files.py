"""Label volumes that were written, opened again: lazily, and with the rows of their table where their labels are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import zarr

from napari_sam_amg.amg.table import LINKED_COLUMN, rows_up_to
from napari_sam_amg.io.discover import FEATURES_ENDING, OBJECTS_ENDING, RECORD_ENDING, ZARR_ENDING
from napari_sam_amg.io.label_volume import is_label_volume
from napari_sam_amg.io.ngff import Multiscale, ome_attributes, read_multiscale

_MOST_GAPS = 10  # ids without a row for each id with one: more rows would be made than there are labels


@dataclass(frozen=True, slots=True, eq=False)
class WrittenLabels:
    """Labels as they are shown."""

    levels: list[da.Array]  # (..., Y, X) uint32, the finest first; nothing is read yet
    known: Multiscale
    table: pd.DataFrame | None  # row 0 is the background, row n label n; None if there is none beside
    record: Mapping[str, Any]  # of the run; empty if there is none beside

    @property
    def axes(self) -> str:
        return "".join(self.known.axes).upper()


def read_label_volume(path: Path) -> WrittenLabels:
    """A label volume, the table NAME_features.csv and the record NAME_run.json beside NAME_labels.ome.zarr.

    Of objects through the stack the table is NAME_objects.csv.

    Raises ``ValueError`` or ``OSError`` for a folder that is none, and for a table that cannot be read.
    """
    if not is_label_volume(path):
        raise ValueError(f"{path} is no label volume of napari-sam-amg")
    return label_levels(zarr.open_group(path, mode="r"), path)


def label_levels(group: zarr.Group, path: Path) -> WrittenLabels:
    """The same of a group that is open; ``path`` is only where its table is looked for."""
    known = read_multiscale(ome_attributes(group))
    # dask, a chunk of it for each that is stored: of a bare zarr array napari reads many more
    levels = [da.from_zarr(group[name]) for name in known.paths]
    beside = path.with_name(path.name.removesuffix(ZARR_ENDING))
    return WrittenLabels(levels, known, _table(beside), _record(beside))


def _table(beside: Path) -> pd.DataFrame | None:
    path = beside.with_name(beside.name + FEATURES_ENDING)
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path)
        if LINKED_COLUMN in table:
            path = beside.with_name(beside.name + OBJECTS_ENDING)
            table = pd.read_csv(path)
        return rows_by_label(table)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is no table of labels: {error}") from error


def rows_by_label(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each id from 0 on, NaN where there is no such label: napari takes a row's number for the label's id.

    ``ValueError`` for ids that are no whole numbers from 1 on, or so far apart that most rows would be empty.
    """
    ids = table["index"].to_numpy()
    if len(ids) and (ids.dtype.kind not in "iu" or ids.min() < 1 or len(np.unique(ids)) < len(ids)):
        raise ValueError("the column index does not hold ids of labels: whole numbers from 1 on, each once")
    highest = int(ids.max(initial=0))
    if highest > _MOST_GAPS * max(len(ids), 100):
        raise ValueError(f"{len(ids)} rows do not reach up to label {highest}")
    return rows_up_to(highest, table)


def _record(beside: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(beside.with_name(beside.name + RECORD_ENDING).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
