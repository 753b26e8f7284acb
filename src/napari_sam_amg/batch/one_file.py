"""One image of a batch: read, segment, write, record."""

import dataclasses
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import tqdm

from napari_sam_amg.amg.planes import PlaneStack, may_tile, plane_number
from napari_sam_amg.amg.preprocess import IntensityRange, Survey
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.table import of_plane_axes
from napari_sam_amg.amg.work import ModelWork, Work
from napari_sam_amg.batch.image import Image, ImageFile, Reading
from napari_sam_amg.batch.outcome import Done, Outcome
from napari_sam_amg.batch.resume import kept_run, run_identity
from napari_sam_amg.io.discover import (
    CHALLENGE_ENDING,
    FEATURES_ENDING,
    FORMATS,
    LABELS_ENDING,
    MASKS_ENDING,
    OBJECTS_ENDING,
    OVERLAY_ENDING,
    RECORD_ENDING,
    TRACKS_ENDING,
    ZARR_ENDING,
    InputFile,
)
from napari_sam_amg.io.exports import CocoJson, Export, FeaturesCsv, MaskFolder, OverlayPng, foreign_in
from napari_sam_amg.io.label_volume import VERSIONS, is_label_volume
from napari_sam_amg.io.labels_tiff import LabelsTiff
from napari_sam_amg.io.labels_zarr import LabelsZarr
from napari_sam_amg.io.object_exports import ChallengeTracks, ObjectsCsv, TracksCsv
from napari_sam_amg.io.raw_image import Geometry, SourceImage
from napari_sam_amg.io.rois import ROIS_ENDING, RoisZip
from napari_sam_amg.io.staging import end_work, naming, settle, staged, work_folder
from napari_sam_amg.jobs.kept import KeptRun, drop_work
from napari_sam_amg.objects.axes import through_axis
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import Standing, describe_run, sizes, standing, versions, write_record
from napari_sam_amg.run import PlaneResult, segment_planes, survey_if_needed

if TYPE_CHECKING:
    from napari_sam_amg.jobs.dask_engine import Workers

COCO_ENDING = "_masks.json"
AREA_COLUMN = "area_um2"
#: Told after every batch of points how many are done, of how many, and 0 of 0 while planes are looked at before that.
#: It may raise to stop the run.
Follow = Callable[[int, int], object]


