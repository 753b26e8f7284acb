"""What the samples of a TIFF page are: grey, colours, channels, or places in a table of colours."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.io.tiff_layout import Layout

Array = NDArray[Any]

_READ = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "MASK", "YCBCR")
_DECODED_TO_RGB = ("OJPEG", "JPEG", "JPEG_LOSSY", "ALT_JPEG", "WEBP", "JPEGXL", "JPEGXL_DNG")  # by their decoders
_ALPHA = (1, 2)  # values of the tag ExtraSamples: multiplied into the colours already, or not

#: Programs whose tables of colours show grey values in colour, and so hold nothing of the image.
_PSEUDOCOLOUR = ("is_imagej", "is_ome", "is_lsm", "is_stk", "is_fluoview", "is_nih", "is_metaseries", "is_scanimage")


@dataclass(frozen=True, slots=True)
class Samples:
    """How the samples of a series are read. ``axis`` is theirs in the layout, None if there is one sample a pixel."""

    axis: int | None = None
    letter: str = "S"  # S for colours, C for channels, Q for planes of a stack
    only: int | None = None  # the sample that is read, if not all
    finish: Callable[[Array], Array] | None = None  # a plane as it is meant, from the one that is stored
    dtype: np.dtype[Any] | None = None  # that it gives, if not the stored one
    colours: bool = False  # whether it gives (Y, X, 3) for (Y, X)
    note: str = ""


def find_samples(tiff: tifffile.TiffFile, keyframe: tifffile.TiffPage, layout: Layout, as_stored: bool) -> Samples:
    """What the samples are. With ``as_stored`` places in a table of colours and values where 0 is white stay.

    Raises ``ValueError`` for colours that cannot be turned into RGB.
    """
    space = _colour_space(keyframe)
    axis, count = _samples_axis(keyframe, layout)
    if space == "PALETTE":
        if as_stored or not _is_of_colours(tiff, keyframe):
            return Samples(axis, only=0)
        table = _table(keyframe)
        return Samples(
            axis, only=0, finish=lambda plane: table[plane.astype(np.uint8)], dtype=table.dtype, colours=True
        )
    if space == "YCBCR" and count != 3:
        raise ValueError(f"colours stored as YCBCR in {count} samples are not supported: convert the file to RGB")
    if space in ("RGB", "YCBCR") and count >= 3 and axis is not None and layout.axes[axis] == "S":
        return _colours(tiff, keyframe, axis, count)
    is_turned = space == "MINISWHITE" and not as_stored and not _is_mask_of_python(keyframe)
    turned, note = _turned(keyframe) if is_turned else (None, "")
    if count == 1 or (count == 2 and _has_alpha(keyframe, 0)):
        return Samples(axis, only=0, finish=turned, note=note)
    letter = layout.axes[axis] if axis is not None else ""
    if letter == "S":
        letter = "Q" if "C" in layout.axes else "C"
    return Samples(axis, letter, finish=turned, note=note)


def _colour_space(keyframe: tifffile.TiffPage) -> str:
    try:
        space = tifffile.PHOTOMETRIC(keyframe.photometric).name
    except ValueError:
        space = f"kind {keyframe.photometric}"
    if space not in _READ:
        raise ValueError(f"colours stored as {space} are not supported: convert the file to RGB or grey")
    return space


def _samples_axis(keyframe: tifffile.TiffPage, layout: Layout) -> tuple[int | None, int]:
    """The axis of the samples of a pixel in the layout, if they have one, and their number."""
    separate, *_, together = keyframe.shaped
    if together > 1 and layout.shape[-1] == together:
        return len(layout.shape) - 1, together
    if separate > 1 and layout.inner_shape[:1] == (separate,):
        return layout.across, separate
    axis = layout.axes.find("S")
    return (None, 1) if axis < 0 else (axis, layout.shape[axis])


def _colours(tiff: tifffile.TiffFile, keyframe: tifffile.TiffPage, axis: int, count: int) -> Samples:
    if _is_stack_of_python(tiff, keyframe):
        return Samples(axis, "Q")
    note = ""
    if count > 3 + _has_alpha(keyframe, 0):
        note = f"red, green and blue of {count} samples (--channel chooses)"
    if _colour_space(keyframe) == "YCBCR" and tifffile.COMPRESSION(keyframe.compression).name not in _DECODED_TO_RGB:
        return Samples(axis, finish=_from_ycbcr(keyframe), dtype=np.dtype(np.uint8))
    return Samples(axis, note=note)


def _has_alpha(keyframe: tifffile.TiffPage, place: int) -> bool:
    """Whether an extra sample is transparency."""
    extra = tuple(keyframe.extrasamples)
    return len(extra) > place and extra[place] in _ALPHA


def _is_stack_of_python(tiff: tifffile.TiffFile, keyframe: tifffile.TiffPage) -> bool:
    """Whether three or four planes are a stack that tifffile took for colour, as it does unless told otherwise."""
    if not tiff.is_shaped or keyframe.shaped[0] == 1:
        return False
    axes = json.loads(keyframe.shaped_description or "{}").get("axes", "") if keyframe.is_shaped else ""
    return "S" not in axes


def _is_of_colours(tiff: tifffile.TiffFile, keyframe: tifffile.TiffPage) -> bool:
    """Whether the table of colours belongs to the image; 16-bit values in colour are shown so, not meant so."""
    shown_only = any(getattr(tiff, flag) for flag in _PSEUDOCOLOUR)
    return not shown_only and keyframe.colormap is not None and keyframe.bitspersample <= 8


def _table(keyframe: tifffile.TiffPage) -> NDArray[np.uint8]:
    """(n, 3) RGB. Entries go to 65535, but some programs write them up to 255."""
    table: Array = np.asarray(keyframe.colormap).T
    table = table >> 8 if table.max() > 255 else table
    return np.pad(table, ((0, max(0, 256 - len(table))), (0, 0))).astype(np.uint8)


def _is_mask_of_python(keyframe: tifffile.TiffPage) -> bool:
    """Whether these are booleans of Python, of which tifffile says, unless told otherwise, that True is black."""
    return keyframe.bitspersample == 1 and keyframe.software.startswith("tifffile")


def _turned(keyframe: tifffile.TiffPage) -> tuple[Callable[[Array], Array], str]:
    """Of values where 0 is white: those of the same picture where 0 is black."""
    dtype, bits = np.dtype(keyframe.dtype), keyframe.bitspersample
    if dtype.kind == "b":
        return np.logical_not, "0 is white in the file: turned round"
    if dtype.kind == "u":
        white = dtype.type(2**bits - 1)
        return lambda plane: white - plane, f"0 is white in the file: values are turned to {white} minus the value"
    if dtype.kind == "i":
        return np.invert, "0 is white in the file: values are turned to -1 minus the value"
    return np.negative, "0 is white in the file: values are turned to their negatives"


def _from_ycbcr(keyframe: tifffile.TiffPage) -> Callable[[Array], Array]:
    """To RGB as the TIFF standard has it, from 8-bit samples of full resolution."""
    if keyframe.bitspersample != 8 or keyframe.is_subsampled:
        raise ValueError("colours stored as YCBCR are not supported in this compression: convert the file to RGB")
    red, green, blue = _fractions(keyframe, "YCbCrCoefficients", (0.299, 0.587, 0.114))
    reference = np.reshape(_fractions(keyframe, "ReferenceBlackWhite", (0, 255, 128, 255, 128, 255)), (3, 2))

    def convert(plane: Array) -> Array:
        spans = np.array([255, 127, 127]) / (reference[:, 1] - reference[:, 0])
        luma, cb, cr = np.moveaxis((plane - reference[:, 0]) * spans, -1, 0)
        r, b = luma + cr * (2 - 2 * red), luma + cb * (2 - 2 * blue)
        g = (luma - red * r - blue * b) / green
        return np.stack([r, g, b], axis=-1).round().clip(0, 255).astype(np.uint8)

    return convert


def _fractions(keyframe: tifffile.TiffPage, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    value = keyframe.tags.valueof(name)
    if value is None:
        return default
    return tuple(above / below for above, below in zip(value[::2], value[1::2], strict=True))
