"""Label images as they are stored, plane by plane: whole numbers, never colours."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.evaluation.overlaps import Labels, check_ids, check_type
from napari_sam_amg.io.images import image_kind
from napari_sam_amg.io.npy import open_npy
from napari_sam_amg.io.raster import open_raster
from napari_sam_amg.io.raw_image import RawImage
from napari_sam_amg.io.tiff import open_tiff
from napari_sam_amg.io.zarr_images import labels_in, open_zarr

KINDS = ("PNG", "TIFF", "NPY", "ZARR")  # JPEG changes pixels, and so ids
_LOSSY = re.compile("JPE?G|JP2|JXL|JPX|WEBP|LERC")  # in tifffile's names of compressions
_NAMED = frozenset("TZC")  # axes that say what they are; others only say that there are several planes


@dataclass(frozen=True, slots=True, eq=False)
class LabelImage:
    """An open file; axes before Y of length 1 do not count."""

    data: Any  # array-like, indexed by all axes before Y
    all_axes: str = ""  # a letter each, tifffile's

    @property
    def _counted(self) -> list[int]:
        """The axes before Y that are longer than 1."""
        return [axis for axis, length in enumerate(self.data.shape[:-2]) if length != 1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., Y, X)."""
        return (*(self.data.shape[axis] for axis in self._counted), *self.data.shape[-2:])

    @property
    def named_axes(self) -> str:
        """Letters of the axes of ``shape``, if the file says what all of them are; otherwise empty."""
        letters = "".join(self.all_axes[axis] for axis in self._counted)
        return letters + "YX" if letters and set(letters) <= _NAMED else ""

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """Of the planes; that of the only plane of a 2D image is empty."""
        return list(np.ndindex(self.shape[:-2]))

    def plane(self, index: tuple[int, ...]) -> Labels:
        """(Y, X) ids. ``ValueError`` if they are negative, or cannot be read."""
        whole = [0] * (len(self.data.shape) - 2)
        for axis, position in zip(self._counted, index, strict=True):
            whole[axis] = position
        labels = whole_numbers(np.asarray(self.data[tuple(whole)]))
        check_ids(labels)
        return labels


@contextmanager
def open_labels(path: Path) -> Iterator[LabelImage]:
    """A PNG, TIFF or NPY file, or a Zarr; of paletted ones the indices. Planes are read as long as the context lasts.

    Of an OME-Zarr image the labels in it, if there is one set of them.

    Raises ``ValueError`` or ``OSError`` for a file that holds no labels: colours, booleans, several images.
    """
    kind = image_kind(path, KINDS)
    readers: dict[str, Callable[[Path], AbstractContextManager[RawImage]]] = {
        "PNG": partial(open_raster, as_stored=True),
        "TIFF": partial(open_tiff, as_stored=True),
        "NPY": open_npy,
        "ZARR": _open_zarr,
    }
    with readers[kind](path) as raw:
        yield _checked(raw)


def _open_zarr(path: Path) -> AbstractContextManager[RawImage]:
    inside = labels_in(path)
    if len(inside) > 1:
        names = ", ".join(found.name for found in inside)
        raise ValueError(f"an image with several labels, {names}: give one of them, such as {inside[0]}")
    return open_zarr(inside[0] if inside else path)


def whole_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    """Ids as integers; some programs (MorphoLibJ and others in ImageJ) save them as floats.

    ``ValueError`` for floats that are no ids: fractions, NaN, and those so large that two ids may have become one.
    """
    if labels.dtype.kind != "f":
        return labels
    highest = 2 ** (np.finfo(labels.dtype).nmant + 1)
    wrong = labels[~((labels == np.trunc(labels)) & (np.abs(labels) <= highest))]
    if wrong.size:
        raise ValueError(
            f"value {wrong[0]:g} is not allowed: of labels saved as {labels.dtype}, all must be whole numbers "
            f"from 0 to {highest}"
        )
    return labels.astype(np.int64)


def _checked(raw: RawImage) -> LabelImage:
    if "S" in raw.axes:
        raise ValueError(
            f"an image in colour, of shape {tuple(raw.data.shape)}, is not allowed: labels are one integer a pixel"
        )
    if raw.note:
        reason = re.sub(r" \(--\w+ chooses\)", "", raw.note)
        raise ValueError(f"{reason}: allowed is a file of one whole image or stack")
    if _LOSSY.search(raw.compression):
        raise ValueError(
            f"compression {raw.compression} is not allowed: it changes pixels, and so label ids; use LZW or none"
        )
    dtype = np.dtype(raw.data.dtype)
    if dtype.kind != "f":  # of which the values decide
        check_type(dtype)
    return LabelImage(raw.data, raw.axes)
