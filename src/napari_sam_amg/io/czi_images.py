"""Zeiss' CZI files, by the package czifile, plane by plane, each put together from its blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.io.frames import Frames, in_words, library
from napari_sam_amg.io.ngff import MICROMETRE, Spacing
from napari_sam_amg.io.raw_image import RawImage, check_series

_ORDER = "BHIRVTZC"  # of the axes of a stack: block, phase, illumination, rotation, view, time, z, channel
_KNOWN = "TZC"
_ZSTD, _ZSTD_WITH_HEADER = 5, 6  # compressions that czifile does not know
_METRE = 1e6  # micrometres


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a plane."""

    entry: Any  # czifile's
    at: dict[str, int]  # position along every axis; along X and Y that of its corner
    size: dict[str, int]
    tile: int  # later ones lie on top


@contextmanager
def open_czi(path: Path, series: int | None = None) -> Iterator[RawImage]:
    """One scene of a file, open as long as the context is. ``series``: which, the first by default.

    Raises ``ValueError`` or ``OSError`` for a file that cannot be read, or if the package czifile is missing.
    """
    czifile = library("czifile", "czi", "CZI")
    with in_words("the CZI file is damaged"):
        file = czifile.CziFile(str(path), multifile=False)
    with file:
        with in_words("the CZI file is damaged"):
            # those that are stored smaller than they are belong to coarser levels
            blocks = [_block(entry) for entry in file.subblock_directory if entry.shape == entry.stored_shape]
        if not blocks:
            raise ValueError("the CZI file holds no image")
        scenes = sorted({block.at.get("S", 0) for block in blocks})
        check_series(series, len(scenes))
        with in_words("the CZI file is damaged"):
            raw = _raw(file, [block for block in blocks if block.at.get("S", 0) == scenes[series or 0]])
        note = f"series 0 of 0..{len(scenes) - 1} (--series chooses)"
        yield replace(raw, images=len(scenes), note=note if series is None and len(scenes) > 1 else "")


def _raw(file: Any, chosen: list[Block]) -> RawImage:
    first = {axis: min(block.at.get(axis, 0) for block in chosen) for axis in _ORDER + "YX"}
    ends = {axis: max(block.at.get(axis, 0) + block.size.get(axis, 1) for block in chosen) for axis in first}
    lengths = {axis: ends[axis] - first[axis] for axis in first}
    leading = [axis for axis in _ORDER if lengths[axis] > 1]
    samples = chosen[0].entry.shape[-1]
    shape = (*(lengths[axis] for axis in (*leading, "Y", "X")), *((samples,) if samples > 1 else ()))
    dtype = np.result_type(*{np.dtype(block.entry.dtype).base for block in chosen})
    by_place: dict[tuple[int, ...], list[Block]] = {}
    for block in sorted(chosen, key=lambda block: block.tile):
        by_place.setdefault(tuple(block.at.get(axis, 0) - first[axis] for axis in leading), []).append(block)

    def read(index: tuple[int, ...]) -> NDArray[Any]:
        if index not in by_place:
            raise ValueError("it is not in the file")
        plane = np.zeros(shape[len(leading) :], dtype)
        for block in by_place[index]:
            top, left = block.at["Y"] - first["Y"], block.at["X"] - first["X"]
            plane[top : top + block.size["Y"], left : left + block.size["X"]] = _pixels(block.entry, plane.ndim)
        return plane

    stated, channels = _described(file.metadata())
    letters = "".join(axis if axis in _KNOWN else "Q" for axis in leading)
    frames = Frames(read, shape, dtype, in_colour=samples > 1)
    return RawImage(frames, letters + "YX" + "S" * (samples > 1), stated=stated, channels=channels)


def _block(entry: Any) -> Block:
    at = {dimension.dimension: int(dimension.start) for dimension in entry.dimension_entries}
    size = {dimension.dimension: int(dimension.size) for dimension in entry.dimension_entries}
    if any(length != 1 for axis, length in size.items() if axis not in "YX"):
        raise ValueError(f"blocks of axes {entry.axes} and shape {entry.shape} are not supported")
    return Block(entry, at, size, at.get("M", 0))


def _pixels(entry: Any, ndim: int) -> NDArray[Any]:
    """(Y, X), or (Y, X, 3 or 4) as red, green, blue."""
    segment = entry.data_segment()
    if entry.compression in (_ZSTD, _ZSTD_WITH_HEADER):
        pixels = _zstd(segment.data(raw=True), entry).reshape(entry.stored_shape)
        if pixels.shape[-1] in (3, 4):
            pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]
    else:
        pixels = np.asarray(segment.data(resize=False))
    height, width, samples = pixels.shape[-3:]
    return pixels.reshape((height, width, samples) if ndim == 3 else (height, width))


def _zstd(data: bytes, entry: Any) -> NDArray[Any]:
    """As ZEN packs since 2021: with a header that may say that all low bytes come before all high ones."""
    dtype = np.dtype(entry.dtype).base
    if entry.compression == _ZSTD:
        return np.frombuffer(imagecodecs.zstd_decode(data), dtype)
    length = data[0]
    unpacked = np.frombuffer(imagecodecs.zstd_decode(data[length:]), np.uint8)
    if length >= 3 and data[1] == 1 and data[2] & 1:
        unpacked = unpacked.reshape(2, -1).T.ravel()
    return unpacked.view(dtype)


def _described(xml: str | None) -> tuple[dict[str, Spacing], tuple[str, ...]]:
    """Sizes and names of channels; nothing from XML that is none."""
    try:
        root = ElementTree.fromstring(xml or "")
    except ElementTree.ParseError:
        return {}, ()
    found = {}
    for distance in root.iterfind("./Metadata/Scaling/Items/Distance"):
        length = _positive(distance.findtext("Value"))
        if length and distance.get("Id") in ("X", "Y", "Z"):
            found[distance.get("Id", "")] = Spacing(length * _METRE, MICROMETRE)
    dimensions = "./Metadata/Information/Image/Dimensions/"
    interval = _positive(root.findtext(dimensions + "T/Positions/Interval/Increment"))
    if interval:
        found["T"] = Spacing(interval, "second")
    return found, _names([channel.get("Name") for channel in root.iterfind(dimensions + "Channels/Channel")])


def _names(names: Sequence[str | None]) -> tuple[str, ...]:
    known = tuple(name for name in names if name)
    return known if len(known) == len(names) else ()


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 and isfinite(value) else None
