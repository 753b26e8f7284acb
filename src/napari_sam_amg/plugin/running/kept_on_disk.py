"""Candidates of a run in a folder, beside its labels: kept when it ends, and found again when these are opened."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_sam_amg.amg.planes import Index
from napari_sam_amg.hashes import hash_contents
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running.result_files import ResultFiles
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.provenance import sizes

if TYPE_CHECKING:
    from napari_sam_amg.jobs.candidates import Candidates, UnitStore
    from napari_sam_amg.jobs.kept import KeptRun as Work
    from napari_sam_amg.review.kept import KeptRun

CANDIDATES = "candidates"  # of the record: which they are, and the labels that they belong to


@dataclass(frozen=True, slots=True)
class Layout:
    """Where planes lie in the volume, and how the columns of the tables are named."""

    plane_axes: str  # the letters of a plane's two
    letter: str  # of the axis that objects go through
    stack: tuple[int, ...]  # the volume's axes along which planes have their index
    ndim: int  # of the volume

    @classmethod
    def of(cls, source: SourceLayer, params: AmgParameters) -> Self:
        axes = source.axes
        return cls(source.plane_axes, source.through(params), () if source.is_single else axes.stack, axes.ndim)

    def through(self, params: AmgParameters) -> str:
        return self.letter

    def place(self, index: Index) -> Index:
        """Of a plane along all axes of the volume but the last two; 0 along channels."""
        position = dict(zip(self.stack, index, strict=True))
        return tuple(position.get(axis, 0) for axis in range(self.ndim - 2))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What lies beside labels that were opened."""

    kept: "KeptRun"
    params: AmgParameters  # of the labels as they are written: as they were asked for, links not looked at
    used: AmgParameters  # the same as the record has them
    layout: Layout
    size: int  # bytes of the candidates


def about_candidates(files: ResultFiles, work: "Work", kept: "KeptRun | None") -> dict[str, Any]:
    """What the record of a finished run says of its candidates. The labels are written."""
    if kept is None or kept.fixed_reason:
        return {"not_kept": "no plane was finished" if kept is None else kept.fixed_reason}
    return {
        "folder": files.candidates.name,
        "run": work.run,
        "bytes": sum(sizes([work.folder]).values()),
        "labels_sha256": labels_hash(files.labels),
        "parameters": asdict(kept.params),
    }


def labels_hash(labels: Path) -> str:
    """Of the finest level, of which all others are made."""
    from napari_sam_amg.io.label_volume import LabelVolume

    return hash_contents(labels / LabelVolume.open(labels).levels[0].basename)


def keep_candidates(files: ResultFiles, work: "Work", kept: "KeptRun", store: "UnitStore", source: SourceLayer) -> None:
    """The work of a finished run becomes the folder of its candidates."""
    from napari_sam_amg.jobs.candidates import Candidates, end_as_candidates

    params = kept.params
    about = {
        "parameters": asdict(params),
        "own": asdict(kept.own),
        "floor": asdict(kept.floor),
        "plane_size": kept.plane_size,
        "units": asdict(kept.units),
        "axis": kept.axis,
        "layout": asdict(Layout.of(source, params)),
    }
    found = Candidates(work.run, about, kept.regions_kept, kept.columns(), kept.book(), store)
    end_as_candidates(work.folder, files.candidates, found)


def find_candidates(files: ResultFiles, budget: int) -> Found:
    """Of labels that were opened. ``ValueError`` in words, without a period, where thresholds cannot be moved.

    ``budget``: bytes of what is remembered of planes.
    """
    from napari_sam_amg.jobs.candidates import open_candidates

    record = read_record(files)
    if record.get("state") == "cancelled":
        raise ValueError("their run did not come to its end: go on with it first")
    said = record.get(CANDIDATES)
    if not isinstance(said, Mapping):
        raise ValueError(f"no candidates were kept with them, as {files.record.name} says")
    if "not_kept" in said:
        raise ValueError(str(said["not_kept"]))
    found = open_candidates(files.folder / str(said.get("folder")))
    if found.run != said.get("run"):
        raise ValueError(f"{files.candidates.name} holds the candidates of another run")
    check_labels(files, record)
    kept, layout = _kept(found, budget)
    params, used = _params(said, "parameters", files), _params(record, "parameters_used", files)
    return Found(kept, params, used, layout, int(said.get("bytes", 0)))


def read_record(files: ResultFiles) -> dict[str, Any]:
    """``ValueError`` if there is none."""
    with suppress(OSError, ValueError):
        record = json.loads(files.record.read_text("utf-8"))
        if isinstance(record, dict):
            return record
    raise ValueError(f"{files.record.name}, which says how they were made, is not beside them or cannot be read")


def check_labels(files: ResultFiles, record: Mapping[str, Any]) -> None:
    """``ValueError`` if somebody has changed the labels since they were written: it would be lost."""
    if labels_hash(files.labels) != record[CANDIDATES].get("labels_sha256"):
        raise ValueError(
            f"{files.labels.name} was changed since it was written, by hand or by another program, which would be lost"
        )


def _params(said: Mapping[str, Any], name: str, files: ResultFiles) -> AmgParameters:
    try:
        return AmgParameters(**said[name])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{files.record.name} does not say which thresholds they have: {error}") from error


def _kept(found: "Candidates", budget: int) -> "tuple[KeptRun, Layout]":
    from napari_sam_amg.objects.table import Units
    from napari_sam_amg.review.kept import KeptRun

    about = found.about
    try:
        layout = Layout(**{**about["layout"], "stack": tuple(about["layout"]["stack"])})
        params, own, floor = (AmgParameters(**about[name]) for name in ("parameters", "own", "floor"))
        size, units = about["units"]["pixel_size"], about["units"]
        height, width = about["plane_size"]
        kept = KeptRun(
            params, own, floor, plane_size=(height, width), budget=budget, axis=about["axis"], store=found.store,
            units=Units(**{**units, "pixel_size": None if size is None else (size[0], size[1])}),
        )  # fmt: skip
        kept.restore(found.regions, found.columns, found.ids)
    except (KeyError, TypeError, ValueError) as error:  # of another version
        raise ValueError(f"the candidates are of another version: {type(error).__name__}: {error}") from error
    return kept, layout
