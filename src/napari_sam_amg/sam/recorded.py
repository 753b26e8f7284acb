"""A computation of one shape, recorded once on a GPU and then started as one.

To encode an image takes about 600 operations, each started from Python; with a small encoder they take a GPU less time
than it takes to start them. A CUDA graph starts all of them at once.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


class Recorded:
    """Runs ``compute`` of a tensor; from the second time on as it was recorded, while nothing else has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # there is one input and one output
        self._seen: Hashable = None
        self._cannot: Hashable = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._input: Tensor | None = None
        self._output: Any = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy of a model has other weights, and so no record."""
        return Recorded, ()

    def run(self, compute: Callable[[Tensor], Result], x: Tensor, state: Hashable) -> Result:
        """``state``: what the record depends on, but for the values of ``x`` and those behind the same pointers."""
        state = state, x.shape, x.dtype
        with self._lock:
            if state == self._cannot or self._seen != state:  # a single image is not worth a record
                self._seen, self._graph = state, None
                return compute(x)
            if self._graph is None:
                try:
                    self._record(compute, x)
                except RuntimeError as error:  # an operation that cannot be recorded
                    logging.getLogger(__name__).debug("encoding could not be recorded", exc_info=error)
                    self._cannot = state
                    return compute(x)
            assert self._graph is not None
            assert self._input is not None
            self._input.copy_(x)
            self._graph.replay()
            result: Result = cloned(self._output)
            return result

    def _record(self, compute: Callable[[Tensor], Any], x: Tensor) -> None:
        self._input, graph = x.clone(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = compute(self._input)
        self._graph = graph


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
