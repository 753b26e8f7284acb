"""Arrays with their axes in another order, or cut to a window, of which no more is read than before."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


def in_order(data: Any, order: tuple[int, ...]) -> Any:
    """The data with its axes in another order; nothing is read or copied."""
    if order == tuple(range(len(order))):
        return data
    if hasattr(data, "transpose"):  # NumPy and dask
        return data.transpose(order)
    return Reordered(data, order)


@dataclass(frozen=True, slots=True, eq=False)
class Reordered:
    """An array that cannot be transposed, such as zarr's, read as if its axes were in another order."""

    data: Any  # takes a position or a slice for each axis
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(self.data.shape[axis]) for axis in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.data.dtype)

    @property
    def chunks(self) -> Any:
        """As the data has them; None if it has none."""
        chunks = getattr(self.data, "chunks", None)
        return None if chunks is None else tuple(chunks[axis] for axis in self.order)

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        whole: list[int | slice] = [slice(None)] * len(self.order)
        for axis, position in zip(self.order, index, strict=False):
            whole[axis] = position
        pixels = np.asarray(self.data[tuple(whole)])
        kept = [axis for axis, position in enumerate(whole) if isinstance(position, slice)]
        return pixels.transpose([kept.index(axis) for axis in self.order if axis in kept])


def cut_to(data: Any, windows: Mapping[int, tuple[int, int]]) -> Any:
    """The data cut along some axes, from a first position to the one behind the last; nothing is read or copied."""
    if isinstance(data, np.ndarray) or hasattr(data, "map_blocks"):  # NumPy and dask
        return data[tuple(slice(*windows[axis]) if axis in windows else slice(None) for axis in range(data.ndim))]
    return Cut(data, windows)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """An array whose slices would be read at once, such as zarr's, as if it ended at its windows."""

    data: Any  # takes a position or a slice for each axis
    windows: Mapping[int, tuple[int, int]]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in map(self._window, range(len(self.data.shape))))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.data.dtype)

    @property
    def chunks(self) -> Any:
        """The lengths of all chunks along each axis, those at the windows' edges cut; None if the data has none."""
        chunks = getattr(self.data, "chunks", None)
        if not isinstance(chunks, tuple):
            return None
        return tuple(self._cut_chunks(axis, chunk) for axis, chunk in enumerate(chunks))

    def _cut_chunks(self, axis: int, chunk: Any) -> tuple[int, ...]:
        start, stop = self._window(axis)
        length = int(self.data.shape[axis])
        edges = np.arange(0, length, chunk) if np.ndim(chunk) == 0 else np.cumsum((0, *chunk))[:-1]
        inside = [start, *(edge for edge in edges.tolist() if start < edge < stop), stop]
        return tuple(np.diff(inside).tolist())

    def _window(self, axis: int) -> tuple[int, int]:
        return self.windows.get(axis, (0, int(self.data.shape[axis])))

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        whole: list[int | slice] = [slice(*self._window(axis)) for axis in range(len(self.data.shape))]
        for axis, (at, length) in enumerate(zip(index, self.shape, strict=False)):
            first = self._window(axis)[0]
            if isinstance(at, slice):
                start, stop, _ = at.indices(length)
                whole[axis] = slice(first + start, first + stop)
            else:
                whole[axis] = first + at
        # readers of files take no more slices than they must
        while isinstance(whole[-1], slice) and len(whole) - 1 not in self.windows and len(whole) > len(index):
            whole.pop()
        return np.asarray(self.data[tuple(whole)])


@dataclass(frozen=True, slots=True, eq=False)
class Pages:
    """Of data that gives whole planes only, any part: each plane that has something of it is read once."""

    data: Any  # takes a position for every axis before the plane's
    plane_axes: int  # 2, or 3 in colour

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.data.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        leading = len(self.shape) - self.plane_axes
        return (*(1 for _ in range(leading)), *self.shape[leading:])

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        leading = len(self.shape) - self.plane_axes
        whole = (*index, *(slice(None) for _ in range(len(self.shape) - len(index))))
        spans = [_positions(at, length) for at, length in zip(whole[:leading], self.shape, strict=False)]
        window: Any = whole[leading:]
        pixels: NDArray[Any] | None = None
        for number, position in enumerate(product(*spans)):
            part = np.asarray(self.data[position])[window]
            if pixels is None:
                pixels = np.empty((prod(map(len, spans)), *part.shape), part.dtype)
            pixels[number] = part  # copied: a view would hold the whole plane
        assert pixels is not None
        lengths = [len(span) for span, at in zip(spans, whole, strict=False) if isinstance(at, slice)]
        return pixels.reshape((*lengths, *pixels.shape[1:]))


def _positions(at: int | slice, length: int) -> range:
    return range(*at.indices(length)) if isinstance(at, slice) else range(at, at + 1)


def pages_of(data: Any, plane_axes: int) -> Any:
    """The data itself if any part of it can be asked for: NumPy, dask and zarr.

    Files give planes, and rows of one with ``rows_only``.
    """
    takes_any_part = isinstance(data, np.ndarray) or getattr(data, "chunks", None) is not None
    return data if takes_any_part and not getattr(data, "rows_only", False) else Pages(data, plane_axes)
