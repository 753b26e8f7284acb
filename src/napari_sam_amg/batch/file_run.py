"""The planes of one file through the one entry function, and into the files of its results as they come."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tqdm

from napari_sam_amg.amg.preprocess import Survey
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.table import of_plane_axes
from napari_sam_amg.amg.work import Work
from napari_sam_amg.batch.options import COCO_ENDING, Options
from napari_sam_amg.batch.outcome import Outcome
from napari_sam_amg.io.discover import (
    CHALLENGE_ENDING,
    FEATURES_ENDING,
    LABELS_ENDING,
    MASKS_ENDING,
    OBJECTS_ENDING,
    OVERLAY_ENDING,
    TRACKS_ENDING,
    ZARR_ENDING,
    InputFile,
)
from napari_sam_amg.io.exports import CocoJson, Export, FeaturesCsv, MaskFolder, OverlayPng
from napari_sam_amg.io.labels_tiff import LabelsTiff
from napari_sam_amg.io.labels_zarr import LabelsZarr
from napari_sam_amg.io.object_exports import ChallengeTracks, ObjectsCsv, TracksCsv
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.io.rois import ROIS_ENDING, RoisZip
from napari_sam_amg.io.staging import naming
from napari_sam_amg.objects.axes import through_axis
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import PlaneResult, segment_planes

AREA_COLUMN = "area_um2"
#: Told after every batch of points how many are done, of how many, and 0 of 0 while planes are looked at before that.
#: It may raise to stop the run.
Follow = Callable[[int, int], object]


def run_file(
    source: SourceImage,
    model: Model,
    params: AmgParameters,
    options: Options,
    outputs: InputFile,
    surveyed: Survey | None,
    work: Work | None,
    follow: Follow | None = None,
) -> Outcome:
    """Segment all planes and write what is found. ``outputs``: the file, with the folder in which to write."""
    outcome = Outcome(len(source.stack.indices), params)
    exports = _exports(source, outputs, options, params.link)
    through = through_axis(params, source.stack_axes)
    spacing = source.raw.micrometres(through) if through else None
    steps = segment_planes(
        source.stack, model, params,
        intensities=options.intensities, surveyed=surveyed, axes=source.stack_axes, work=work,
        units=Units(source.sizes(source.plane_axes), spacing, AREA_COLUMN),
    )  # fmt: skip
    with _bar(outputs.path.name, options.quiet) as bar:
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


def _exports(source: SourceImage, base: InputFile, options: Options, link: str) -> list[Export]:
    makers: dict[str, Callable[[Path], Export]] = {
        LABELS_ENDING: lambda path: LabelsTiff(path, source, source.sizes(source.axes[-2:])),
        ZARR_ENDING: lambda path: LabelsZarr(path, source, options.ngff_version),
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
    for ending in (ending for ending in options.endings(link) if ending in makers):
        path = base.output(ending)
        with naming(path):
            exports.append(makers[ending](path))
    return exports


def _named(result: PlaneResult, plane_axes: str, through: str) -> PlaneResult:
    """With the letters of the axes in the names of columns."""
    objects = None if result.objects is None else of_plane_axes(result.objects, plane_axes, through)
    return dataclasses.replace(result, features=of_plane_axes(result.features, plane_axes), objects=objects)


def _bar(name: str, quiet: bool) -> "tqdm.tqdm[Any]":
    # In a log file every step of a bar would be a line.
    hidden = quiet or not sys.stderr.isatty()
    return tqdm.tqdm(desc=name, unit=" batches", leave=False, disable=hidden)
