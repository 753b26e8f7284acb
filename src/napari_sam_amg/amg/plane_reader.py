"""Planes of a stack one after another, each chunk of its storage computed as seldom as memory allows."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import Index, PlaneStack

#: Of planes that are held because they lie in one chunk; dask needs as much to compute that chunk.
HELD_BYTES = 512 * 2**20

Extents = tuple[tuple[int, int], ...]  # along each stack axis the first position and the one after the last
Failure = tuple[slice, slice, Exception]  # rows and columns of a plane that cannot be read, and what reading raised


class PlaneReader:
    """Reads planes of one stack, and holds those that come along because they share a chunk with one that is asked for.

    Chunks are what dask and zarr call so; an array without them is read plane by plane. Where the planes of a chunk
    exceed ``held_bytes`` it is computed again for the rest of them.
    """

    def __init__(self, stack: PlaneStack, held_bytes: int = HELD_BYTES) -> None:
        self.stack = stack
        self.held_bytes = held_bytes
        self._bounds = [chunk_edges(stack, axis) for axis in stack.stack_axes]
        self._plane_bytes = plane_bytes(stack)
        self._blocks: dict[Extents, NDArray[Any] | None] = {}  # the oldest first; None: cannot be read as a whole

    def plane(self, index: Index) -> NDArray[Any]:
        """As :meth:`PlaneStack.plane`; not to be written to."""
        extents = self._fitting(index)
        if all(stop - start == 1 for start, stop in extents):
            return self.stack.plane(index)
        if extents not in self._blocks:
            self._make_room(extents)
            self._blocks[extents] = self._read(extents)
        block = self._blocks[extents]
        if block is None:
            return self.stack.plane(index)
        plane: NDArray[Any] = block[tuple(at - start for at, (start, _) in zip(index, extents, strict=True))]
        return plane

    def planes_in_chunk(self, index: Index) -> int:
        """How many planes share their chunks with this one, itself among them."""
        return _count(self._chunk(index))

    def in_storage_order(self) -> list[Index]:
        """The index of every plane, those that share a chunk one after another."""
        return sorted(self.stack.indices, key=self._chunk)

    def _chunk(self, index: Index) -> Extents:
        """The planes whose chunks are those of this plane."""
        extents = []
        for at, bounds in zip(index, self._bounds, strict=True):
            after = int(np.searchsorted(bounds, at, side="right"))
            extents.append((int(bounds[after - 1]), int(bounds[after])))
        return tuple(extents)

    def _fitting(self, index: Index) -> Extents:
        """As many of these planes as may be held, this one among them: of the last axes first, as they are walked."""
        room = max(self.held_bytes // self._plane_bytes, 1)
        fitting = []
        for at, (start, stop) in reversed(list(zip(index, self._chunk(index), strict=True))):
            length = min(stop - start, room)
            first = start + (at - start) // length * length
            fitting.append((first, min(first + length, stop)))
            room = room // length
        return tuple(reversed(fitting))

    def _make_room(self, extents: Extents) -> None:
        while self._blocks and self._held() + _count(extents) * self._plane_bytes > self.held_bytes:
            del self._blocks[next(iter(self._blocks))]

    def _held(self) -> int:
        return sum(block.nbytes for block in self._blocks.values() if block is not None)

    def _read(self, extents: Extents) -> NDArray[Any] | None:
        try:
            return self.stack.block(tuple(slice(*extent) for extent in extents))
        except Exception:  # whatever the storage raises: plane by plane some of it may be read, or say what is wrong
            return None


def _count(extents: Extents) -> int:
    return math.prod(stop - start for start, stop in extents)


def plane_bytes(stack: PlaneStack) -> int:
    """Of one plane as it is stored."""
    return math.prod(stack.plane_shape) * np.dtype(stack.data.dtype).itemsize


def check_part(failures: Iterable[Failure], rows: slice, columns: slice) -> None:
    """Raise what reading raised, if some of a part of the plane could not be read."""
    for missing_rows, missing_columns, error in failures:
        if _overlap(rows, missing_rows) and _overlap(columns, missing_columns):
            raise error


def _overlap(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)


def chunk_edges(stack: PlaneStack, axis: int) -> NDArray[np.int64]:
    """Where chunks begin along an axis of the data, and its length; an array without chunks has single positions."""
    chunks: Any = getattr(stack.data, "chunks", None)
    length = int(stack.data.shape[axis])
    if not isinstance(chunks, tuple) or len(chunks) != len(stack.data.shape):
        return np.arange(length + 1)
    chunk = chunks[axis]  # zarr has a length, dask those of all chunks
    edges = np.arange(0, length, chunk) if np.ndim(chunk) == 0 else np.cumsum((0, *chunk))[:-1]
    return np.append(edges, length).astype(np.int64)
