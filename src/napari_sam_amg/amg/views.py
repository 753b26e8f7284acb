"""Arrays with their axes in another order, of which no more is read than before."""

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
