"""The planes of a run as the model sees them: intensities are decided once, so that a part looks as it does in all."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.plane_reader import PlaneReader
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
        self._reader = PlaneReader(stack)
        self._pixels: dict[Index, NDArray[Any]] = {}
        self._whole: dict[Index, NDArray[np.uint8]] = {}  # images of planes, kept with their pixels
        self.fullest: Index | None = stack.indices[0]
        if surveyed is not None:
            self.fullest = surveyed.fullest
            if surveyed.fullest is not None and surveyed.pixels is not None:
                self._pixels[surveyed.fullest] = surveyed.pixels
            intensities = intensities or surveyed.intensities
        assert intensities is not None
        self._intensities = intensities

    def image(self, index: Index, window: Window = _WHOLE) -> tuple[NDArray[np.uint8], str]:
        """A part of a plane as (H, W, 3) RGB, and why there is nothing in it, if so."""
        whole = self._whole.pop(index, None)
        plane = self._pixels.pop(index) if index in self._pixels else self._read(index)
        part = plane[window]
        # the very image that was given before, where that is what is wanted: its embedding may be known
        if whole is None or whole.shape[:2] != part.shape[:2]:
            whole = to_rgb(part, self._intensities)
        return whole, nothing_in(part, whole)

    def fullest_image(self) -> NDArray[np.uint8] | None:
        """Of the plane that shows most; None if there is nothing in any."""
        if self.fullest is None:
            return None
        if self.fullest not in self._pixels:
            self._pixels[self.fullest] = self._read(self.fullest)
        plane = self._pixels[self.fullest]
        self._whole[self.fullest] = rgb = to_rgb(plane, self._intensities)
        return None if nothing_in(plane, rgb) else rgb

    def _read(self, index: Index) -> NDArray[Any]:
        try:
            return self._reader.plane(index)
        except Exception as error:  # storage may raise anything
            if is_out_of_memory(error) or isinstance(error, FAILURES):
                raise
            raise OSError(in_words(error)) from error
