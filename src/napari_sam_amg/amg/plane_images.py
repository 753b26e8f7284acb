"""The planes of a run as the model sees them: intensities are decided once, so that a part looks as it does in all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.no_data import BESIDE
from napari_sam_amg.amg.one_pass import look
from napari_sam_amg.amg.plane_reader import PlaneReader
from napari_sam_amg.amg.plane_rows import PlaneRows
from napari_sam_amg.amg.planes import Index, PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange, Survey, nothing_in, to_rgb
from napari_sam_amg.errors import in_words, is_out_of_memory

#: What storage and models raise at one plane or region. Other errors, as those that cancel a run, end the run.
FAILURES = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)

Window = tuple[slice, slice]  # rows and columns
_WHOLE: Window = (slice(None), slice(None))


class PlaneImages:
    """Images of planes, and of parts of planes. A plane that was read ahead of its turn is not read again."""

    def __init__(self, stack: PlaneStack, surveyed: Survey | None, intensities: IntensityRange | None) -> None:
        self.stack, self._reader = stack, PlaneReader(stack)
        self._rows: tuple[Index, PlaneRows] | None = None  # of the plane that is read in parts
        self._parts: tuple[NDArray[Any], ...] = ()
        self._margins: dict[Index, float] = {}
        self._pixels: dict[Index, NDArray[Any]] = {}
        self._whole: dict[Index, NDArray[np.uint8]] = {}  # images of planes, kept with their pixels
        self.fullest: Index | None = stack.indices[0]
        if surveyed is not None:
            self.fullest = surveyed.fullest
            if surveyed.fullest is not None and surveyed.pixels is not None:
                self._pixels[surveyed.fullest] = surveyed.pixels
            self._parts, self._margins = surveyed.parts, dict(surveyed.margins)
            intensities = intensities or surveyed.intensities
        assert intensities is not None
        self._intensities = intensities

    def image(self, index: Index, window: Window = _WHOLE) -> tuple[NDArray[np.uint8], str]:
        """A part of a plane as (H, W, 3) RGB, and why there is nothing in it, if so.

        A part looks as it does in the whole. Parts of one plane are best asked for from top to bottom.
        """
        rows, columns = (
            slice(*side.indices(length)) for side, length in zip(window, self.stack.plane_size, strict=True)
        )
        if (rows.stop - rows.start, columns.stop - columns.start) != self.stack.plane_size:
            return self._part(index, rows, columns)
        whole = self._whole.pop(index, None)
        plane = self._pixels.pop(index) if index in self._pixels else self._read(index)
        # the very image that was given before: its embedding may be known
        if whole is None:
            whole = to_rgb(plane, self._intensities, self._margins.get(index))
        return whole, nothing_in(plane, whole)

    def _part(self, index: Index, rows: slice, columns: slice) -> tuple[NDArray[np.uint8], str]:
        lines = self._rows_of(index)
        height, width = self.stack.plane_size
        beside = BESIDE + 1  # px; whether a pixel is hot its neighbours tell, and these how gaps are closed
        top, left = max(rows.start - beside, 0), max(columns.start - beside, 0)
        with _storage_errors():
            seen = lines.get(top, min(rows.stop + beside, height))
            lines.check(rows, columns)
        margin = self._margin(index)
        rgb = to_rgb(seen[:, left : min(columns.stop + beside, width)], self._intensities, margin)
        inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        image = np.ascontiguousarray(rgb[inside])
        return image, nothing_in(seen[inside[0], columns], image)

    def _rows_of(self, index: Index) -> PlaneRows:
        if self._rows is None or self._rows[0] != index:
            self._rows = None  # two planes need not be held at once
            self._rows = index, PlaneRows(self.stack, index, self._reader, self._pixels.pop(index, None))
        return self._rows[1]

    def _margin(self, index: Index) -> float:
        """By how much a pixel of the plane is hot, wherever it lies."""
        if index not in self._margins:  # it was not looked at
            lines = PlaneRows(self.stack, index, self._reader)
            colour, dtype = self.stack.rgb, np.dtype(self.stack.data.dtype)
            contrast = look(lines, colour, dtype).contrast
            self._margins[index] = np.inf if contrast is None else contrast.hot_margin
        return self._margins[index]

    def looks(self) -> list[NDArray[np.uint8]]:
        """Parts of the plane that shows most, as the model sees them; none if there is nothing in any plane."""
        if self.fullest is None:
            return []
        if not self._parts:
            whole = self.fullest_image()
            return [] if whole is None else [whole]
        margin = self._margin(self.fullest)
        seen = [to_rgb(part, self._intensities, margin) for part in self._parts]
        return [image for part, image in zip(self._parts, seen, strict=True) if not nothing_in(part, image)]

    def fullest_image(self) -> NDArray[np.uint8] | None:
        """Of the plane that shows most; None if there is nothing in any."""
        if self.fullest is None:
            return None
        if self.fullest not in self._pixels:
            self._pixels[self.fullest] = self._read(self.fullest)
        plane = self._pixels[self.fullest]
        self._whole[self.fullest] = rgb = to_rgb(plane, self._intensities, self._margins.get(self.fullest))
        return None if nothing_in(plane, rgb) else rgb

    def _read(self, index: Index) -> NDArray[Any]:
        with _storage_errors():
            return self._reader.plane(index)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # storage may raise anything
        if is_out_of_memory(error) or isinstance(error, FAILURES):
            raise
        raise OSError(in_words(error)) from error
