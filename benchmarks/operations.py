"""How many operations a GPU would be told, counted without one: its way, taken by tensors of the host.

What starts work on a GPU is counted: an operation of torch that computes or copies, and each copy between GPU and
host; not views, and nothing of what the host computes for itself. What is recorded counts once, with the copies into
the record and out of it. torch's profiler on an H200 counts more, since some operations start several kernels.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_sam_amg.sam.gpu_way import StandIn, standing_in
from napari_sam_amg.sam.recorded import cloned, tensors

#: Memory alone, and what only looks at a tensor.
FREE = {"empty", "empty_strided", "new_empty", "new_empty_strided", "empty_like", "detach", "alias", "lift_fresh"}
#: Which functions of the package stand for a stage; the innermost one that is running counts.
STAGES = {
    "preprocess": "image", "_encode": "encoder", "_prompts": "points", "_read": "reading", "_draw": "drawing",
    "measure": "measuring", "bits": "packing",
}  # fmt: skip


class Counting(StandIn, TorchDispatchMode):
    """Counts while it stands in for a GPU; ``replayed``: what a record would hold is not counted one by one."""

    def __init__(self, replayed: bool = True) -> None:
        super().__init__()
        self.by_stage: Counter[str] = Counter()
        self.by_name: Counter[tuple[str, str]] = Counter()
        self._replayed, self._silent = replayed, False
        self._host: dict[int, Tensor] = {}  # kept, so that nobody else gets their ids

    def to_device(self, tensor: Tensor) -> Tensor:
        return self._crossing("to the device", tensor)

    def to_host(self, tensor: Tensor) -> Tensor:
        return self._crossing("to the host", tensor)

    def _crossing(self, name: str, tensor: Tensor) -> Tensor:
        self._count(name)
        with self._uncounted():
            return tensor.clone()

    def replay(self, compute: Callable[[Any], Any], x: Any) -> Any:
        if not self._replayed:
            return compute(x)
        self._count("replay")
        for name, value in (("into the record", x), ("out of the record", None)):
            if value is not None:
                self._count(name, len(list(tensors(value))))
        with self._uncounted():
            found = cloned(compute(x))
        self._count("out of the record", len(list(tensors(found))))
        return found

    @contextmanager
    def _uncounted(self) -> Iterator[None]:
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def _count(self, name: str, times: int = 1) -> None:
        if not self._silent:
            stage = _stage()
            self.by_stage[stage] += times
            self.by_name[stage, name] += times

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        found = func(*args, **kwargs)
        if not func.is_view and func.overloadpacket.__name__ not in FREE and not self._on_host(args, kwargs, found):
            self._count(func.overloadpacket.__name__)
        return found

    def _on_host(self, args: Any, kwargs: Any, found: Any) -> bool:
        return _in_host_code()


def _in_host_code() -> bool:
    return False


def _stage() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        if "napari_sam_amg" in frame.f_code.co_filename and frame.f_code.co_name in STAGES:
            return STAGES[frame.f_code.co_name]
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


def count(job: Callable[[], Any], replayed: bool = True) -> Counting:
    """After a run that warms up, so that records are made."""
    counting = Counting(replayed)
    with standing_in(counting):
        with counting._uncounted():
            job()
        with counting:
            job()
    return counting


if __name__ == "__main__":
    from benchmarks.cases import Case
    from benchmarks.engines import parameters
    from benchmarks.images import sample_image
    from benchmarks.models import our_model
    from napari_sam_amg.run import generate_masks

    case = Case(model=sys.argv[1], size=int(sys.argv[2]), points=32)
    model = our_model(case.model, sys.argv[3])
    image = sample_image(case.image, case.size)
    params = parameters(case, model.info)
    params_replay = len(sys.argv) < 5
    c = count(lambda: generate_masks(image, model, params), params_replay)
    print(sum(c.by_stage.values()), dict(c.by_stage))
    for (stage, name), n in c.by_name.most_common(200):
        if n>3: print(f"{stage:10} {name:30} {n}")
