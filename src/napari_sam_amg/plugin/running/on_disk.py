"""A run whose results grow in a folder: an OME-Zarr that the layer shows, tables, and work that can be continued.

All of it runs in the worker thread.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.io.discover import RECORD_ENDING
from napari_sam_amg.plugin.running.kept_on_disk import CANDIDATES, about_candidates, keep_candidates
from napari_sam_amg.plugin.running.result_files import ENDINGS, TABLES, ResultFiles, letters, named, spacing, tables
from napari_sam_amg.plugin.running.source import SourceLayer

if TYPE_CHECKING:
    from napari_sam_amg.amg.preprocess import IntensityRange
    from napari_sam_amg.amg.propose import Model
    from napari_sam_amg.params import AmgParameters
    from napari_sam_amg.review.kept import KeepingWork, KeptRun
    from napari_sam_amg.run import PlaneResult

LOOKED_AT = 64  # rows of a plane that tell whether it is the same image


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
        from napari_sam_amg.io.staging import settle
        from napari_sam_amg.jobs.candidates import UnitStore
        from napari_sam_amg.jobs.identity import identity_of, made_by
        from napari_sam_amg.jobs.kept import JOURNAL, KeptRun, OtherRun
        from napari_sam_amg.objects.support import eased
        from napari_sam_amg.review.kept import thresholds_below

        files.folder.mkdir(parents=True, exist_ok=True)
        settle([files.record])  # thresholds that somebody was about to write
        identity = identity_of(
            eased(params),
            floor=thresholds_below(eased(params), model.info.amg_defaults),
            input={"shape": source.labels_shape, "dtype": str(source.whole.data.dtype), "looks": _looks(source)},
            # not the plane in sight: here planes come in their order
            settings={
                "intensities": [intensities.low, intensities.high],
                "source": {name: value for name, value in source.record().items() if name != "first"},
            },
            **made_by(model),
        )
        self.files, self._source, self._params = files, source, params
        is_begun = (files.work / JOURNAL).exists()
        for path in [files.candidates] if is_begun else map(files.path, ENDINGS):
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
        for ending in (*TABLES, RECORD_ENDING):  # they are written again from the start
            files.path(ending).unlink(missing_ok=True)
        self._exports = tables(files, params)
        self.store = UnitStore(self.kept.units, self.kept.run, self.kept.done)
        self._used: dict[str, Any] = {}

    @property
    def continued(self) -> int:
        """Parts that were done before."""
        return self.kept.continued

    def keep(self, result: "PlaneResult") -> None:
        """Write one plane, or some rows of one, with its coarser levels, and its rows of the tables."""
        place = self._source.place(result.index)
        index = tuple(at for at in place[:-2] if isinstance(at, int))
        self._rows.write(index, result.labels, result.rows)
        self._used = asdict(result.params)
        if result.is_last:
            self._volume.reduce_plane(index)
        written = named(result, self._source.plane_axes, self._source.through(self._params))
        for export in self._exports:
            export.add(written)

    def end(self, is_finished: bool, about: Mapping[str, Any], kept: "KeptRun | None") -> None:
        """Close what is open. The work of a finished run is called otherwise; where nothing was done nothing stays."""
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
        axes, names = self._source.axes, letters(self._source)
        record = {
            "state": "finished" if is_finished else "cancelled",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "stack_axes": "".join(names[axis] for axis in axes.others),
            "plane_axes": names[-2:],
            "parameters_used": self._used,
        }
        if is_finished:
            record[CANDIDATES] = about_candidates(self.files, self.kept, kept)
        write_record(self.files.record, json.loads(json.dumps(dict(about), default=str)) | record)
        if is_finished and kept is not None and not kept.fixed_reason:
            keep_candidates(self.files, self.kept, kept, self.store, self._source)
        elif is_finished:
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


def kept_steps(run: DiskRun, keeping: "KeepingWork", steps: Iterator[Any], about: Mapping[str, Any]) -> Iterator[Any]:
    """The steps of a run, each result on the disk before it is given. ``keeping``: who knows what was proposed."""
    is_finished = False
    try:
        for step in steps:
            if step.result is not None:
                run.keep(step.result)
            yield step
        is_finished = True
    finally:
        run.end(is_finished, about, keeping.kept)
