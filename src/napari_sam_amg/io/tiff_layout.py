"""Which planes a TIFF series really has, and where they lie: what its description promises, held against its pages."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

#: Kinds of series whose planes are counted by a description, and not by the pages.
_DESCRIBED = ("imagej", "ome", "shaped")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Pixels that are stored together: those of a page, or of one plane of many behind a single page."""

    page: Any  # TiffPage or TiffFrame
    offset: int | None = None  # of a plane behind a single page, in bytes from the start of the file


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """An array made of chunks. ``axes[:across]`` go from chunk to chunk, the others lie within each."""

    axes: str
    shape: tuple[int, ...]
    across: int
    chunks: tuple[Chunk, ...]
    numbers: NDArray[np.intp]  # of chunks, of the shape of the axes across; -1 where the file has none
    note: str = ""

    @property
    def inner_shape(self) -> tuple[int, ...]:
        return self.shape[self.across :]


def find_layout(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Layout:
    """The planes of a series that are in the file. ``ValueError`` if there are none, or if it cannot be taken apart.

    Where a description names more planes than there are, those that there are; where it names fewer, all pages.
    """
    axes, shape = series.axes, tuple(series.shape)
    across = _axes_across(shape, series.keyframe.size)
    promised = prod(shape[:across])
    chunks = _find_chunks(tiff, series, promised)
    there = sum(chunk is not None for chunk in chunks)
    if not there:
        raise ValueError("the TIFF file is cut short: not one of its planes is whole")
    if len(chunks) > promised:
        axes, shape, across = _extended(axes, shape, across, len(chunks))
        note = f"its description names {_count(promised)}, {len(chunks)} are in the file: all are read"
        return _laid_out(axes, shape, across, chunks, note if promised > 1 else "")
    chunks += [None] * (promised - len(chunks))
    layout = _laid_out(axes, shape, across, chunks, "")
    return layout if there == promised else _without_missing(layout, there)


def imagej_series(tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries | None:
    """The series that ImageJ's description promises where tifffile gives it up, since the file is too short for it."""
    counts = tiff.imagej_metadata or {}
    shape = tuple(counts.get(name, 1) for name in ("frames", "slices", "channels"))
    first = tiff.pages.first
    pages = _alike(tiff, first)
    is_plain = str(counts.get("order", "czt")).lower() in ("czt", "default") and first.shaped[0] == 1
    if not is_plain or not all(isinstance(count, int) and count > 0 for count in shape) or prod(shape) < 2:
        return None
    if len(pages) != len(tiff.pages) or prod(shape) > tiff.filehandle.size:  # a lie, of which a list would be made
        return None
    return tifffile.TiffPageSeries(
        pages, (*shape, *first.shape), first.dtype, "TZC" + first.axes, kind="imagej", truncated=len(pages) == 1
    )


def join_layouts(layouts: list[Layout]) -> Layout:
    """Of frames, or stacks, that were appended to a file one by one: they are one stack."""
    first = layouts[0]
    if len(layouts) == 1:
        return first
    chunks: list[Chunk | None] = [chunk for layout in layouts for chunk in layout.chunks]
    note = ", ".join(dict.fromkeys(layout.note for layout in layouts if layout.note))
    if first.across and len({layout.numbers.shape for layout in layouts}) == 1 and len(chunks) == _places(layouts):
        return _laid_out("Q" + first.axes, (len(layouts), *first.shape), first.across + 1, chunks, note)
    chunks.sort(key=lambda chunk: (chunk.page.index, chunk.offset or 0) if chunk else (0, 0))
    return _laid_out("Q" + first.axes[first.across :], (len(chunks), *first.inner_shape), 1, chunks, note)


def _places(layouts: list[Layout]) -> int:
    return sum(layout.numbers.size for layout in layouts)


def _axes_across(shape: tuple[int, ...], page_size: int) -> int:
    """How many of the first axes go from page to page: the others make up a page."""
    for across in range(len(shape) + 1):
        if prod(shape[across:]) == page_size:
            return across
    raise ValueError(f"an image of shape {shape} in pages of {page_size} values each cannot be read: save it anew")


def _find_chunks(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, promised: int) -> list[Chunk | None]:
    """Where the planes are, in order; None in place of those that the file leaves out."""
    if series.kind in _DESCRIBED and len(tiff.series) == 1 and len(tiff.pages) > promised:
        pages = _alike(tiff, series.keyframe)
        if len(pages) == len(tiff.pages):
            return [Chunk(page) for page in pages]
    if series.dataoffset is not None and promised > 1:
        blocks = _blocks(tiff, series, promised)
        if len(blocks) == promised or len(tiff.pages) == 1:
            return blocks
    try:
        listed = list(series)
    except IndexError:  # pages that were counted, and are not there
        listed = []
    if len(listed) < min(2, promised):
        listed = _alike(tiff, series.keyframe)[:promised]
    return [None if page is None else Chunk(page) for page in listed]


def _blocks(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, promised: int) -> list[Chunk | None]:
    """Planes that lie one behind the other, as many as there is room for before anything else in the file begins."""
    page, start = series.keyframe, int(series.dataoffset or 0)
    others = [page.offset, *(tag.valueoffset for tag in page.tags)]
    if len(tiff.pages) > 1:
        others.append(tiff.pages[1].offset)
    end = min([tiff.filehandle.size, *(offset for offset in others if offset > start)])
    room = max(0, end - start) // page.nbytes
    return [Chunk(page, start + number * page.nbytes) for number in range(min(promised, room))]


def _alike(tiff: tifffile.TiffFile, keyframe: tifffile.TiffPage) -> list[Any]:
    """The pages from a page on that are like it."""
    pages: list[Any] = [keyframe]
    for number in range(keyframe.index + 1, len(tiff.pages)):
        page = tiff.pages.get(number)
        if page.shape != keyframe.shape or page.dtype != keyframe.dtype:
            break
        pages.append(page)
    return pages


def _extended(axes: str, shape: tuple[int, ...], across: int, count: int) -> tuple[str, tuple[int, ...], int]:
    """Axes and shape for more pages than were promised."""
    if across == 1 and axes[0] != "C":
        return axes, (count, *shape[1:]), across
    rounds, rest = divmod(count, prod(shape[:across]))
    if across and not rest:
        return "I" + axes, (rounds, *shape), across + 1
    return "I" + axes[across:], (count, *shape[across:]), 1


def _laid_out(axes: str, shape: tuple[int, ...], across: int, chunks: list[Chunk | None], note: str) -> Layout:
    there = np.array([chunk is not None for chunk in chunks])
    numbers = np.where(there, there.cumsum() - 1, -1).reshape(shape[:across])
    return Layout(axes, shape, across, tuple(chunk for chunk in chunks if chunk is not None), numbers, note)


def _without_missing(layout: Layout, there: int) -> Layout:
    """Without the positions of each axis of which the file has no plane; single holes stay, and cannot be read."""
    note = f"{there} of the {_count(layout.numbers.size)} that its description names are in the file"
    numbers, left_out = layout.numbers, []
    for axis, letter in enumerate(layout.axes[: layout.across]):
        others = tuple(other for other in range(layout.across) if other != axis)
        is_there = (layout.numbers >= 0).any(axis=others)
        numbers = numbers.compress(is_there, axis)
        missing = np.flatnonzero(~is_there).tolist()
        if missing:
            left_out.append(f"{'planes' if letter in 'QI' else letter} {_ranges(missing)}")
    if left_out:
        note += f", missing: {'; '.join(left_out)} (counted from 0)"
    shape = numbers.shape + layout.inner_shape
    return replace(layout, shape=shape, numbers=numbers, note=note)


def _count(planes: int) -> str:
    return f"{planes} plane{'s' * (planes != 1)}"


def _ranges(numbers: list[int]) -> str:
    """ "3..5, 8" for 3, 4, 5 and 8."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    spans = [str(start) if start == end else f"{start}..{end}" for start, end in zip(starts, ends, strict=True)]
    return ", ".join(spans[:5]) + (", ..." if len(spans) > 5 else "")
