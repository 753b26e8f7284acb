"""PNG, JPEG and the other pictures that Pillow opens."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_sam_amg.io.memory import check_plane
from napari_sam_amg.io.pnm import is_pnm, read_pnm
from napari_sam_amg.io.raw_image import RawImage, check_series

#: What is read, besides TGA, which has no signature and is believed by its name. Left out are those for which Pillow
#: runs another program or needs one (EPS, WMF, GRIB, HDF5, BUFR, MPEG), those of several sizes of one icon, and FITS,
#: of which Pillow forgets the offset of the values.
FORMATS = (
    "PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "AVIF", "JPEG2000", "PPM",
    "PCX", "SGI", "SUN", "QOI", "PSD", "DDS", "FLI", "MSP", "XBM",
)  # fmt: skip
_TGA_SUFFIXES = (".tga", ".icb", ".vda", ".vst")
_ANIMATED = ("PNG", "GIF", "WEBP", "AVIF", "FLI")  # whose frames are a stack; others hold previews and layers

#: Pillow modes that hold grey as it is; every other mode is colour of some kind.
_GREY_MODES = ("1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf")  # PNG chunks of which Pillow refuses large ones
_GREY_AND_ALPHA = 4  # a colour type in the header of PNG
_PILLOW_LIMIT = Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Array-like (T, Y, X) or (T, Y, X, 3) over an animated picture, of which a frame is decoded when it is indexed."""

    image: Image.Image
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    last: dict[int, NDArray[Any]] = field(default_factory=dict)  # the frame that was read last

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        """One frame: ``index`` has its position, and perhaps a slice of its rows."""
        number, *inside = index
        if number not in self.last:
            with _decoding(f"frame {number} of "):
                self.image.seek(number)
                self.image.load()
                frame = self.image if len(self.shape) == 4 else self.image.convert("L")
                pixels = np.asarray(frame.convert("RGB")) if len(self.shape) == 4 else np.asarray(frame)
            if pixels.shape != self.shape[1:]:
                raise ValueError(f"frame {number} is of shape {pixels.shape}, the first of {self.shape[1:]}")
            self.last.clear()
            self.last[number] = pixels
        return self.last[number][tuple(inside)]


def find_format(path: Path) -> str | None:
    """Pillow's name of the format of a file, whether it is read or not; None if it is no picture."""
    with _without_size_limit():
        try:
            with Image.open(path) as image:
                return image.format
        except Exception:  # Pillow tries one format after another, and those raise anything for broken files
            return None


@contextmanager
def open_raster(path: Path, series: int | None = None, as_stored: bool = False) -> Iterator[RawImage]:
    """A picture: (Y, X) or (Y, X, 3), or with T before it if it is animated, open as long as the context is.

    Grey is as stored, palettes are their colours. With ``as_stored`` palettes are indices, and grey of less than
    8 bit is not spread over 8 bit. Alpha is left out; how a picture is turned (Exif) is a viewer's business.
    Raises ``ValueError`` or ``OSError`` for a file that cannot be read.
    """
    check_series(series, 1)
    content = path.read_bytes()
    if content.startswith(b"\x89PNG"):
        content = _without_texts(content)
    Image.init()
    wanted = [*FORMATS, "TGA"] if path.suffix.lower() in _TGA_SUFFIXES else FORMATS
    formats = [name for name in wanted if name in Image.OPEN]  # MPO is opened as JPEG; Pillow may lack AVIF
    with _decoding(""), _without_size_limit():
        image = Image.open(BytesIO(content), formats=formats)
    with image:
        check_plane(image.height, image.width, _stored(image, content))
        with _decoding(""):
            count = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1  # GIF: looks through the file
            image.load()
            pixels = _pixels(image, content, as_stored)
        if count == 1:
            yield RawImage(pixels, "YX" if pixels.ndim == 2 else "YXS")
            return
        if pixels.ndim == 2 and pixels.dtype != np.uint8:
            raise ValueError(f"an animated picture of {pixels.dtype} is not supported: save its frames as TIFF")
        frames = Frames(image, (count, *pixels.shape), pixels.dtype)
        yield RawImage(frames, "TYX" if pixels.ndim == 2 else "TYXS")


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError("the file is damaged: it begins like an image, but its header cannot be read") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow and the decoders raise anything for broken files
        raise ValueError(f"{what}the file is damaged or cut short: {error}") from error


@contextmanager
def _without_size_limit() -> Iterator[None]:
    """Pillow refuses large pictures however much memory there is; we ask for the memory instead."""
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _stored(image: Image.Image, content: bytes) -> int:
    """Bytes a pixel, from its header."""
    if image.mode in _GREY_MODES:
        return {"I": 4, "F": 4}.get(image.mode, 1 if image.mode in ("1", "L") else 2)
    return 3 * (2 if image.format == "PNG" and _png_depth(content) == 16 else 1)


def _pixels(image: Image.Image, content: bytes, as_stored: bool) -> NDArray[Any]:
    deep = _deep_pixels(image, content)
    if deep is not None:
        return deep if deep.ndim == 2 else deep[..., 0] if deep.shape[2] == 2 else deep[..., :3]
    if image.mode == "L" and as_stored:
        return np.asarray(image) // _png_grey_step(content)
    if image.mode in _GREY_MODES or (image.mode == "P" and as_stored):
        pixels = np.asarray(image)
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel("L"))
    image.info.pop("transparency", None)  # of which Pillow warns, though it is left out
    return np.asarray(image.convert("RGB"))


def _deep_pixels(image: Image.Image, content: bytes) -> NDArray[Any] | None:
    """Pixels of a picture that Pillow would reduce to 8 bit, or scale; None for the others."""
    if image.format == "PNG" and _png_depth(content) == 16 and image.mode not in _GREY_MODES:
        if content[28]:  # interlaced: imagecodecs reads it, but its libpng complains on the terminal
            decoded = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))
            return decoded[..., 0] if content[25] == _GREY_AND_ALPHA else decoded[..., 2::-1]
        return np.asarray(imagecodecs.png_decode(content))
    if image.format == "JPEG2000":
        return np.asarray(imagecodecs.jpeg2k_decode(content))
    # imagecodecs gives single frames only, and those of 8 bit are the same from both
    if image.format == "AVIF" and getattr(image, "n_frames", 1) == 1:
        deep = np.asarray(imagecodecs.avif_decode(content, index=0))
        return deep if deep.dtype != np.uint8 else None
    if image.format == "PPM" and is_pnm(content):
        return read_pnm(content)
    if image.format == "SGI" and content[3:4] == b"\x02":
        raise ValueError("an SGI picture of 16 bit is not supported: save it as TIFF")
    return None


def _png_depth(content: bytes) -> int:
    """Bits a sample, from the header of a PNG file."""
    return content[24]


def _png_grey_step(content: bytes) -> int:
    """What Pillow multiplies the grey values of a PNG file by: those of 2 and 4 bit."""
    is_few_bits = content.startswith(b"\x89PNG") and content[25] == 0 and _png_depth(content) < 8
    return 255 // (2 ** _png_depth(content) - 1) if is_few_bits else 1


def _without_texts(content: bytes) -> bytes:
    """A PNG file without its comments and profiles; from where it is damaged on, as it is."""
    parts, position = [content[:8]], 8
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        if end > len(content):
            break
        if content[position + 4 : position + 8] not in _TEXTS:
            parts.append(content[position:end])
        position = end
    return b"".join([*parts, content[position:]])
