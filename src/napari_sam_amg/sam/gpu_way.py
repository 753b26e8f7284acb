"""The way of a GPU, and a stand-in that takes it with tensors of the host.

On a GPU much is computed at once, in few operations, and what was computed stays there. Whether that gives the same as
the way of a CPU, and how many operations it takes, can be seen without a GPU: by a :class:`StandIn`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_PRESENT: ContextVar["StandIn | None"] = ContextVar("stand-in", default=None)


class StandIn:
    """Tensors of the host as if they were those of a GPU; what passes between the two comes by here."""

    def to_device(self, tensor: Tensor) -> Tensor:
        """A tensor of the host on the device; in memory of its own, as there."""
        return tensor.clone()

    def to_host(self, tensor: Tensor) -> Tensor:
        return tensor.clone()

    def replay(self, compute: Callable[[Any], Any], x: Any, copied: int) -> Any:
        """What a GPU has recorded, and starts as one operation, after ``copied`` copies of parts of ``x``."""
        return compute(x)


def takes_gpu_way(device: torch.device) -> bool:
    return device.type == "cuda" or _PRESENT.get() is not None


def takes_cpu_way(device: torch.device) -> bool:
    """Not the same as the opposite: MPS takes neither, and computes much at once that is then waited for."""
    return device.type == "cpu" and _PRESENT.get() is None


def stand_in() -> StandIn | None:
    return _PRESENT.get()


@contextmanager
def standing_in(chosen: StandIn) -> Iterator[None]:
    """Until the end this thread's tensors take the way of a GPU."""
    token = _PRESENT.set(chosen)
    try:
        yield
    finally:
        _PRESENT.reset(token)
