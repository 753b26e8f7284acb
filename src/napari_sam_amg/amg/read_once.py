"""Planes that lie across the chunks of their storage, copied to a file when they do not fit into memory together."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.plane_reader import HELD_BYTES, Failure, check_part, chunk_edges, plane_bytes
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.errors import is_out_of_memory

Span = tuple[int, int]


class _DiskFull(Exception):
    pass


def read_once(stack: PlaneStack, held_bytes: int = HELD_BYTES) -> PlaneStack:
    """The stack itself, or one with the same planes of which each chunk of the storage is read once.

    Planes are walked one after another. Where chunks hold parts of so many that these cannot be held until they are
    done, as of planes through a stack from the side, what is read goes to a temporary file, and planes come from there.
    """
    return replace(stack, data=ScratchCopy(stack)) if _walked_together(stack) > held_bytes else stack


def _walked_together(stack: PlaneStack) -> int:
    """Bytes of the planes that must be held for no chunk to be read again; 0 if chunks hold parts of one plane."""
    longest = [int(np.diff(chunk_edges(stack, axis)).max()) for axis in stack.stack_axes]
    shared = next((place for place, length in enumerate(longest) if length > 1), None)
    if shared is None:
        return 0
    planes = longest[shared] * math.prod(stack.stack_shape[shared + 1 :])
    return planes * plane_bytes(stack)


class ScratchCopy:
    """Array-like (..., Y, X) or (..., Y, X, S): a plane is copied with all that share chunks with it when it is asked
    for. The file is deleted with the object, or the process."""

    def __init__(self, stack: PlaneStack) -> None:
        data = stack.data
        self.shape, self.dtype = tuple(int(length) for length in data.shape), np.dtype(data.dtype)
        self._data, self._leading = data, stack.leading
        self._edges = [
            chunk_edges(stack, axis) if axis not in stack.fixed else np.arange(data.shape[axis] + 1)
            for axis in range(stack.leading + 2)
        ]
        self._failures: dict[tuple[Span, ...], list[Failure]] = {}  # of what was copied
        self._lock = Lock()
        self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the object
        finalize(self, self._file.close)
        self._is_full = False  # the disk; planes then come from the storage, as often as they are asked for

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """A plane or a part of one: a position for every axis before Y, and perhaps a slice of Y and of X."""
        place = tuple(int(at) for at in index[: self._leading] if not isinstance(at, slice))
        if len(place) < self._leading:
            raise IndexError(f"{index} is no plane of an array of shape {self.shape}")
        inside = [at for at in index[self._leading :] if isinstance(at, slice)]
        rows, columns = (
            slice(*part.indices(length)[:2])
            for part, length in zip([*inside, slice(None), slice(None)], self.shape[self._leading :], strict=False)
        )
        with self._lock:
            failures = [] if self._is_full else self._copied(place)
            if self._is_full:
                return np.asarray(self._data[(*place, rows, columns)])
            check_part(failures, rows, columns)
            return self._read(place, rows)[:, columns]

    def _copied(self, place: tuple[int, ...]) -> list[Failure]:
        """What of the plane cannot be read, after its chunks were copied."""
        spans = tuple(_around(at, edges) for at, edges in zip(place, self._edges, strict=False))
        if spans not in self._failures:
            try:
                self._failures[spans] = list(self._copy(spans))
            except _DiskFull:
                self._is_full = True
                return []
        return self._failures[spans]

    def _copy(self, spans: tuple[Span, ...]) -> Iterator[Failure]:
        """Chunk by chunk down the planes, so that little more than a chunk is in memory; what cannot be read."""
        for down, right in product(pairwise(self._edges[-2].tolist()), pairwise(self._edges[-1].tolist())):
            window = (slice(*down), slice(*right))
            try:
                chunk = np.asarray(self._data[(*(slice(*span) for span in spans), *window)])
            except Exception as error:  # whatever the storage raises
                if is_out_of_memory(error):
                    raise
                yield (*window, error)
                continue
            for place in product(*(range(*span) for span in spans)):
                part = chunk[tuple(at - start for at, (start, _) in zip(place, spans, strict=True))]
                self._write(place, down[0], right[0], np.ascontiguousarray(part))

    def _write(self, place: tuple[int, ...], top: int, left: int, part: NDArray[Any]) -> None:
        lines = [part] if part.shape[1] == self.shape[self._leading + 1] else list(part)
        try:
            for number, line in enumerate(lines):
                self._file.seek(self._offset(place, top + number, left))
                self._file.write(line.tobytes())
        except OSError as error:
            raise _DiskFull from error

    def _read(self, place: tuple[int, ...], rows: slice) -> NDArray[Any]:
        shape = (max(0, rows.stop - rows.start), *self.shape[self._leading + 1 :])
        self._file.seek(self._offset(place, rows.start, 0))
        pixels = np.zeros(shape, self.dtype)  # what could not be copied last may lie behind the end of the file
        self._file.readinto(pixels)
        return pixels

    def _offset(self, place: tuple[int, ...], row: int, column: int) -> int:
        number = int(np.ravel_multi_index(place, self.shape[: self._leading])) if place else 0
        height, width = self.shape[self._leading : self._leading + 2]
        samples = math.prod(self.shape[self._leading + 2 :])
        return ((number * height + row) * width + column) * samples * self.dtype.itemsize


def _around(at: int, edges: NDArray[np.int64]) -> Span:
    after = int(np.searchsorted(edges, at, side="right"))
    return int(edges[after - 1]), int(edges[after])
