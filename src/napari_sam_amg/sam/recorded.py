"""A computation of one shape, recorded once on a GPU and then started as one.

To encode an image takes about 600 operations, to read it for a few points 300, each started from Python; with a small
model they take a GPU less time than it takes to start them. A CUDA graph starts all of them at once.
"""

import dataclasses
import logging
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from napari_sam_amg.sam.gpu_way import stand_in

Value = TypeVar("Value")
Result = TypeVar("Result")


class Recorded:
    """Runs ``compute`` of a value; from the second time on as it was recorded, while nothing else has changed.

    Values and results are tensors, or tuples and dataclasses of them, see ``tensors``. Nobody may change values.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # there is one input and one output
        self._seen: Hashable = None
        self._cannot: Hashable = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._input: Any = None
        self._output: Any = None
        self._there: list[weakref.ref[Tensor]] = []  # whose values the input holds

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy of a model has other weights, and so no record."""
        return Recorded, ()

    def run(self, compute: Callable[[Value], Result], x: Value, state: Hashable) -> Result:
        """``state``: what the record depends on, but for the values of ``x`` and those behind the same pointers."""
        state = state, tuple((tensor.shape, tensor.dtype) for tensor in tensors(x))
        with self._lock:
            if state == self._cannot or self._seen != state:  # what comes once is not worth a record
                self._seen, self._graph = state, None
                return compute(x)
            if (present := stand_in()) is not None:
                return present.replay(compute, x, sum(1 for _ in self._changed(x)))
            if self._graph is None:
                try:
                    self._record(compute, x)
                except RuntimeError as error:  # an operation that cannot be recorded
                    logging.getLogger(__name__).debug("it could not be recorded", exc_info=error)
                    self._cannot = state
                    return compute(x)
            assert self._graph is not None
            places = list(tensors(self._input))
            for index, tensor in self._changed(x):
                places[index].copy_(tensor)
            self._graph.replay()
            result: Result = cloned(self._output)
            return result

    def _changed(self, x: Any) -> Iterator[tuple[int, Tensor]]:
        """The tensors that are not in the input yet: all that points share of an image are there after the first."""
        there, self._there = self._there, [weakref.ref(tensor) for tensor in tensors(x)]
        known = [reference() for reference in there]
        for index, tensor in enumerate(tensors(x)):
            if index >= len(known) or tensor is not known[index]:
                yield index, tensor

    def _record(self, compute: Callable[[Any], Any], x: Any) -> None:
        self._input, self._there, graph = cloned(x), [], torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = compute(self._input)
        self._graph = graph


def tensors(value: Any) -> Iterator[Tensor]:
    """Those in a value, but for parameters, which stay where they are."""
    if isinstance(value, Tensor):
        if not isinstance(value, nn.Parameter):
            yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for spec in dataclasses.fields(value):
            yield from tensors(getattr(value, spec.name))


def cloned(value: Any) -> Any:
    """Tensors in tuples and dataclasses in memory of their own; parameters and all else as they are."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else value.clone()
    if isinstance(value, tuple):
        return tuple(cloned(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {spec.name: cloned(getattr(value, spec.name)) for spec in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
