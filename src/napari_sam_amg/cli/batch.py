"""One input file of a batch: read, segment, write, record."""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import tqdm

from napari_sam_amg.amg.preprocess import IntensityRange, percentile_range
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.hashes import hash_file
from napari_sam_amg.io.discover import (
    FEATURES_ENDING,
    LABELS_ENDING,
    MASKS_ENDING,
    OVERLAY_ENDING,
    RECORD_ENDING,
    InputFile,
)
from napari_sam_amg.io.exports import CocoJson, Export, FeaturesCsv, LabelsTiff, MaskFolder, OverlayPng
from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.raw_image import SourceImage
from napari_sam_amg.io.staging import staged
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import describe_run, is_complete, versions, write_record
from napari_sam_amg.run import segment_planes

COCO_ENDING = "_masks.json"
AREA_COLUMN = "area_um2"


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every file of a batch, besides the model and the parameters."""

    formats: frozenset[str] = frozenset({"labels"})
    overlay: bool = False
    channel: int | None = None
    intensities: IntensityRange | None = None  # None: percentiles of each image
    pixel_size: float | None = None  # micrometres; None: from the file
    overwrite: bool = False
    skip_existing: bool = False
    quiet: bool = False

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the files that are written for each input, the record last: it says that the others are there."""
        wanted = {
            LABELS_ENDING: "labels" in self.formats,
            FEATURES_ENDING: "labels" in self.formats,
            COCO_ENDING: "coco-rle" in self.formats,
            MASKS_ENDING: "masks" in self.formats,
            OVERLAY_ENDING: self.overlay,
            RECORD_ENDING: True,
        }
        return tuple(ending for ending, is_wanted in wanted.items() if is_wanted)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    masks: int  # before overlaps were resolved
    labels: int
    cut: int  # labels that the edge of a crop may have cut
    seconds: float
    params: AmgParameters  # those that were used, see PlaneResult

    @property
    def notes(self) -> tuple[str, ...]:
        """What ``crop_layers="auto"`` chose, where that is not the whole image; masks may be missing, or cut."""
        used = self.params
        layer = f"crop layer {used.crop_n_layers}" if used.crop_layers == "last" and used.crop_n_layers else ""
        cut = f"{_count(self.cut, 'label')} may be cut by the edge of a crop" if self.cut else ""
        return layer, "approximate" if used.approximate else "", cut


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A model, and everything it is run with."""

    model: Model
    params: AmgParameters
    options: Options

    def segment(self, file: InputFile) -> str:
        """Write the outputs of one file; returns a line that sums it up. Raises for anything that fails."""
        targets = [file.output(ending) for ending in self.options.endings]
        settings, sha256 = self._settings(), hash_file(file.path)
        if self.options.skip_existing and is_complete(targets[-1], settings, sha256, targets[:-1]):
            return f"{file.path}: skipped, {targets[-1]} says that it is done"
        _check_free(targets, self.options)
        with open_image(file.path, self.options.channel) as source, staged(targets) as folder:
            intensities = self.options.intensities or percentile_range(source.stack)
            outcome = self._run(source, intensities, file, folder)
            record = self._record(file, source, intensities, outcome)
            record |= {"settings": settings, "outputs": [target.name for target in targets]}
            record["input"]["sha256"] = sha256
            write_record(folder / targets[-1].name, record)
        return _summary(file, source, outcome, targets)

    def _settings(self) -> dict[str, Any]:
        """All that decides about the result, besides the input."""
        intensities = self.options.intensities
        return describe_run(self.model, self.params) | {
            "channel": self.options.channel,
            "intensities": None if intensities is None else [intensities.low, intensities.high],
            "pixel_size": self.options.pixel_size,
        }

    def _pixel_size(self, source: SourceImage) -> tuple[float, float] | None:
        given = self.options.pixel_size
        return source.raw.pixel_size if given is None else (given, given)

    def _exports(self, source: SourceImage, intensities: IntensityRange, base: InputFile) -> list[Export]:
        makers: dict[str, Callable[[Path], Export]] = {
            LABELS_ENDING: lambda path: LabelsTiff(path, source, self._pixel_size(source)),
            FEATURES_ENDING: FeaturesCsv,
            COCO_ENDING: CocoJson,
            MASKS_ENDING: MaskFolder,
            OVERLAY_ENDING: lambda path: OverlayPng(path, source, intensities),
        }
        return [makers[ending](base.output(ending)) for ending in self.options.endings if ending in makers]

    def _run(self, source: SourceImage, intensities: IntensityRange, file: InputFile, folder: Path) -> Outcome:
        started, masks, labels, cut, params = perf_counter(), 0, 0, 0, self.params
        exports = self._exports(source, intensities, dataclasses.replace(file, folder=folder))
        steps = segment_planes(
            source.stack, self.model, self.params,
            intensities=intensities, pixel_size=self._pixel_size(source), area_column=AREA_COLUMN,
        )  # fmt: skip
        with self._bar(file) as bar:
            for step in steps:
                bar.total = step.total
                bar.update(step.done - bar.n)
                if step.result is None:
                    continue
                params = step.result.params
                masks, labels = masks + len(step.result.masks), labels + len(step.result.features)
                cut += int(step.result.features["cut_by_crop"].sum())
                for export in exports:
                    export.add(step.result)
        for export in exports:
            export.finish()
        return Outcome(masks, labels, cut, perf_counter() - started, params)

    def _bar(self, file: InputFile) -> "tqdm.tqdm[Any]":
        hidden = self.options.quiet or not sys.stderr.isatty()
        return tqdm.tqdm(desc=file.path.name, unit=" batches", leave=False, disable=hidden)

    def _record(
        self, file: InputFile, source: SourceImage, intensities: IntensityRange, outcome: Outcome
    ) -> dict[str, Any]:
        data = source.raw.data
        return {
            "input": {
                "path": str(file.path.resolve()),
                "bytes": file.path.stat().st_size,
                "shape": list(data.shape),
                "axes": source.raw.axes,
                "dtype": str(data.dtype),
            },
            "planes": len(source.stack.indices),
            "plane_size": list(source.stack.plane_size),
            "channel": source.channel,
            "note": source.note,
            "intensities": {"low": intensities.low, "high": intensities.high},
            "pixel_size_um": self._pixel_size(source),
            "device": str(getattr(self.model, "device", "unknown")),
            "parameters_used": dataclasses.asdict(outcome.params),
            "masks": outcome.masks,
            "labels": outcome.labels,
            "labels_cut_by_crops": outcome.cut,
            "seconds": round(outcome.seconds, 3),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        }


def _check_free(targets: list[Path], options: Options) -> None:
    existing = [target for target in targets if target.exists()]
    if not existing or options.overwrite:
        return
    if options.skip_existing:
        raise ValueError(
            f"{existing[0]} exists already, from another image or other settings, or incomplete: "
            "add --overwrite to replace it"
        )
    raise ValueError(f"{existing[0]} exists already: give --overwrite to replace it, or --skip-existing to keep it")


def _summary(file: InputFile, source: SourceImage, outcome: Outcome, targets: list[Path]) -> str:
    height, width = source.stack.plane_size
    planes = len(source.stack.indices)
    size = f"{height} x {width} pixels, {_count(planes, 'plane')}"
    found = f"{_count(outcome.masks, 'mask')}, {_count(outcome.labels, 'label')} in {outcome.seconds:.1f} s"
    written = ", ".join([str(targets[0]), *(target.name for target in targets[1:])])
    hint = "" if outcome.masks else "lower --pred-iou-thresh or --stability-score-thresh to find more"
    notes = "; ".join(note for note in (source.note, *outcome.notes, hint) if note)
    return f"{file.path}: {size}, {found} -> {written}" + (f" ({notes})" if notes else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
