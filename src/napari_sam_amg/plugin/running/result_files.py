"""The files of a run whose results grow in a folder: what they are called, and what their axes are."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.io.discover import (
    CANDIDATES_ENDING,
    FEATURES_ENDING,
    OBJECTS_ENDING,
    RECORD_ENDING,
    ZARR_ENDING,
)
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.placing import is_pixel
from napari_sam_amg.plugin.running.layers import Axes
from napari_sam_amg.plugin.running.source import SourceLayer

if TYPE_CHECKING:
    from napari_sam_amg.io.exports import Export
    from napari_sam_amg.io.ngff import Spacing

LETTERS = "TCZYX"  # of axes without usable names, counted from the last
MOST_AXES = len(LETTERS)
TABLES = (FEATURES_ENDING, OBJECTS_ENDING)
ON_DISK = "labels_on_disk"  # of a layer's record: where the labels lie that it shows
ENDINGS = (ZARR_ENDING, *TABLES, CANDIDATES_ENDING, RECORD_ENDING)


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """What a run writes into a folder, all of it called after the layer."""

    folder: Path
    name: str

    @classmethod
    def of(cls, folder: Path, layer: str) -> "ResultFiles":
        """Characters that no file name may have on some system become underscores."""
        return cls(folder, re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", layer).strip(" .") or "image")

    @classmethod
    def beside(cls, labels: Path) -> "ResultFiles":
        """Those that belong to labels that were opened."""
        return cls(labels.parent, labels.name.removesuffix(ZARR_ENDING))

    def path(self, ending: str) -> Path:
        return self.folder / (self.name + ending)

    @property
    def labels(self) -> Path:
        return self.path(ZARR_ENDING)

    @property
    def record(self) -> Path:
        return self.path(RECORD_ENDING)

    @property
    def candidates(self) -> Path:
        """What the work is called once the run is finished."""
        return self.path(CANDIDATES_ENDING)

    @property
    def work(self) -> Path:
        """The work that is kept until the run is finished."""
        return self.folder / f".{self.name}.work"


def why_not(axes: Axes) -> str:
    """Why the labels of an image with these axes cannot be written to a folder; empty if they can."""
    if axes.plane != (axes.ndim - 2, axes.ndim - 1):
        return "Planes that are seen from the side cannot be written to a folder: show the last two axes of the image."
    if axes.ndim > MOST_AXES:
        return f"An image of {axes.ndim} axes cannot be written to a folder: {MOST_AXES} are allowed."
    return ""


def letters(source: SourceLayer) -> str:
    """A letter for each axis of the labels, as OME-NGFF wants them: the layer's names where they are fit."""
    from napari_sam_amg.io.label_volume import ngff_axes

    named = "".join(label.strip().upper() for label in source.geometry.axis_labels)
    if len(named) == source.axes.ndim:
        with suppress(ValueError):
            if ngff_axes(named) == named:
                return named
    return {2: "YX", 3: "ZYX", 4: "TZYX"}.get(source.axes.ndim, LETTERS)


def spacing(source: SourceLayer) -> "dict[str, Spacing]":
    """How far apart positions are along each axis; a layer that is turned keeps its lengths alone."""
    from napari_sam_amg.io.ngff import Spacing

    geometry, found = source.geometry, {}
    is_upright = np.allclose(geometry.steps, np.diag(geometry.scale))
    origins = geometry.translate if is_upright else np.zeros(source.axes.ndim)
    for letter, length, unit, origin in zip(letters(source), geometry.scale, geometry.units, origins, strict=True):
        found[letter] = Spacing(float(length), "" if is_pixel(unit) else str(unit), float(origin))
    return found


def table_endings(params: AmgParameters) -> tuple[str, ...]:
    """Of the tables that a run with these parameters writes."""
    return TABLES if params.link != "none" else TABLES[:1]


def tables(files: ResultFiles, params: AmgParameters) -> "list[Export]":
    """Who writes them."""
    from napari_sam_amg.io.exports import FeaturesCsv
    from napari_sam_amg.io.object_exports import ObjectsCsv

    makers: dict[str, Any] = {FEATURES_ENDING: FeaturesCsv, OBJECTS_ENDING: ObjectsCsv}
    return [makers[ending](files.path(ending)) for ending in table_endings(params)]


def named(result: Any, plane_axes: str, through: str) -> Any:
    """A result of a plane whose tables name their columns by the letters of its axes, and of the one through it."""
    from napari_sam_amg.amg.table import of_plane_axes

    objects = getattr(result, "objects", None)
    changed = {} if objects is None else {"objects": of_plane_axes(objects, plane_axes, through)}
    return replace(result, features=of_plane_axes(result.features, plane_axes), **changed)


def labels_on_disk(files: ResultFiles) -> list[Any]:
    """The levels of the labels as they are now, as dask arrays.

    With names of their own each time: napari's cache of dask would show what was there before.
    """
    from napari_sam_amg.io.label_files import fresh_levels
    from napari_sam_amg.plugin.files.label_reader import shown_levels

    return shown_levels(fresh_levels(files.labels))
