"""How many operations a GPU would be told, and what they hold of its memory, without one: its way, taken by the host.

What starts work on a GPU is counted: an operation of torch that computes or copies, and each copy between GPU and
host; not views, and nothing that the host computes for itself. What would be recorded counts once, with the copies into
the record and out of it. torch's profiler on a GPU counts more: some operations start several kernels, and those of a
record are counted one by one.

Its memory is that of all tensors which such an operation made and which still live, above what was there before. What
an operation takes for itself while it computes is not seen; what is recorded takes as much as if it were not.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.cases import Case
from benchmarks.engines import PLANES_NAME, default_planes, parameters
from benchmarks.held_memory import HeldMemory
from benchmarks.images import sample_image
from benchmarks.models import our_model
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.run import generate_masks
from napari_sam_amg.sam.gpu_way import StandIn, standing_in
from napari_sam_amg.sam.precision import PRECISIONS, Precision
from napari_sam_amg.sam.recorded import cloned, memories

#: Memory alone, or another look at a tensor.
FREE = {
    "empty", "empty_strided", "new_empty", "new_empty_strided", "empty_like", "detach", "detach_", "alias",
    "lift_fresh", "_unsafe_view", "_local_scalar_dense",
}  # fmt: skip
#: Functions of the package that stand for a stage; the innermost one that is running counts, and without one the host.
STAGES = {
    "preprocess": "encoding", "embed": "encoding", "_encode": "encoding", "_prompts": "reading", "_read": "reading",
    "_draw": "drawing", "measure": "measuring", "bits": "packing",
}  # fmt: skip
COUNTED = (Case(size=512), Case(model="small", size=1024), Case(model="vit_b", size=1024))


class Counting(StandIn, TorchDispatchMode):
    """Counts while it stands in for a GPU. ``recorded``: whether what would be recorded counts as one."""

    def __init__(self, recorded: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_stage: Counter[str] = Counter()
        self.by_name: Counter[tuple[str, str]] = Counter()
        self.memory = HeldMemory()
        self._recorded, self._silent, self._crosses = recorded, False, False
        self._host: dict[int, Tensor] = {}  # by where their values lie; kept, so that nothing else comes to lie there

    def to_device(self, tensor: Tensor) -> Tensor:
        found = self._crossing("to the device", tensor)
        self._host.pop(found.data_ptr(), None)
        self.memory.hold(found, _stage(sys._getframe()))
        return found

    def to_host(self, tensor: Tensor) -> Tensor:
        found = self._crossing("to the host", tensor)
        self._host[found.data_ptr()] = found
        return found

    def _crossing(self, name: str, tensor: Tensor) -> Tensor:
        self._count(name)
        self._crosses = True  # what is there afterwards is of one side alone
        try:
            return tensor.clone()
        finally:
            self._crosses = False

    def replay(self, compute: Callable[[Any], Any], x: Any, copied: int) -> Any:
        if not self._recorded:
            return compute(x)
        with self.uncounted():
            found = cloned(compute(x))
        self._count("replay")
        self._count("into the record", copied)
        self._count("out of the record", len(memories(found)))
        return found

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def _count(self, name: str, times: int = 1) -> None:
        if not self._silent and (stage := _stage(sys._getframe())):
            self.by_stage[stage] += times
            self.by_name[stage, name] += times

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._crosses:
            return func(*args, **kwargs)
        with self:
            found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        found, name = func(*args, **kwargs), func.overloadpacket.__name__
        given, made = _tensors((args, kwargs)), _tensors(found)
        if given and all(each.data_ptr() in self._host for each in given):
            self._host.update((each.data_ptr(), each) for each in made)
            return found
        if not func.is_view and name not in FREE:
            self._count(name)
        there = {id(each.untyped_storage()) for each in given}
        for each in made:
            if id(each.untyped_storage()) not in there:
                self.memory.hold(each, _stage(sys._getframe()))
        return found


def _tensors(value: Any) -> list[Tensor]:
    return [each for each in tree_leaves(value) if isinstance(each, Tensor)]


def _stage(frame: FrameType | None) -> str | None:
    while frame is not None:
        if "napari_sam_amg" in frame.f_code.co_filename and frame.f_code.co_name in STAGES:
            return STAGES[frame.f_code.co_name]
        frame = frame.f_back
    return None


def count(job: Callable[[], Any], recorded: bool = True) -> Counting:
    """Of a run after one that warms up, as records are made."""
    counting = Counting(recorded)
    with standing_in(counting):
        with counting.uncounted():
            job()
        with counting:
            job()
    return counting


def lines(patterns: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each case and precision; ``patterns``: parts of the names of cases, by default all."""
    for name, job_of in _jobs():
        if patterns and not any(pattern in name for pattern in patterns):
            continue
        for precision in PRECISIONS:
            job = job_of(precision)
            for recorded in (True, False):
                found = count(job, recorded)
                how = "records count once" if recorded else "one by one"
                stages = ", ".join(f"{stage} {number}" for stage, number in found.by_stage.items())
                held = f"{found.memory.peak / 1e9:.2f} GB, most while {found.memory.then}"
                yield f"{name} {precision}, {how}: {found.by_stage.total()} operations ({stages}), {held}"


def _jobs() -> Iterator[tuple[str, Callable[[Precision], Callable[[], Any]]]]:
    """The cases that are counted, by name: from a precision to a run."""
    for case in COUNTED:
        yield case.name, partial(_masks, case)
    yield PLANES_NAME, _planes


def _masks(case: Case, precision: Precision) -> Callable[[], Any]:
    model, image = our_model(case.model, precision), sample_image(case.image, case.size)
    return partial(generate_masks, image, model, parameters(case, model.info))


def _planes(precision: Precision) -> Callable[[], Any]:
    model = load_model("embedded", "cpu")
    model.set_precision(precision)
    return default_planes(model)
