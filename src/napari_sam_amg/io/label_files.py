"""Label volumes that were written, opened again: lazily, and with the rows of their table where their labels are."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import pandas as pd
import zarr

from napari_sam_amg.io.discover import FEATURES_ENDING, RECORD_ENDING, ZARR_ENDING
from napari_sam_amg.io.feature_table import read_run_table
from napari_sam_amg.io.label_volume import LabelVolume, is_label_volume
from napari_sam_amg.io.ngff import Multiscale, ome_attributes, read_multiscale

_ARRAY_FILES = ("zarr.json", ".zarray", ".zattrs")  # of a level, all but its chunks


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
    try:
        levels = [da.from_zarr(group[name]) for name in known.paths]
    except KeyError as error:
        raise ValueError(f"{path} is damaged: it has no level {error}") from error
    beside = path.with_name(path.name.removesuffix(ZARR_ENDING))
    return WrittenLabels(levels, known, _table(beside), _record(beside))


def fresh_levels(path: Path) -> list[da.Array]:
    """The levels of a volume that grows, as they are now: arrays that no cache of dask's knows."""
    group = zarr.open_group(path, mode="r")
    paths = read_multiscale(ome_attributes(group)).paths
    return [da.from_zarr(group[name], name=f"labels-{uuid4().hex}") for name in paths]


def empty_copy(path: Path, target: Path) -> LabelVolume:
    """A volume at ``target`` as that at ``path``, with all that is said of it, but without labels."""
    levels = {path / level.basename for level in LabelVolume.open(path).levels}

    def chunks(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder) in levels and name not in _ARRAY_FILES]

    shutil.copytree(path, target, ignore=chunks)
    return LabelVolume.open(target)


def _table(beside: Path) -> pd.DataFrame | None:
    path = beside.with_name(beside.name + FEATURES_ENDING)
    return read_run_table(path) if path.exists() else None


def _record(beside: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(beside.with_name(beside.name + RECORD_ENDING).read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
