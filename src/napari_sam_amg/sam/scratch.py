"""Memory that is used again and again.

A large tensor that is freed goes back to the system on a CPU, and the next one of its size is faulted in
page by page, which takes longer than to fill it. Buffers that stay avoid that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import torch
from torch import Tensor


class Scratch:
    """Buffers by name, for the ``out`` of operations. Who takes a name overwrites what was taken by it before."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised, of the type and on the device of ``like``."""
        key, size = (name, like.dtype, like.device), prod(shape)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < size:
            self._buffers[key] = buffer = like.new_empty(size)
        return buffer[:size].view(shape)


class ScratchPool:
    """A scratch for whoever decodes: several threads may, each then has its own."""

    def __init__(self) -> None:
        self._idle: list[Scratch] = []

    @contextmanager
    def borrow(self) -> Iterator[Scratch]:
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = Scratch()
        try:
            yield scratch
        finally:
            self._idle.append(scratch)


def out(scratch: Scratch | None, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
    """What to give an operation as ``out``: None, for new memory, without scratch."""
    return None if scratch is None else scratch.take(name, shape, like)


def calls_are_cheap(x: Tensor) -> bool:
    """Whether to compute on pieces that stay in the cache: not on a GPU, nor in a graph, where each call is a node."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def scratch_for(x: Tensor) -> Scratch | None:
    """For what is computed from ``x``; none where torch keeps memory itself, or keeps results for gradients."""
    return Scratch() if calls_are_cheap(x) and not torch.is_grad_enabled() else None
