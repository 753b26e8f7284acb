"""A computation of one shape, recorded once on a GPU and then started as one.

To encode an image takes about 600 operations, to read it for a few points 300, each started from Python; with a small
model they take a GPU less time than it takes to start them. A CUDA graph starts all of them at once.
"""

import dataclasses
import logging
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from napari_sam_amg.sam.gpu_way import stand_in

ALIGNED = 256  # numbers: what is computed of a tensor is fastest where it begins as torch's own memory does

Value = TypeVar("Value")
Result = TypeVar("Result")


class Recorded:
    """Runs ``compute`` of a value; from the second time on as it was recorded, while nothing else has changed.

    Values and results are tensors, or tuples and dataclasses of them, see ``tensors``. Nobody may change values. What
    lies together in memory is copied at once.
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
        state = state, layout(x)
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
            places = memories(self._input)
            for index, memory in self._changed(x):
                places[index].copy_(memory)
            self._graph.replay()
            result: Result = cloned(self._output)
            return result

    def _changed(self, x: Any) -> Iterator[tuple[int, Tensor]]:
        """The memory that is not in the input yet: all that points share of an image is there after the first."""
        now, there = first_tensors(x), self._there
        self._there = [weakref.ref(tensor) for tensor in now]
        known = [reference() for reference in there]
        for index, tensor in enumerate(now):
            if index >= len(known) or tensor is not known[index]:
                yield index, whole(tensor)

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


def layout(value: Any) -> Hashable:
    """Types and shapes of its tensors, and where in which memory they lie."""
    order = {_place(tensor): index for index, tensor in enumerate(first_tensors(value))}
    return tuple((order[_place(x)], x.dtype, x.shape, x.stride(), x.storage_offset()) for x in tensors(value))


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value with ``change`` of each of its ``tensors``, in their order; all else as it is."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else change(value)
    if isinstance(value, tuple):
        return tuple(mapped(item, change) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {spec.name: mapped(getattr(value, spec.name), change) for spec in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _place(tensor: Tensor) -> tuple[int, torch.dtype]:
    return tensor.untyped_storage().data_ptr(), tensor.dtype


def first_tensors(value: Any) -> list[Tensor]:
    """The first one of those that share memory, for each memory."""
    firsts: dict[Any, Tensor] = {}
    for tensor in tensors(value):
        firsts.setdefault(_place(tensor), tensor)
    return list(firsts.values())


def whole(tensor: Tensor) -> Tensor:
    """All of the memory that a tensor is a look at: (n,)."""
    return tensor.as_strided((tensor.untyped_storage().nbytes() // tensor.itemsize,), (1,), 0)


def memories(value: Any) -> list[Tensor]:
    """The memory of its tensors, each once."""
    return [whole(tensor) for tensor in first_tensors(value)]


def cloned(value: Any) -> Any:
    """Tensors in tuples and dataclasses in memory of their own, together where they were so; all else as it is."""
    copies = {_place(tensor): whole(tensor).clone() for tensor in first_tensors(value)}
    return mapped(value, lambda x: copies[_place(x)].as_strided(x.shape, x.stride(), x.storage_offset()))


def together(value: Any) -> Any:
    """Its tensors in one memory for each type, so that who copies them copies that."""
    sizes: dict[torch.dtype, int] = defaultdict(int)
    starts = []
    for tensor in tensors(value):
        starts.append(sizes[tensor.dtype])
        sizes[tensor.dtype] += -(-tensor.numel() // ALIGNED) * ALIGNED
    memory = {dtype: next(tensors(value)).new_empty(size, dtype=dtype) for dtype, size in sizes.items()}
    start = iter(starts)

    def moved(tensor: Tensor) -> Tensor:
        dense = torch.empty_like(tensor, device="meta")  # in the order of the tensor, without holes
        return memory[tensor.dtype].as_strided(dense.shape, dense.stride(), next(start)).copy_(tensor)

    return mapped(value, moved)
