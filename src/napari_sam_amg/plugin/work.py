"""What runs in the worker thread. Nothing here touches a layer or a widget."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.models.registry import EMBEDDED, embedded_path
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.interruptible import Interrupted, InterruptibleModel, Reins
from napari_sam_amg.plugin.layers import SourceLayer
from napari_sam_amg.plugin.torch_loader import load_torch
from napari_sam_amg.plugin.warm_up import warm_up_labels
from napari_sam_amg.provenance import describe_run, versions

if TYPE_CHECKING:
    from napari_sam_amg.amg.propose import Model
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


@dataclass(frozen=True, slots=True)
class Stage:
    """What is being prepared."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded: what the layer's metadata says about it and about the run."""

    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The run is over."""

    message: str


def work(job: Job, reins: Reins) -> "Iterator[Stage | Ready | Step | Failure]":
    """Load the model, segment, and turn errors into words. Ends soon after ``reins.stop()``.

    Errors are yielded, not raised: napari shows a raised one with its traceback, and its workers
    swallow every ``RuntimeError``, which is what torch raises.
    """
    try:
        yield from _steps(job, reins)
    except Interrupted:
        return
    except Exception as error:
        yield Failure(explain_in_window(error))


def _steps(job: Job, reins: Reins) -> "Iterator[Stage | Ready | Step]":
    yield Stage("Loading the model")
    load_torch()
    warm_up_labels()
    from napari_sam_amg.amg.preprocess import IntensityRange, percentile_range
    from napari_sam_amg.run import segment_planes

    model = loaded_model(job.model, job.device, job.precision)
    yield Stage("Reading the image")
    source = job.source
    # percentiles are of the whole stack also for one plane, so that a plane looks the same in either run
    limits = IntensityRange(*source.contrast_limits) if job.use_contrast_limits else percentile_range(source.whole)
    yield Ready(record(job, model, (limits.low, limits.high)))
    yield from segment_planes(
        source.stack,
        InterruptibleModel(model, reins),
        job.params,
        intensities=limits,
        pixel_size=source.pixel_size,
        area_column=source.area_column,
        first=source.first,
    )


_lock = threading.Lock()
_loaded: "dict[tuple[str, str, str, float], Model]" = {}  # the model used last, and no other: they are large


def loaded_model(name: str, device: str, precision: str) -> "Model":
    """The model of the previous run if it is the same, else load it."""
    from napari_sam_amg.models import checkpoint

    key = (name, device, precision, _modified(name))
    with _lock:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = checkpoint.load_model(name, device, offline=True, precision=precision)
        return _loaded[key]


def _modified(name: str) -> float:
    """When a checkpoint file was written, so that a new file of the same name is loaded."""
    path = embedded_path() if name == EMBEDDED else Path(name)
    return path.stat().st_mtime if path.is_file() else 0.0


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
