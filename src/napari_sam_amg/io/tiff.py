"""TIFF files page by page, so that a stack may be larger than memory."""

import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.io.pixel_size import tiff_pixel_size
from napari_sam_amg.io.raster import read_tiff_page
from napari_sam_amg.io.raw_image import RawImage

_FOREIGN_COLOURS = ("SEPARATED", "CIELAB", "ICCLAB", "ITULAB")
#: What tifffile logs, and goes on with fewer pages than the file should have.
_TRUNCATED = ("invalid page offset", "missing data offset")


@dataclass(frozen=True, slots=True, eq=False)
class TiffPlanes:
    """Array-like (..., Y, X) or (..., Y, X, S) over the pages of a series; a page is read when indexed."""

    series: tifffile.TiffPageSeries
    path: Path
    page_axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    colours: NDArray[np.uint8] | None  # (n, 3) RGB of each index, if the pages are paletted

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any]:
        """One plane: ``index`` has a position for every axis before Y."""
        inside = len(self.page_axes.replace("S", "")) - 2  # axes that a page itself has before Y
        across = len(index) - inside
        lengths = self.shape[:across]
        number = int(np.ravel_multi_index(index[:across], lengths)) if across else 0
        page = _page_pixels(self.series, number, self.path)
        pixels: NDArray[Any] = _planes_last(page, self.page_axes)[index[across:]]
        return pixels if self.colours is None else self.colours[pixels]


@contextmanager
def open_tiff(path: Path) -> Iterator[RawImage]:
    """The first series of a TIFF file, open as long as the context is.

    Of an OME file that belongs to a set of files, the pages in this one file.
    """
    with _Complaints() as complaints, _open(path) as tiff:
        series = tiff.series[0]
        note = "" if len(tiff.series) == 1 else f"first of {len(tiff.series)} images in the file"
        complaints.check()
        data, axes = _lazy(tiff, series, path)
        compression = tifffile.COMPRESSION(series.keyframe.compression).name
        yield RawImage(data, axes, tiff_pixel_size(tiff), note=note, compression=compression)


def _open(path: Path) -> tifffile.TiffFile:
    try:
        tiff = tifffile.TiffFile(path, _multifile=False)
        count = len(tiff.series)
    except OSError:
        raise
    except Exception as error:  # tifffile takes a file at its word, a damaged one raises anything
        raise ValueError(f"the TIFF file is damaged: {error}") from error
    if count == 0:
        tiff.close()
        raise ValueError("the TIFF file is damaged or cut short: no image was found in it")
    return tiff


