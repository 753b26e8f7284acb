"""Arrays in NumPy's own format (.npy)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from napari_sam_amg.io.raw_image import RawImage, check_series
from napari_sam_amg.io.watched import FileState, check_regular

_AT_ONCE = 2**24  # bytes of an array in Fortran's order, of which a plane lies all over the file


@dataclass(frozen=True, slots=True, eq=False)
class NpyPlanes:
    """Array-like (..., Y, X) in an open file, of which a plane is read when it is indexed."""

    file: BinaryIO
    state: FileState
    start: int  # of the values, in bytes
    fortran: bool  # the first axis varies fastest in the file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    rows_only: ClassVar[bool] = True  # of one plane, see views.pages_of

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is read together, along each axis: rows, or planes where these lie all over the file."""
        return (*(1 for _ in self.shape[:-2]), self.shape[-2] if self.fortran else 1, self.shape[-1])

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        """One plane: ``index`` has a position for every axis before Y, and perhaps a slice of its rows."""
        self.state.check(self.file.fileno())
        leading, plane = self.shape[:-2], self.shape[-2:]
        planes, size = prod(leading), prod(plane)
        index, inside = index[: len(leading)], index[len(leading) :]
        if self.fortran and inside:
            return self[index][inside]
        if not self.fortran:
            number = int(np.ravel_multi_index(index, leading)) if leading else 0
            rows = range(*inside[0].indices(plane[0])) if inside else range(plane[0])
            first = number * size + rows.start * plane[1]
            return self._read(first, len(rows) * plane[1]).reshape(len(rows), plane[1])
        number = int(np.ravel_multi_index(index, leading, order="F")) if leading else 0
        step = max(1, _AT_ONCE // (planes * self.dtype.itemsize))
        parts = [
            self._read(first * planes, min(step, size - first) * planes).reshape(-1, planes)[:, number].copy()
            for first in range(0, size, step)
        ]
        return np.concatenate(parts).reshape(plane, order="F")

    def _read(self, first: int, count: int) -> NDArray[Any]:
        self.file.seek(self.start + first * self.dtype.itemsize, os.SEEK_SET)
        values = np.fromfile(self.file, self.dtype, count)
        if len(values) < count:
            raise ValueError("the file is cut off")
        return values


@contextmanager
def open_npy(path: Path, series: int | None = None) -> Iterator[RawImage]:
    """An array (..., Y, X), of which no more is read than is asked for, open as long as the context is.

    Raises ``ValueError`` for Python objects, which to load is to run code, for damaged files, and for fewer than two
    axes.
    """
    check_series(series, 1)
    check_regular(path)
    with path.open("rb") as file:
        shape, fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise ValueError(
                "it holds Python objects, as Cellpose's _seg.npy does: allowed are arrays of numbers; "
                "save the masks alone, with numpy.save or as TIFF"
            )
        state, start = FileState.of(file.fileno()), file.tell()
        if state.size < start + prod(shape) * dtype.itemsize:
            raise ValueError(f"the file is cut off: it ends before the array of shape {shape} does")
        if len(shape) < 2:
            raise ValueError(f"an array of shape {shape} is no image: allowed are (Y, X) and stacks of it")
        yield RawImage(NpyPlanes(file, state, start, fortran, shape, dtype), "Q" * (len(shape) - 2) + "YX")


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        raise ValueError(f"the file is cut off or damaged: {error}") from error
    return tuple(shape), bool(fortran), np.dtype(dtype)
