"""Labels as a TIFF file, in the words of ImageJ or OME. Free of torch: napari saves layers with it."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import WHOLE_PIXELS
from napari_sam_amg.io.plane_file import PlaneFile
from napari_sam_amg.io.raw_image import SourceImage

if TYPE_CHECKING:
    from napari_sam_amg.run import PlaneResult

_CENTIMETRE = 10_000.0  # micrometres
_BIGTIFF_ABOVE = 2**31  # bytes before compression
_TILE = 256  # px of the tiles in which large planes are written
_SMALLEST_DENSITY = 1e-8  # pixels per unit, and its inverse the largest: TIFF has fractions of two 32-bit numbers
_TZC = "TZC"  # the axes that ImageJ and OME know besides Y and X, in ImageJ's order


class LabelsTiff:
    """A label image of the stack's shape: uint16, or uint32 above 65535 labels, zlib-compressed.

    Planes come in any order; one that never comes has no labels. Large ones are written in tiles. Pixel size and z
    spacing are written as ImageJ has them, which Bio-Formats reads too; as OME-XML where ImageJ's files cannot hold
    the image.
    """

    def __init__(self, path: Path, source: SourceImage, pixel_size: tuple[float, float] | None) -> None:
        self.path, self.axes, self.pixel_size = path, source.axes, pixel_size
        self.z_spacing = source.raw.micrometres("Z") if "Z" in self.axes else None
        self.interval = source.raw.seconds if "T" in self.axes else None
        # The highest label, and so the type, is known at the end only: until then planes wait in a file.
        lengths = (*source.stack.stack_shape, *source.stack.plane_size)
        self.planes = PlaneFile(path.with_suffix(".planes"), lengths, source.own_order)
        self.shape = self.planes.shape
        self.is_tiled = math.prod(source.stack.plane_size) > WHOLE_PIXELS and self.axes[-2:] == source.plane_axes
        self.highest = 0

    def add(self, result: "PlaneResult") -> None:
        self.add_rows(result.index, result.labels, result.rows)

    def add_rows(self, index: tuple[int, ...], labels: NDArray[Any], rows: tuple[int, int] | None = None) -> None:
        """``labels``: (H, W), or those of its rows alone, from 0 to what 32 bits with a sign hold."""
        self.planes.add(index, labels, rows)
        self.highest = max(self.highest, int(labels.max()))

    def finish(self) -> None:
        dtype = np.dtype(np.uint16 if self.highest <= np.iinfo(np.uint16).max else np.uint32)
        is_big = math.prod(self.shape) * dtype.itemsize > _BIGTIFF_ABOVE
        container, image = self._format(dtype, is_big or self.is_tiled)
        pages = self.planes.tiles(_TILE) if self.is_tiled else _as_stored(self.planes.pages(), self.shape)
        planes = (page.astype(dtype) for page in pages)
        if self.is_tiled:  # some rows at a time, each packed before the next is made
            image |= {"tile": (_TILE, _TILE), "maxworkers": 1}
        options: dict[str, Any] = {
            "bigtiff": is_big,
            "byteorder": "<",
            "imagej": container == "imagej",
            "ome": container == "ome",
        }
        with tifffile.TiffWriter(self.path, **options) as writer:
            writer.write(
                planes, shape=self.shape, dtype=dtype, compression="zlib", photometric="minisblack", **image
            )  # fmt: skip
        self.planes.delete()

    def _format(self, dtype: np.dtype[Any], is_big: bool) -> tuple[str, dict[str, Any]]:
        """Whose metadata the file has ("imagej", "ome" or tifffile's own, ""), and it as arguments for tifffile."""
        stack_axes, in_centimetres = self.axes[:-2], self._density(_CENTIMETRE, "CENTIMETER")
        spacing = {} if self.z_spacing is None else {"spacing": self.z_spacing}
        interval = {} if self.interval is None else {"finterval": self.interval}
        # Axes that neither format knows or that lie otherwise, or that readers would leave out, being of length 1
        is_known = set(stack_axes) <= set(_TZC) and len(set(stack_axes)) == len(stack_axes) and self.axes[-2:] == "YX"
        if not is_known or 1 in self.shape[:-2]:
            unit = {"unit": "um"} if spacing else {}
            return "", {"metadata": {"axes": self.axes} | unit | spacing | interval} | in_centimetres
        per_micrometre = self._density(1.0, "NONE")
        is_ordered = stack_axes == "".join(sorted(stack_axes, key=_TZC.index))
        says_all = per_micrometre or (self.pixel_size is None and self.z_spacing is None)  # one unit holds for x, y, z
        if dtype == np.uint16 and is_ordered and says_all and not is_big:
            unit = {"unit": "um"} if per_micrometre else {}
            return "imagej", {"metadata": {"axes": self.axes} | unit | spacing | interval} | per_micrometre
        sizes = dict(zip("YX", self.pixel_size or (), strict=False)) | {"Z": self.z_spacing}
        known = {f"PhysicalSize{axis}": size for axis, size in sizes.items() if size is not None}
        units = {f"{name}Unit": "µm" for name in known}
        time = {} if self.interval is None else {"TimeIncrement": self.interval, "TimeIncrementUnit": "s"}
        return "ome", {"metadata": {"axes": self.axes} | known | units | time} | in_centimetres

    def _density(self, unit: float, name: str) -> dict[str, Any]:
        """Pixels per ``unit`` micrometres along x and y, if it is known and the tags can hold it."""
        y, x = (unit / size for size in self.pixel_size or (math.inf, math.inf))
        if not _SMALLEST_DENSITY <= min(y, x) <= max(y, x) <= 1 / _SMALLEST_DENSITY:
            return {}
        return {"resolution": (x, y), "resolutionunit": name}


def _as_stored(pages: Iterator[NDArray[np.int32]], shape: tuple[int, ...]) -> Iterator[NDArray[np.int32]]:
    """As tifffile takes them: of axes of length 1 at the end it makes no sides of a page, but of those before them."""
    stored = list(shape)
    while len(stored) > 2 and stored[-1] == 1:
        stored.pop()
    together = math.prod(stored[-2:]) // math.prod(shape[-2:])
    while some := list(islice(pages, together)):
        yield np.stack(some).reshape(stored[-2:])