def _lazy(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> tuple[Any, str]:
    keyframe = series.keyframe
    axes, page_axes = _meant(tiff, series.axes), _meant(tiff, keyframe.axes)
    colour_space = tifffile.PHOTOMETRIC(keyframe.photometric).name
    if not {"Y", "X"} <= set(axes):
        raise ValueError(f"a TIFF series with axes {axes!r} has no image plane: Y and X are needed")
    if colour_space in _FOREIGN_COLOURS:
        raise ValueError(f"colours stored as {colour_space} are not supported: convert the file to RGB")
    order = _order(axes)
    ordered = "".join(axes[axis] for axis in order)
    if series.dataoffset is not None and _palette(tiff, keyframe) is None:
        return _planes_last(_memory_map(tiff, series, path), axes), ordered
    if series.shape[len(series.shape) - len(keyframe.shape) :] != keyframe.shape:
        return _planes_last(series.asarray(), axes), ordered  # a layout that pages do not follow
    colours = _palette(tiff, keyframe)
    shape = tuple(series.shape[axis] for axis in order)
    if colours is None:
        return TiffPlanes(series, path, page_axes, shape, series.dtype, None), ordered
    return TiffPlanes(series, path, page_axes, (*shape, 3), np.dtype(np.uint8), colours), ordered + "S"


def _meant(tiff: tifffile.TiffFile, axes: str) -> str:
    """The axes of a series or page, but those of an array that Python wrote as a stack.

    tifffile stores an array of shape (3, H, W) or (4, H, W) as colour unless told otherwise; in
    Python, and in napari, it is a stack of planes.
    """
    is_stack = tiff.is_shaped and "S" in axes[: axes.find("Y")]
    return axes.replace("S", "Q") if is_stack else axes


def _order(axes: str) -> list[int]:
    """Positions of the axes with the plane last: Y, X, and S if there is one; others may repeat a letter."""
    leading = [axis for axis, letter in enumerate(axes) if letter not in "YXS"]
    return leading + [axes.index(letter) for letter in "YXS" if letter in axes]


def _planes_last(data: NDArray[Any], axes: str) -> NDArray[Any]:
    return data.transpose(_order(axes))


def _memory_map(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> NDArray[Any]:
    """Uncompressed pages that lie one behind the other, ImageJ's large files among them."""
    assert series.dataoffset is not None
    dtype = series.dtype.newbyteorder(tiff.byteorder)
    try:
        return np.memmap(path, dtype, "r", series.dataoffset, series.shape)
    except ValueError as error:
        raise ValueError(f"the TIFF file is cut short: {error}") from error


def _page_pixels(series: tifffile.TiffPageSeries, number: int, path: Path) -> NDArray[Any]:
    keyframe, page = series.keyframe, series.pages[number]
    if page is None:  # left out of an OME file: black, as tifffile has it
        return np.zeros(keyframe.shape, series.dtype)
    try:
        pixels = _decode(page, keyframe, path)
    except (ValueError, RuntimeError, OSError, EOFError, IndexError, TypeError, zlib.error) as error:
        raise ValueError(f"page {number} of the TIFF file cannot be read: {error}") from error
    if pixels.shape != keyframe.shape:
        raise ValueError(f"page {number} of the TIFF file is of shape {pixels.shape}, expected {keyframe.shape}")
    return pixels


def _decode(page: Any, keyframe: Any, path: Path) -> NDArray[Any]:
    """Pixels of a page; LZW, JPEG, fax and (before Python 3.14) zstd need imagecodecs, or else Pillow."""
    try:
        pixels: NDArray[Any] = page.asarray()
        return pixels
    except ImportError:
        pass
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    deep_colour = keyframe.samplesperpixel > 1 and keyframe.bitspersample > 8
    return _as_stored(read_tiff_page(path, page.index, deep_colour), keyframe)


def _as_stored(pixels: NDArray[Any], keyframe: Any) -> NDArray[Any]:
    """What Pillow read as the file has it: Pillow knows fewer types, and turns grey round that counts from white."""
    dtype = np.dtype(keyframe.dtype).newbyteorder("=")
    if pixels.dtype == np.uint8 and keyframe.photometric.name == "MINISWHITE":
        pixels = 255 - pixels
    if {pixels.dtype.kind, dtype.kind} <= set("iu") and pixels.dtype.itemsize == dtype.itemsize:
        return pixels.view(dtype)
    return pixels


def _palette(tiff: tifffile.TiffFile, keyframe: Any) -> NDArray[np.uint8] | None:
    """Colours of a paletted image; none for ImageJ's, whose palette only shows grey values in colour."""
    if keyframe.photometric.name != "PALETTE" or tiff.is_imagej or keyframe.colormap is None:
        return None
    colours: NDArray[np.uint8] = (keyframe.colormap.T >> 8).astype(np.uint8)
    return colours


class _Complaints(logging.Handler):
    """Collects what tifffile logs, instead of letting it reach the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def check(self) -> None:
        """Raise ``ValueError`` if the file has fewer pages than it should."""
        for message in self.messages:
            if any(words in message for words in _TRUNCATED):
                raise ValueError(f"the TIFF file is damaged or cut short: {re.sub('<.*?> ', '', message)}")

    def __enter__(self) -> "_Complaints":
        self.logger = logging.getLogger("tifffile")
        self.propagated, self.logger.propagate = self.logger.propagate, False
        self.logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.propagate = self.propagated
        self.logger.removeHandler(self)
