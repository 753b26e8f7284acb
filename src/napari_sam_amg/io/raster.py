"""PNG and JPEG files, and pages of TIFF files in compressions that tifffile leaves to others."""

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_sam_amg.io.raw_image import RawImage

_PNG_COLOUR = 2  # bit of the PNG colour type
_PNG_ALPHA = 4

#: Pillow modes that hold grey as it is; every other mode is colour of some kind.
_GREY_MODES = ("1", "L", "I;16", "I;16B", "I", "F")


def read_raster(path: Path, palette: bool = True) -> RawImage:
    """A PNG or JPEG file: (Y, X) or (Y, X, 3 or 4), as stored; palettes as their colours, or else as indices.

    Without ``palette`` grey of less than 8 bit is as stored too, and not spread over 8 bit.
    Pillow reads all but 16-bit colour, which it would reduce to 8 bit; that is read by OpenCV.
    """
    with _open(path) as image:
        _load(image)
        if _is_deep_colour_png(path):
            pixels = _bgr_to_rgb(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED))
        else:
            pixels = _pixels(image, palette)
            if not palette and image.mode == "L":
                pixels = pixels // _png_grey_step(path)
    return RawImage(pixels, "YX" if pixels.ndim == 2 else "YXS")


def read_tiff_page(path: Path, page: int, deep_colour: bool) -> NDArray[Any]:
    """One page of a TIFF file: (Y, X), or (Y, X, S); the indices of a palette, not its colours."""
    with _silent_libtiff():
        with _open(path) as image:
            image.seek(page)
            _load(image)
            if not deep_colour:
                return np.asarray(image)
        _, pages = cv2.imreadmulti(str(path), page, 1, flags=cv2.IMREAD_UNCHANGED)
        return _bgr_to_rgb(pages[0])


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError("the file is damaged: it begins like an image, but its header cannot be read") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"the image is too large to be read whole: {error}; store it as TIFF") from error


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except (OSError, SyntaxError, EOFError, struct.error) as error:  # Pillow raises all of these for broken files
        raise ValueError(f"the file is damaged or cut short: {error}") from error


def _pixels(image: Image.Image, palette: bool) -> NDArray[Any]:
    if image.mode in _GREY_MODES or (image.mode == "P" and not palette):
        return np.asarray(image)
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"))
    return np.asarray(image.convert("RGB"))


def _is_deep_colour_png(path: Path) -> bool:
    """Whether the header of a PNG file says 16 bit and more than grey."""
    with path.open("rb") as file:
        header = file.read(26)
    if header[1:4] != b"PNG":
        return False
    depth, colour_type = header[24], header[25]
    return depth == 16 and bool(colour_type & (_PNG_COLOUR | _PNG_ALPHA))


def _png_grey_step(path: Path) -> int:
    """What Pillow multiplies the grey values of a PNG file by: those of 2 and 4 bit."""
    with path.open("rb") as file:
        header = file.read(26)
    depth, colour_type = header[24], header[25]
    return 255 // (2**depth - 1) if header[1:4] == b"PNG" and colour_type == 0 and depth < 8 else 1


def _bgr_to_rgb(pixels: Any) -> NDArray[Any]:
    if pixels is None:
        raise ValueError("the file is damaged: its pixels cannot be decoded")
    colour: NDArray[Any] = pixels
    return colour if colour.ndim == 2 else colour[..., [2, 1, 0]]


@contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Send what the C library writes to the error stream nowhere; its failures come as exceptions too."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
