"""A run whose results grow in a folder: an OME-Zarr that the layer shows, tables, and work that can be continued.

All but ``labels_on_disk`` runs in the worker thread.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.io.discover import FEATURES_ENDING, OBJECTS_ENDING, RECORD_ENDING, ZARR_ENDING
from napari_sam_amg.plugin.placing import is_pixel
from napari_sam_amg.plugin.running.layers import Axes
from napari_sam_amg.plugin.running.source import SourceLayer

if TYPE_CHECKING:
    from napari_sam_amg.amg.preprocess import IntensityRange
    from napari_sam_amg.amg.propose import Model
    from napari_sam_amg.io.exports import Export
    from napari_sam_amg.io.ngff import Spacing
    from napari_sam_amg.params import AmgParameters
    from napari_sam_amg.run import PlaneResult

LETTERS = "TCZYX"  # of axes without usable names, counted from the last
MOST_AXES = len(LETTERS)
ENDINGS = (ZARR_ENDING, FEATURES_ENDING, OBJECTS_ENDING, RECORD_ENDING)
LOOKED_AT = 64  # rows of a plane that tell whether it is the same image


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """What a run writes into a folder, all of it called after the layer."""

    folder: Path
    name: str

    @classmethod
    def of(cls, folder: Path, layer: str) -> "ResultFiles":
        """Characters that no file name may have on some system become underscores."""
        return cls(folder, re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", layer).strip(" .") or "image")

    def path(self, ending: str) -> Path:
        return self.folder / (self.name + ending)

    @property
    def labels(self) -> Path:
        return self.path(ZARR_ENDING)

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


def labels_on_disk(files: ResultFiles) -> list[Any]:
    """The levels of the labels as they are now, as dask arrays.

    With names of their own each time: napari's cache of dask would show what was there before.
    """
    from napari_sam_amg.io.label_files import fresh_levels
    from napari_sam_amg.plugin.files.label_reader import shown_levels

    return shown_levels(fresh_levels(files.labels))


class DiskRun:
    """Begun or continued when it is made; ``keep`` every result, then ``end``."""

    def __init__(
        self,
        files: ResultFiles,
        source: SourceLayer,
        params: "AmgParameters",
        model: "Model",
        intensities: "IntensityRange",
    ) -> None:
        """Raises ``ValueError`` where results of another run lie, and ``OSError`` where nothing can be written."""
        from napari_sam_amg.io.label_volume import LabelVolume, RowsOfPlanes, is_label_volume
        from napari_sam_amg.jobs.identity import identity_of, made_by
        from napari_sam_amg.jobs.kept import JOURNAL, KeptRun, OtherRun
        from napari_sam_amg.objects.support import eased

        files.folder.mkdir(parents=True, exist_ok=True)
        identity = identity_of(
            eased(params),
            input={"shape": source.labels_shape, "dtype": str(source.whole.data.dtype), "looks": _looks(source)},
            # not the plane in sight: here planes come in their order
            settings={
                "intensities": [intensities.low, intensities.high],
                "source": {name: value for name, value in source.record().items() if name != "first"},
            },
            **made_by(model),
        )
        self.files, self._source, self._params = files, source, params
        if not (files.work / JOURNAL).exists():
            for path in map(files.path, ENDINGS):
                if path.exists():
                    raise ValueError(f"{path} is there already: choose another folder, or move it away")
        try:
            self.kept = KeptRun(files.work, identity)
        except OtherRun as error:
            raise ValueError(
                f"{files.folder}: {error}; choose another folder, or delete {files.labels.name} and {files.work.name} "
                "in it to begin anew"
            ) from error
        if is_label_volume(files.labels):
            self._volume: LabelVolume = LabelVolume.open(files.labels)
        else:
            shutil.rmtree(files.labels, ignore_errors=True)
            axes = letters(source)
            self._volume = LabelVolume.create(files.labels, source.labels_shape, axes, spacing(source))
        self._rows = RowsOfPlanes(self._volume)
        self._exports = self._tables()

    @property
    def continued(self) -> int:
        """Parts that were done before."""
        return self.kept.continued

    def _tables(self) -> "list[Export]":
        from napari_sam_amg.io.exports import FeaturesCsv
        from napari_sam_amg.io.object_exports import ObjectsCsv

        makers: dict[str, Any] = {FEATURES_ENDING: FeaturesCsv}
        if self._params.link != "none":
            makers[OBJECTS_ENDING] = ObjectsCsv
        for ending in ENDINGS[1:]:  # they are written again from the start
            self.files.path(ending).unlink(missing_ok=True)
        return [maker(self.files.path(ending)) for ending, maker in makers.items()]

    def keep(self, result: "PlaneResult") -> None:
        """Write one plane, or some rows of one, with its coarser levels, and its rows of the tables."""
        from napari_sam_amg.amg.table import of_plane_axes

        place = self._source.place(result.index)
        index = tuple(at for at in place[:-2] if isinstance(at, int))
        self._rows.write(index, result.labels, result.rows)
        if result.is_last:
            self._volume.reduce_plane(index)
        source, objects = self._source, result.objects
        if objects is not None:
            objects = of_plane_axes(objects, source.plane_axes, source.through(self._params))
        named = replace(result, features=of_plane_axes(result.features, source.plane_axes), objects=objects)
        for export in self._exports:
            export.add(named)

    def end(self, is_finished: bool, about: Mapping[str, Any]) -> None:
        """Close what is open. The work stays unless the run is finished; where nothing was done nothing stays."""
        from napari_sam_amg.jobs.kept import drop_work
        from napari_sam_amg.provenance import write_record

        was_begun = bool(self.kept.done) or is_finished
        self.kept.__exit__(None, None, None)
        if not was_begun:
            shutil.rmtree(self.files.labels, ignore_errors=True)
            for export in self._exports:
                export.path.unlink(missing_ok=True)
            return
        for export in self._exports:
            export.finish()
        axes, named = self._source.axes, letters(self._source)
        record = {
            "state": "finished" if is_finished else "cancelled",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "stack_axes": "".join(named[axis] for axis in axes.others),
            "plane_axes": named[-2:],
        }
        write_record(self.files.path(RECORD_ENDING), json.loads(json.dumps(dict(about), default=str)) | record)
        if is_finished:
            drop_work(self.files.work)


def _looks(source: SourceLayer) -> str:
    """A hash of some rows of some planes: whether it is the same image, without reading all of it."""
    stack, digest = source.stack, hashlib.sha256()
    indices = stack.indices
    height = stack.plane_size[0]
    for index in dict.fromkeys((indices[0], indices[len(indices) // 2], indices[-1])):
        for start in dict.fromkeys((0, max(0, height // 2 - LOOKED_AT // 2), max(0, height - LOOKED_AT))):
            with suppress(Exception):  # what cannot be read looks like nothing, now and later
                part = stack.part(index, slice(start, min(start + LOOKED_AT, height)))
                digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def kept_steps(run: DiskRun, steps: Iterator[Any], about: Mapping[str, Any]) -> Iterator[Any]:
    """The steps of a run, each result on the disk before it is given."""
    is_finished = False
    try:
        for step in steps:
            if step.result is not None:
                run.keep(step.result)
            yield step
        is_finished = True
    finally:
        run.end(is_finished, about)
