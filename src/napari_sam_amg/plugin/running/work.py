"""What runs in the worker thread. Nothing here touches a layer or a widget."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.models.registry import EMBEDDED, embedded_path, find_known, find_own
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running.budget import budget
from napari_sam_amg.plugin.running.earlier import REPLACE, Landing, Settings
from napari_sam_amg.plugin.running.interruptible import Interrupted, InterruptibleModel, Reins
from napari_sam_amg.plugin.running.on_disk import DiskRun, kept_steps
from napari_sam_amg.plugin.running.own_ids import OwnIds, with_own_ids
from napari_sam_amg.plugin.running.result_files import ON_DISK, ResultFiles
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.plugin.running.torch_loader import load_torch
from napari_sam_amg.plugin.running.warm_up import warm_up_labels
from napari_sam_amg.provenance import describe_run, versions

if TYPE_CHECKING:
    from weakref import ReferenceType

    from napari.layers import Image

    from napari_sam_amg.amg.field_work import FieldWork
    from napari_sam_amg.amg.propose import Model
    from napari_sam_amg.amg.work import Work
    from napari_sam_amg.jobs.candidates import UnitStore
    from napari_sam_amg.objects.table import Units
    from napari_sam_amg.review.kept import KeepingWork
    from napari_sam_amg.run import Step


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run, complete when it is started."""

    source: SourceLayer
    params: AmgParameters
    model: str  # a known name or a path
    device: str
    precision: str  # "exact" or "fast"
    use_contrast_limits: bool
    files: ResultFiles | None = None  # where results grow; None: in memory
    memory: int | None = None  # bytes that candidates may take, beyond which they lie in files; None: see ``budget``
    tally: Tally = field(default_factory=Tally)
    image: "ReferenceType[Image] | None" = None  # the layer, for who asks later whose results these are
    asked: Settings | None = None  # what was asked, where ``source`` leaves out what is done already
    again: str = REPLACE  # what becomes of earlier results, see ``landing_of``
    landing: Landing = field(default_factory=Landing)
    ids: OwnIds | None = None  # of planes that go into earlier results

    def landing_at(self, landing: Landing) -> "Job":
        """The same run, whose labels go there."""
        return replace(
            self,
            source=self.source if self.asked is None else self.asked.source.without(landing.done),
            landing=landing,
            ids=OwnIds() if landing.kind in ("fill", "continue") else None,
            tally=landing.tally(),
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """What is being prepared."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded: what the layer's metadata says about it and about the run, and who keeps its candidates."""

    record: dict[str, Any]
    keeping: "KeepingWork | None" = None  # None where labels grow on the disk
    outlined: "FieldWork | None" = None  # who leaves out what lies outside a polygon
    gaps: str = ""  # of pixels without data, see ``Survey.gaps``


@dataclass(frozen=True, slots=True)
class Failure:
    """The run is over."""

    message: str


def work(job: Job, reins: Reins) -> "Iterator[Stage | Ready | Step | Failure]":
    """Load the model, segment, and turn errors into words. Ends soon after ``reins.stop()``.

    Errors are yielded, not raised: napari shows a raised one with its traceback, and its workers
    swallow every ``RuntimeError``, which is what torch raises. After the first plane it stands still
    until the main thread has added the layer and lets it go.
    """
    first = True
    with closing(_steps(job, reins)) as steps:
        while True:
            try:
                with reins.computing():  # not around the yield: what arrives is handled while nothing is computed
                    step = next(steps, None)
            except Interrupted:
                return
            except Exception as error:
                step = Failure(explain_in_window(error))
            # only a Step has one, and only the last of its plane
            result = getattr(step, "result", None)
            if first and result is not None and not result.problem:
                first = False
                reins.hold()
            if step is not None:
                yield step
            if step is None or isinstance(step, Failure):
                return


def _steps(job: Job, reins: Reins) -> "Generator[Stage | Ready | Step | Failure]":
    yield Stage("Loading the model")
    load_torch()
    warm_up_labels()
    from napari_sam_amg.amg.field_work import survey_of_part
    from napari_sam_amg.amg.preprocess import IntensityRange, survey_steps
    from napari_sam_amg.amg.work import CountingWork
    from napari_sam_amg.objects.table import Units
    from napari_sam_amg.run import segment_planes

    model = loaded_model(job.model, job.device, job.precision)
    source, surveyed, goes_on = job.source, None, job.landing.limits
    yield Stage("Reading the image")
    if not job.use_contrast_limits and goes_on is None:
        # percentiles are of the whole stack also for one plane, so that a plane looks the same in either run
        for count, surveyed in enumerate(survey_steps(source.whole), 1):
            if surveyed is None and count > 1:
                yield Stage(f"Reading the image: {count - 1} of {len(source.whole.indices)} planes")
    limits = IntensityRange(*(goes_on or source.contrast_limits)) if surveyed is None else surveyed.intensities
    about = record(job, model, (limits.low, limits.high))
    if surveyed is not None:
        about["intensities"] |= surveyed.record()
    gaps = f"{surveyed.gaps}." if surveyed is not None and surveyed.gaps else ""
    if surveyed is not None and source.is_part:
        surveyed = survey_of_part(surveyed, source.stack)
    held = InterruptibleModel(model, reins)
    run = None if job.files is None else DiskRun(job.files, source, job.params, model, limits)
    if run is not None:
        about |= {"folder": str(run.files.folder), "parts_done_before": run.continued}
        about[ON_DISK] = str(run.files.labels)
    asking, outlined = _asking(job, held)
    linked = source.linked_place(job.params)
    units = Units(source.pixel_size, None if linked is None else source.spacing(linked), source.area_column)
    proposing = asking if run is None else run.kept.over(asking)
    keeping = _keeping(job, model, proposing, units, linked, None if run is None else run.store)
    yield Ready(about, keeping if run is None else None, outlined, gaps)
    steps = segment_planes(
        source.stack,
        held,
        # a run that goes on does as was decided when it began
        job.landing.used or job.params,
        intensities=limits,
        surveyed=surveyed,
        units=units,
        axes=source.stack_names,
        # on disk results have one order, whatever is shown when the run is continued
        first=source.first if run is None and source.first in source.stack.indices else None,
        work=CountingWork(keeping, job.tally),
    )
    if job.ids is not None:
        steps = with_own_ids(steps, job.ids)
    watched = keeping.watch(steps)
    yield from watched if run is None else kept_steps(run, keeping, watched, about)


def _keeping(
    job: Job, model: "Model", asking: "Work", units: "Units", axis: int | None, store: "UnitStore | None"
) -> "KeepingWork":
    """Over the model: candidates are kept in a share of the memory, and beyond it in files, or in ``store``."""
    from napari_sam_amg.params import merged
    from napari_sam_amg.review.kept import KeepingWork

    return KeepingWork(
        asking,
        job.params,
        merged(model.info.amg_defaults),
        budget=job.memory or budget(),
        units=units,
        axis=axis,
        goes_on=job.landing.kept,
        store=store,
    )


def _asking(job: Job, held: "Model") -> "tuple[Work, FieldWork | None]":
    """Who asks the model; masks outside polygons are left out by the second, if there is one."""
    from napari_sam_amg.amg.field_work import FieldWork
    from napari_sam_amg.amg.work import ModelWork

    field = job.source.part.field
    if field is None or not field.outlines:
        return ModelWork(held), None
    outlined = FieldWork(ModelWork(held), field, job.params)
    return outlined, outlined


_lock = threading.Lock()
_loaded: "dict[tuple[object, ...], Model]" = {}  # the model used last, and no other: they are large


def loaded_model(name: str, device: str, precision: str) -> "Model":
    """The model of the previous run if it is the same, from the same file, else load it."""
    from napari_sam_amg.models import checkpoint

    key = (device, precision, *model_files(name))  # before it is loaded: a file changed meanwhile is loaded next time
    with _lock:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = checkpoint.load_model(name, device, offline=True, precision=precision)
        return _loaded[key]


def model_files(name: str) -> tuple[object, ...]:
    """What a model is made of, as ``load_model`` finds it: its entry in models.toml if it has one, and its file.

    The file is known by more than the time of its last change, which copies and archives bring along.
    """
    own, known = find_own(name), find_known(name)
    if own is not None:
        paths = [own.file]
    elif known is not None:
        paths = [file.path for file in known.files]  # a decoder that was not there may have come
    else:
        paths = [embedded_path() if name == EMBEDDED else Path(name).expanduser().absolute()]
    return name, repr(own), *map(_file_identity, paths)


def _file_identity(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError:  # loading it will say what is wrong
        return (path,)
    return path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def record(job: Job, model: "Model", intensities: tuple[float, float]) -> dict[str, Any]:
    """Everything needed to repeat the run, as JSON has it."""
    source = job.source
    return describe_run(model, job.params) | {
        "versions": versions("napari"),
        "device": str(getattr(model, "device", job.device)),
        "intensities": {
            "from": "contrast limits" if job.use_contrast_limits else "percentiles",
            "low": intensities[0],
            "high": intensities[1],
        },
        "source": source.record(),
    }
