"""Pixels of the pages of a TIFF file, read where they are asked for, with an error that names the page."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import LARGE_SIDE
from napari_sam_amg.io.tiff_layout import Chunk, Layout
from napari_sam_amg.io.tiff_rows import can_be_cut, page_rows, rows_at_once
from napari_sam_amg.io.watched import FileState

_MOST_CUT_SHORT = 2  # a plane of as many times the file's bytes may be half of one, whose rows are read

WITHOUT_OWN_TAGS = ("lsm", "scanimage", "stk", "ndpi", "eer")  # tifffile corrects what the pages of these say


@dataclass(frozen=True, slots=True, eq=False)
class TiffPlanes:
    """Array-like (..., Y, X) or (..., Y, X, S) over a layout; no more is read than the plane, or the rows, asked for.

    ``picked`` holds a position, or what is kept of it, for every axis of the layout; None for those that
    are indexed.
    """

    layout: Layout
    state: FileState  # of the file when it was opened
    picked: tuple[int | slice | None, ...]
    plane_axes: tuple[int, ...]  # the axes Y, X and perhaps S among those of the layout
    finish: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...]  # from stored values of a plane to those that are meant
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    own_tags: bool = True  # whether each page is read as its own tags say

    rows_only: ClassVar[bool] = True  # of one plane, see views.pages_of

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded together, along each axis."""
        leading = sum(pick is None for pick in self.picked)
        rows = rows_at_once(self.layout.chunks[0].page.keyframe) if self._has_rows else self.shape[leading]
        return (*(1 for _ in range(leading)), rows, *self.shape[leading + 1 :])

    @property
    def _has_rows(self) -> bool:
        """Whether the rows of a plane lie one after another in its page, in strips or tiles of their own."""
        down, keyframe = self.plane_axes[0], self.layout.chunks[0].page.keyframe
        return down >= self.layout.across and (keyframe.is_final or can_be_cut(keyframe))

    def check_large(self, file_size: int) -> None:
        """Raise ``ValueError`` unless a plane that is read some rows at a time can be there.

        Its rows would be missed one after another, for hours where a header is damaged. ``file_size``: in bytes.
        """
        height, width = (self.layout.shape[axis] for axis in self.plane_axes[:2])
        if max(height, width) <= LARGE_SIDE:
            return
        keyframe = self.layout.chunks[0].page.keyframe
        needed = int(keyframe.size) * int(keyframe.bitspersample) // 8
        if keyframe.is_contiguous and needed > _MOST_CUT_SHORT * file_size:
            raise ValueError(
                f"the file is cut short or its header is damaged: a plane of {height} x {width} pixels has {needed} "
                f"bytes, the file {file_size}"
            )
        problem: Exception | None = None
        for number, chunk in enumerate(self.layout.chunks if not keyframe.is_contiguous else ()):
            try:
                _check_stored(_own_page(chunk, self.own_tags), keyframe)
                return
            except Exception as error:  # see _read
                problem = problem or self._of_page(number, error)
        if problem is not None:
            raise problem

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """One plane: ``index`` has a position for every axis before Y. A slice behind these: some of its rows."""
        asked = iter(index)
        position = [next(asked) if pick is None else pick for pick in self.picked]
        down, rows = self.plane_axes[0], next(asked, None)
        if rows is not None and not self._has_rows:
            return self[index[:-1]][rows]
        if isinstance(rows, slice):
            position[down] = slice(*rows.indices(self.layout.shape[down]))
        across, inner = position[: self.layout.across], position[self.layout.across :]
        wanted: Any = tuple(across)
        numbers = np.asarray(self.layout.numbers[wanted])
        parts = [self._read(int(number), inner, position) for number in numbers.ravel()]
        plane = np.stack(parts).reshape(numbers.shape + parts[0].shape) if numbers.ndim else parts[0]
        kept = [axis for axis, pick in enumerate(position) if isinstance(pick, slice)]
        plane = plane.transpose([kept.index(axis) for axis in self.plane_axes])
        for function in self.finish:
            plane = function(plane)
        return plane

    def _read(self, number: int, inner: list[int | slice], position: list[int | slice]) -> NDArray[Any]:
        if number < 0:
            named = zip(self.layout.axes, position, strict=True)
            where = ", ".join(f"{letter} {place}" for letter, place in named if isinstance(place, int))
            raise ValueError(f"the plane {where} (counted from 0) is not in the file")
        chunk = self.layout.chunks[number]
        handle = chunk.page.parent.filehandle
        self.state.check(handle.fileno())
        try:
            return _pixels(
                chunk, self.layout.inner_shape, inner, self.own_tags, self.plane_axes[0] - self.layout.across
            )
        except MemoryError:
            raise
        except Exception as error:  # tifffile and the decoders take a file at its word, a damaged one raises anything
            raise self._of_page(number, error) from error

    def _of_page(self, number: int, error: Exception) -> ValueError:
        chunk = self.layout.chunks[number]
        place = number if chunk.offset is not None else chunk.page.index
        return ValueError(f"page {place} of the TIFF file cannot be read: {error or type(error).__name__}")


