"""Memory that is used again and again.

A large tensor that is freed goes back to the system on a CPU, and the next one of its size is faulted in
page by page, which takes longer than to fill it. Buffers that stay avoid that. They stay for a run: of 1024 points
a batch the logits alone are 805 MB.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from math import prod
from threading import Lock
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from napari_sam_amg.sam.gpu_way import takes_cpu_way

P = ParamSpec("P")
Item = TypeVar("Item")


class Scratch:
    """Buffers by name, for the ``out`` of operations. Who takes a name overwrites what was taken by it before."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised, of the type and on the device of ``like``."""
        key, size = (name, like.dtype, like.device), prod(shape)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < size:
            # never smaller again: batches differ in how many masks they keep
            self._buffers[key] = buffer = like.new_empty(size)
        return buffer[:size].view(shape)


class ScratchPool:
    """A scratch for whoever decodes: several threads may, each then has its own.

    Held while anybody is in ``kept``, and given back to the system when the last one leaves.
    """

    def __init__(self) -> None:
        self._idle: list[Scratch] = []
        self._keepers = 0
        self._lock = Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """For a run: what is borrowed in it, many times, stays until its end."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                if not self._keepers:
                    self._idle.clear()

    @contextmanager
    def borrow(self) -> Iterator[Scratch]:
        with self.kept():
            try:  # without the lock: pop and append are one step each, and the pool is kept meanwhile
                scratch = self._idle.pop()
            except IndexError:
                scratch = Scratch()
            try:
                yield scratch
            finally:
                self._idle.append(scratch)


#: Of all models: whoever runs one keeps it, without knowing what the model is made of.
POOL = ScratchPool()


def keeps_scratch(generate: Callable[P, Iterator[Item]]) -> Callable[P, Iterator[Item]]:
    """Make a generator a run: memory that models use again in it is given back when it ends or is closed."""

    @wraps(generate)
    def run(*args: P.args, **keywords: P.kwargs) -> Iterator[Item]:
        with POOL.kept():
            yield from generate(*args, **keywords)

    return run


def out(scratch: Scratch | None, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
    """What to give an operation as ``out``: None, for new memory, without scratch."""
    return None if scratch is None else scratch.take(name, shape, like)


def calls_are_cheap(x: Tensor) -> bool:
    """Whether to compute on pieces that stay in the cache: not on a GPU, nor in a graph, where each call is a node."""
    return takes_cpu_way(x.device) and not torch.compiler.is_compiling()


def scratch_for(x: Tensor) -> Scratch | None:
    """For what is computed from ``x``; none where torch keeps memory itself, or keeps results for gradients."""
    return Scratch() if calls_are_cheap(x) and not torch.is_grad_enabled() else None
