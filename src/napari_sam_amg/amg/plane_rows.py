"""Some rows of a plane at a time, each chunk of storage read once while one goes down the plane."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.plane_reader import HELD_BYTES, Failure, PlaneReader, check_part, chunk_edges, plane_bytes
from napari_sam_amg.amg.planes import Index, PlaneStack
from napari_sam_amg.errors import is_out_of_memory


class PlaneRows:
    """Rows of one plane. Those that were read and may be asked for again are held; whoever goes up again reads again.

    Rows of chunks are read together, so that no chunk is read twice. Where chunks hold several planes that fit into
    memory, ``reader`` holds these. Where a row of chunks cannot be read, its chunks are read one by one: what is
    missing is NaN, and :meth:`check` raises for it.
    """

    def __init__(self, stack: PlaneStack, index: Index, reader: PlaneReader, whole: NDArray[Any] | None = None) -> None:
        self._stack, self._index = stack, index
        self.size = stack.plane_size
        axis = stack.leading
        self._edges, self._column_edges = chunk_edges(stack, axis), chunk_edges(stack, axis + 1)
        shared = reader.planes_in_chunk(index)
        if whole is None and shared > 1 and shared * plane_bytes(stack) <= HELD_BYTES:
            whole = reader.plane(index)
        self._rows: NDArray[Any] = self._empty() if whole is None else whole
        self._first = 0
        self._failures: list[Failure] = []

    def get(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` - 1 as (h, W), in colour (h, W, 3); not to be written to."""
        held_to = self._first + len(self._rows)
        if not self._first <= start <= held_to:
            self._rows, self._first, held_to = self._empty(), start, start
        if stop > held_to:
            begin = held_to if len(self._rows) else int(self._edges[np.searchsorted(self._edges, start, "right") - 1])
            end = int(self._edges[np.searchsorted(self._edges, stop, "left")])
            kept = self._rows[start - self._first :]
            more = self._read(begin, end)
            if len(kept):
                self._rows, self._first = np.concatenate([kept, more]), start
            else:
                self._rows, self._first = more, begin
        return self._rows[start - self._first : stop - self._first]

    def check(self, rows: slice, columns: slice) -> None:
        """Raise what reading raised, if some of a part of the plane could not be read."""
        check_part(self._failures, rows, columns)

    def check_any(self) -> None:
        """Raise what reading raised, if nothing could be read at all."""
        missing = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns, _ in self._failures)
        if missing and missing >= math.prod(self.size):
            raise self._failures[0][2]

    def _empty(self) -> NDArray[Any]:
        return np.empty((0, *self._stack.plane_shape[1:2], *([3] if self._stack.rgb else [])), self._stack.data.dtype)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        try:
            return self._stack.part(self._index, slice(start, stop))
        except Exception as error:  # whatever the storage raises
            if is_out_of_memory(error):
                raise
            return self._read_in_parts(start, stop, error)

    def _read_in_parts(self, start: int, stop: int, error: Exception) -> NDArray[Any]:
        edges = [edge for edge in self._edges.tolist() if start < edge < stop]
        bounds = [start, *(edges if len(edges) < MOST_PARTS else []), stop]
        lines = self._column_edges.tolist() if len(self._column_edges) <= MOST_PARTS else [0, self.size[1]]
        parts = np.full((stop - start, *self._empty().shape[1:]), np.nan)
        for top, bottom in pairwise(bounds):
            for left, right in pairwise(lines):
                rows, columns = slice(top, bottom), slice(left, right)
                try:
                    if len(bounds) == 2 == len(lines):
                        raise error
                    parts[top - start : bottom - start, left:right] = self._stack.part(self._index, rows, columns)
                except Exception as missing:
                    if is_out_of_memory(missing):
                        raise
                    # a traceback holds the pixels of all who called
                    self._failures.append((rows, columns, missing.with_traceback(None)))
        return parts


MOST_PARTS = 1024  # chunks along a side, of which single ones are tried