def _own_page(chunk: Chunk, own_tags: bool) -> Any:
    """Pages may differ in what tifffile takes to be the same for all: compression, strips."""
    return chunk.page.aspage() if own_tags and not chunk.page.is_virtual else chunk.page


def _pixels(chunk: Chunk, shape: tuple[int, ...], inner: list[int | slice], own_tags: bool, down: int) -> NDArray[Any]:
    """The part ``inner`` of a chunk of some shape, of which ``down`` is the axis of the rows, if it has them."""
    rows = inner[down] if down >= 0 else slice(None)
    is_cut = isinstance(rows, slice) and rows != slice(None)
    keyframe, page = chunk.page.keyframe, chunk.page
    offset = chunk.offset
    if offset is None:
        page = _own_page(chunk, own_tags)
        _check_stored(page, keyframe)
        if not page.is_final:
            if is_cut and can_be_cut(page.keyframe):
                assert isinstance(rows, slice)
                cut = (*shape[:down], rows.stop - rows.start, *shape[down + 1 :])
                some: NDArray[Any] = page_rows(page, rows.start, rows.stop).reshape(cut)
                return some[(*inner[:down], slice(None), *inner[down + 1 :])]
            pixels: NDArray[Any] = page.asarray(squeeze=False).reshape(shape)
            return pixels[tuple(inner)]
        offset = page.dataoffsets[0]
    leading = next((axis for axis, pick in enumerate(inner) if isinstance(pick, slice)), len(inner))
    size = prod(shape[leading:])
    before: Any = tuple(inner[:leading])
    skipped = int(np.ravel_multi_index(before, shape[:leading])) if leading else 0
    rest: Any = tuple(inner[leading:])
    dtype = keyframe.dtype.newbyteorder(page.parent.byteorder)
    start = offset + skipped * size * dtype.itemsize
    if is_cut and leading == down:  # nothing but whole rows, one after another
        assert isinstance(rows, slice)
        line = prod(shape[down + 1 :])
        start += rows.start * line * dtype.itemsize
        size, shape = (rows.stop - rows.start) * line, (*shape[:down], rows.stop - rows.start, *shape[down + 1 :])
        rest = (slice(None), *inner[down + 1 :])
    handle = page.parent.filehandle
    if start + size * dtype.itemsize > handle.size:
        raise ValueError("the file is cut short")
    values: NDArray[Any] = handle.read_array(dtype, size, start)
    return values.reshape(shape[leading:])[rest]


def _check_stored(page: Any, keyframe: tifffile.TiffPage) -> None:
    """Raise ``ValueError`` unless all of a page is there, in the form that its series needs."""
    own = page.keyframe
    if own.shaped != keyframe.shaped or own.dtype != keyframe.dtype:
        raise ValueError(f"it is of shape {own.shape} and type {own.dtype}, not {keyframe.shape} and {keyframe.dtype}")
    offsets, sizes = page.dataoffsets, page.databytecounts
    segments = 1 if own.is_contiguous else prod(own.chunked)
    if not any(offsets):
        raise ValueError("it has no pixels")
    if min(len(offsets), len(sizes)) < segments:
        raise ValueError(f"it has {min(len(offsets), len(sizes))} strips or tiles, {segments} are needed")
    ends = [offset + size for offset, size in zip(offsets, sizes, strict=False) if offset and size]
    if not own.is_contiguous and max(ends, default=0) > page.parent.filehandle.size:
        raise ValueError("the file is cut short")