class AlreadyThere(ValueError):
    """Results lie where an image's would be written, and may not be replaced."""

    def __init__(self, target: Path, skips: bool) -> None:
        self.target = target
        reason = "exists already: give --overwrite to replace it, or --skip-existing to keep it"
        if skips:
            reason = (
                "exists already, from another image or other settings, or changed since: add --overwrite to replace it"
            )
        super().__init__(f"{target} {reason}")


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every file of a batch, besides the model and the parameters."""

    formats: frozenset[str] = frozenset({"labels"})
    overlay: bool = False
    channel: int | None = None
    series: int | None = None  # None: the main image of a file
    geometry: Geometry = Geometry()  # what is not as the file says
    intensities: IntensityRange | None = None  # None: percentiles of each image
    ngff_version: str = VERSIONS[0]
    overwrite: bool = False
    skip_existing: bool = False
    resume: bool = True  # keep the work of a stack until its outputs are there, and go on with it
    quiet: bool = False

    @property
    def reading(self) -> Reading:
        return Reading(self.channel, self.series, self.geometry)

    def __post_init__(self) -> None:
        """``ValueError`` for a format that is none: a run would write nothing of what was meant, and say nothing."""
        given: Any = self.formats
        names = [given] if isinstance(given, str) else list(given)
        for name in names:
            if name not in FORMATS:
                raise ValueError(f"formats={name!r} is not allowed: choose from {', '.join(FORMATS)}")
        object.__setattr__(self, "formats", frozenset(names))  # a list or a single name serves as well

    def endings(self, link: str) -> tuple[str, ...]:
        """Of the files that are written for each input, the record last: it says that the others are there."""
        has_tables = bool(self.formats & {"labels", "zarr"})
        wanted = {
            LABELS_ENDING: "labels" in self.formats,
            ZARR_ENDING: "zarr" in self.formats,
            FEATURES_ENDING: has_tables,
            OBJECTS_ENDING: has_tables and link != "none",
            TRACKS_ENDING: has_tables and link == "t",
            CHALLENGE_ENDING: has_tables and link == "t",
            COCO_ENDING: "coco-rle" in self.formats,
            MASKS_ENDING: "masks" in self.formats,
            ROIS_ENDING: "rois" in self.formats,
            OVERLAY_ENDING: self.overlay,
            RECORD_ENDING: True,
        }
        return tuple(ending for ending, is_wanted in wanted.items() if is_wanted)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A model, and everything it is run with."""

    model: Model
    params: AmgParameters
    options: Options
    workers: "Workers | None" = None  # who have the model, which then is only described by ``model``

    def segment(self, file: InputFile, image: Image | None = None, follow: Follow | None = None) -> Done:
        """Write the outputs of one image. Raises for anything that fails, but for some planes of a stack.

        ``image``: by default the file itself.
        """
        targets = [file.output(ending) for ending in self.options.endings(self.params.link)]
        was_done = settle(targets)  # what a run that was killed left half-way, or all but finished
        settings = self._settings()
        image = ImageFile.of(file.path) if image is None else image
        before = self._before(targets, settings, image, was_done)
        if before.is_complete:
            return Done(f"{file.path}: skipped, {targets[-1]} says that it is done", skipped=True)
        _check_free(targets, self.options, before)
        with image.opened(self.options.reading, self.params) as source, staged(targets) as folder:
            sha256 = image.hashed()
            before = self._before(targets, settings, sha256)
            _check_free(targets, self.options, before)  # once more: nobody else can write them from here on
            with self._kept(source, settings, sha256, folder) as kept:
                surveyed = self._survey(source, kept, follow)
                work = self._work(kept, surveyed, image, sha256)
                outcome = self._run(source, surveyed, work, dataclasses.replace(file, folder=folder), follow)
                outcome.continued = 0 if kept is None else kept.continued
            if outcome.problems:
                image.check(in_place=True)  # half of a file that is no more must not replace a whole result
            elif kept is not None:
                end_work(folder)
            record = self._record(source, surveyed, outcome)
            record |= {"settings": settings, "outputs": [target.name for target in targets]}
            record["input"] = image.about(sha256) | record["input"]
            record["output_bytes"] = sizes([folder / target.name for target in targets[:-1]])
            with naming(targets[-1]):
                write_record(folder / targets[-1].name, record)
        return Done(outcome.summary(file, source, targets), outcome.failed, outcome.found())

    def opened(self, path: Path) -> AbstractContextManager[SourceImage]:
        """An image, as it is to be read."""
        return ImageFile.of(path).opened(self.options.reading, self.params)

    def has_parts(self, stack: PlaneStack) -> bool:
        """Whether what is to be done can be done in parts."""
        return len(stack.indices) > 1 or may_tile(stack.plane_size, self.params)

    def _before(
        self, targets: list[Path], settings: dict[str, Any], image: Image | str, was_done: bool = False
    ) -> Standing:
        """What an earlier run has left, if it is to be resumed. ``image``: the input, or its hash."""
        if not ((self.options.skip_existing or was_done) and targets[-1].exists()):
            return Standing()
        sha256 = image if isinstance(image, str) else image.hashed()
        return standing(targets[-1], settings, sha256, targets[:-1])

    def _settings(self) -> dict[str, Any]:
        """All that decides about the result, besides the input."""
        intensities, version = self.options.intensities, self.options.ngff_version
        settings = {
            "channel": self.options.channel,
            "series": self.options.series,
            "intensities": None if intensities is None else [intensities.low, intensities.high],
        } | self.options.geometry.record()
        if "zarr" in self.options.formats:
            settings["ngff_version"] = version
        return describe_run(self.model, self.params) | settings

    def _exports(self, source: SourceImage, base: InputFile) -> list[Export]:
        makers: dict[str, Callable[[Path], Export]] = {
            LABELS_ENDING: lambda path: LabelsTiff(path, source, source.sizes(source.axes[-2:])),
            ZARR_ENDING: lambda path: LabelsZarr(path, source, self.options.ngff_version),
            FEATURES_ENDING: FeaturesCsv,
            OBJECTS_ENDING: ObjectsCsv,
            TRACKS_ENDING: lambda path: TracksCsv(path, source.stack_axes + source.plane_axes),
            CHALLENGE_ENDING: ChallengeTracks,
            COCO_ENDING: CocoJson,
            MASKS_ENDING: MaskFolder,
            ROIS_ENDING: lambda path: RoisZip.of_image(path, source),
            OVERLAY_ENDING: OverlayPng,
        }
        exports = []
        for ending in (ending for ending in self.options.endings(self.params.link) if ending in makers):
            path = base.output(ending)
            with naming(path):
                exports.append(makers[ending](path))
        return exports

    def _kept(
        self, source: SourceImage, settings: dict[str, Any], sha256: str, folder: Path
    ) -> AbstractContextManager[KeptRun | None]:
        """What is kept of the work: of what can be done in parts, and of all that others do."""
        if not self.has_parts(source.stack) and self.workers is None:
            return nullcontext()
        if not self.options.resume:
            drop_work(work_folder(folder))
            if self.workers is None:
                return nullcontext()
        identity = run_identity(settings, self.model, self.params, source, sha256)
        return kept_run(folder, identity, self.options.overwrite, self.options.overlay)

    def _survey(self, source: SourceImage, kept: KeptRun | None, follow: Follow | None) -> Survey | None:
        def watch() -> None:
            if follow is not None:
                follow(0, 0)

        def look() -> Survey | None:
            return survey_if_needed(source.stack, self.params, self.options.intensities, watch)

        return look() if kept is None else kept.surveyed(look)

    def _work(self, kept: KeptRun | None, surveyed: Survey | None, image: Image, sha256: str) -> Work | None:
        """Who asks the model; None: this process, without keeping anything."""
        if kept is None:
            return None
        if self.workers is None:
            return kept.over(ModelWork(self.model))
        from napari_sam_amg.jobs.dask_engine import UnitsOnWorkers

        intensities = self.options.intensities or (None if surveyed is None else surveyed.intensities)
        assert intensities is not None
        assert isinstance(image, ImageFile)
        source = {
            "path": str(image.path.absolute()),
            "channel": self.options.channel,
            "series": self.options.series,
            "geometry": self.options.geometry.record(),
            "intensities": [intensities.low, intensities.high],
            "bytes": image.state.size,
            "modified": image.state.modified,
            "sha256": sha256,
        }
        return UnitsOnWorkers(self.workers, kept, source)

    def _run(
        self, source: SourceImage, surveyed: Survey | None, work: Work | None, file: InputFile, follow: Follow | None
    ) -> Outcome:
        """``file``: whose outputs lie where they are written until all are there."""
        outcome = Outcome(len(source.stack.indices), self.params)
        exports = self._exports(source, file)
        through = through_axis(self.params, source.stack_axes)
        steps = segment_planes(
            source.stack, self.model, self.params,
            intensities=self.options.intensities, surveyed=surveyed,
            pixel_size=source.sizes(source.plane_axes), area_column=AREA_COLUMN,
            spacing=source.raw.micrometres(through) if through else None, axes=source.stack_axes, work=work,
        )  # fmt: skip
        with self._bar(file) as bar:
            for step in steps:
                bar.total = step.total
                bar.update(step.done - bar.n)
                if follow is not None:
                    follow(step.done, step.total)
                if step.result is None:
                    continue
                outcome.add(step.result)
                result = _named(step.result, source.plane_axes, through)
                for export in exports:
                    with naming(export.path):
                        export.add(result)
        for export in exports:
            with naming(export.path):
                export.finish()
        outcome.end()
        return outcome

    def _chosen_on(self, surveyed: Survey | None) -> int | list[int] | None:
        """The plane of a stack by which ``crop_layers="auto"`` chose."""
        if self.params.crop_layers != "auto" or surveyed is None or not surveyed.fullest:
            return None
        return plane_number(surveyed.fullest)

    def _bar(self, file: InputFile) -> "tqdm.tqdm[Any]":
        # In a log file every step of a bar would be a line.
        hidden = self.options.quiet or not sys.stderr.isatty()
        return tqdm.tqdm(desc=file.path.name, unit=" batches", leave=False, disable=hidden)

    def _record(self, source: SourceImage, surveyed: Survey | None, outcome: Outcome) -> dict[str, Any]:
        data = source.raw.data
        return {
            "input": {
                "shape": list(data.shape),
                "axes": source.raw.axes,
                "dtype": str(data.dtype),
            },
            "planes": len(source.stack.indices),
            "plane_size": list(source.stack.plane_size),
            "channel": source.channel,
            "note": source.note,
            "intensities": _intensities(self.options.intensities, surveyed),
            "crop_layer_chosen_on": self._chosen_on(surveyed),
            "empty_planes": [plane_number(index) for index in outcome.empty],
            "problems": [
                {"plane": plane_number(index), "reason": reason} for index, reason in outcome.problems.items()
            ],
            "stack_axes": source.stack_axes,
            "plane_axes": source.plane_axes,
            "pixel_size_um": source.sizes(source.plane_axes),
            "z_spacing_um": source.raw.micrometres("Z"),
            "device": str(getattr(self.model, "device", "unknown")),
            "threads": getattr(self.model, "threads", torch.get_num_threads()),
            "parameters_used": dataclasses.asdict(outcome.params),
            "point_search_note": self.params.note_on(outcome.params),
            "parts_done_before": outcome.continued,
            "masks": outcome.masks,
            "labels": outcome.labels,
            "objects": outcome.objects,
            "labels_cut_by_crops": outcome.cut,
            "objects_too_large_for_crops": outcome.too_large,
            "seconds": round(outcome.seconds, 3),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        }


