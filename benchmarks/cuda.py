"""On a GPU: this engine beside the reference and beside itself on the CPU, in one process.

A GPU is measured for itself alone, so nothing is stored or paired over runs as for the CPU; the lines are the result.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd.profiler_util import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from benchmarks.agreement import Records, agreement
from benchmarks.cases import Case
from benchmarks.engines import PLANES_NAME, default_planes, parameters
from benchmarks.images import sample_image
from benchmarks.models import our_model, reference_model
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.run import generate_masks
from napari_sam_amg.sam.precision import PRECISIONS
from tests.reference.sam import REFERENCE_PARAMETERS

CASES = (
    Case(model="embedded", size=512, points=32),
    Case(model="small", size=1024, points=32),
    Case(model="vit_b", size=1024, points=32),
    Case(model="vit_h", size=1024, points=32),
)
Job = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """A job on the GPU."""

    seconds: float  # median
    peak_bytes: int  # above what was there before
    result: Any


def measure(job: Job, repeats: int) -> Measured:
    """After a run that warms up."""
    job()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, seconds, result = torch.cuda.memory_allocated(), [], None
    for _ in range(repeats):
        began = time.perf_counter()
        result = job()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return Measured(statistics.median(seconds), torch.cuda.max_memory_allocated() - before, result)


def watch(job: Job) -> tuple[int, float]:
    """How many operations were started on the GPU, and for how many seconds it was busy with them."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        job()
        torch.cuda.synchronize()
    on_device = [event for event in seen.key_averages() if event.device_type == DeviceType.CUDA]
    return sum(event.count for event in on_device), sum(event.self_device_time_total for event in on_device) / 1e6


def lines(repeats: int = 5, patterns: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for everything that is measured; ``patterns``: parts of the names of cases, by default all.

    Raises ``ValueError`` where torch finds no GPU.
    """
    if not torch.cuda.is_available():
        raise ValueError("--device cuda needs a GPU of CUDA: torch finds none")
    yield f"{torch.cuda.get_device_name()}, torch {torch.__version__}, medians of {repeats} after a warm-up"
    for case in CASES:
        if not patterns or any(pattern in case.name for pattern in patterns):
            yield from _case_lines(case, repeats)
    if not patterns:
        yield from _plane_lines(repeats)
        yield from _agreement_lines()


def _case_lines(case: Case, repeats: int) -> Iterator[str]:
    image, model = sample_image(case.image, case.size), our_model(case.model).to("cuda")
    params = parameters(case, model.info)

    def ours() -> Records:
        return generate_masks(image, model, params).to_coco()

    theirs = _reference(case, params)
    reference = measure(theirs, min(repeats, 3))
    yield _line(f"{case.name} reference", reference, theirs)
    for precision in PRECISIONS:
        model.set_precision(precision)
        found = measure(ours, repeats)
        ratio = f", {reference.seconds / found.seconds:.1f} times the reference"
        yield _line(f"{case.name} {precision}", found, ours) + ratio + f", {agreement(reference.result, found.result)}"


def _reference(case: Case, params: AmgParameters) -> Job:
    from segment_anything import SamAutomaticMaskGenerator

    values = {name: getattr(params, name) for name in REFERENCE_PARAMETERS}
    generator = SamAutomaticMaskGenerator(reference_model(case.model).to("cuda"), **values, output_mode="coco_rle")
    image = sample_image(case.image, case.size)
    return lambda: generator.generate(image)


def _line(name: str, found: Measured, job: Job) -> str:
    operations, busy = watch(job)
    return (
        f"{name}: {found.seconds:.3f} s, {found.peak_bytes / 1e9:.2f} GB, {operations} operations, busy {busy:.3f} s "
        f"({busy / found.seconds:.0%}), {len(found.result)} masks"
    )


def _plane_lines(repeats: int) -> Iterator[str]:
    """A stack with all that the embedded model's own parameters do."""
    model = load_model("embedded", "cuda")
    planes = default_planes(model)
    for precision in PRECISIONS:
        model.set_precision(precision)
        yield _line(f"{PLANES_NAME}, {precision}", measure(planes, min(repeats, 3)), planes)


def _agreement_lines() -> Iterator[str]:
    image = sample_image("nuclei", 512)
    models = [load_model("embedded", device) for device in ("cpu", "cuda")]
    for search in ("grid", "hierarchical"):
        params = replace(merged(models[0].info.amg_defaults), point_search=search)
        on_cpu, on_gpu = (generate_masks(image, model, params).to_coco() for model in models)
        yield f"CPU and GPU, {search}: {agreement(on_cpu, on_gpu)}"