def _named(result: PlaneResult, plane_axes: str, through: str) -> PlaneResult:
    """With the letters of the axes in the names of columns."""
    objects = None if result.objects is None else of_plane_axes(result.objects, plane_axes, through)
    return dataclasses.replace(result, features=of_plane_axes(result.features, plane_axes), objects=objects)


def _intensities(given: IntensityRange | None, surveyed: Survey | None) -> dict[str, Any]:
    """What is black and white, and what was looked at to find that."""
    if given is not None:
        return {"from": "given", "low": given.low, "high": given.high}
    assert surveyed is not None
    return {"from": "percentiles"} | surveyed.record()


def _check_free(targets: list[Path], options: Options, before: Standing) -> None:
    """``ValueError`` if something lies where the outputs will be, which may not be replaced."""
    existing = [target for target in targets if os.path.lexists(target)]
    for target in existing:
        is_foreign = target.name.endswith(ZARR_ENDING) and not is_label_volume(target)
        if target.is_dir() != target.name.endswith((MASKS_ENDING, ZARR_ENDING)) or is_foreign:
            raise ValueError(f"{target} is in the way: it is not an output of this command, move it away")
        if target.name.endswith(MASKS_ENDING) and (name := foreign_in(target)):
            raise ValueError(f"{target} is in the way: it holds {name}, which is not of this command, move it away")
    if not existing or options.overwrite or before.may_be_redone:
        return
    raise AlreadyThere(existing[0], options.skip_existing)
