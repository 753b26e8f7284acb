"""TIFF files plane by plane, so that a stack may be larger than memory. tifffile finds the pages and decodes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam_amg.io.ome_files import own_part
from napari_sam_amg.io.pixel_size import channel_names, tiff_pixel_size, tiff_spacings, tiff_z_spacing
from napari_sam_amg.io.raw_image import RawImage, check_series
from napari_sam_amg.io.tiff_colours import find_samples
from napari_sam_amg.io.tiff_layout import Layout, find_layout, imagej_series, join_layouts
from napari_sam_amg.io.tiff_log import TiffLog
from napari_sam_amg.io.tiff_lsm import two_channels_spared
from napari_sam_amg.io.tiff_pages import WITHOUT_OWN_TAGS, TiffPlanes
from napari_sam_amg.io.watched import FileState

_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType
#: Switches off what tifffile reads from descriptions, so that it lists pages by what they are.
_PLAIN = {
    f"is_{kind}": False
    for kind in ("shaped", "imagej", "ome", "mmstack", "ndtiff", "uniform", "scanimage", "lsm", "stk")
}


@contextmanager
def open_tiff(path: Path, series: int | None = None, as_stored: bool = False) -> Iterator[RawImage]:
    """One image or stack of a TIFF file, open as long as the context is.

    ``series``, counted from 0: which one of several; else the largest that is no thumbnail, the first of equals.
    ``as_stored``: places in a table of colours stay, and values where 0 is white, as label images need it.
    Of an OME file that belongs to a set of files, the planes in this one file. Raises ``ValueError`` or ``OSError``
    for a file that cannot be read; so does the reading of a plane, for this plane.
    """
    with TiffLog() as log, two_channels_spared():
        tiff, notes = _open(path)
        with tiff:
            with _in_words(), np.errstate(all="ignore"):
                image, layout, choice = _choose(tiff, series)
                raw = _raw_image(tiff, image, layout, as_stored)
            lost = tiff.is_ome and image.kind != "ome" and not any(notes) and not log.notes
            notes += [choice, layout.note, raw.note, *log.notes, "its description does not fit its pages" * lost]
            yield replace(raw, note=", ".join(dict.fromkeys(note for note in notes if note)))


@contextmanager
def _in_words() -> Iterator[None]:
    """tifffile takes a file at its word: a damaged or mislabelled one raises anything, and late."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if type(error) is ValueError:  # of this program
            raise
        raise ValueError(f"the TIFF file is damaged: {error or type(error).__name__}") from error


def _open(path: Path) -> tuple[tifffile.TiffFile, list[str]]:
    """The file with its list of series, and what is to be said about it."""
    try:
        with np.errstate(all="ignore"), tifffile.TiffFile(path, _multifile=False) as tiff:
            part, note = own_part(tiff.ome_metadata or "", path.name, tiff.filehandle.size) if tiff.is_ome else ("", "")
        return _with_series(path, {"omexml": part} if part else {}), [note]
    except OSError:
        raise
    except Exception as error:  # a damaged or mislabelled file raises anything
        reason = error
    try:
        return _with_series(path, _PLAIN), [f"its description cannot be read: {reason}"]
    except OSError:
        raise
    except Exception:
        raise ValueError(f"the TIFF file is damaged or cut short: {reason}") from reason


def _with_series(path: Path, options: dict[str, Any]) -> tifffile.TiffFile:
    with np.errstate(all="ignore"):  # MetaMorph writes 0 / 0 where it knows nothing
        tiff = tifffile.TiffFile(path, _multifile=False, **options)
    try:
        # tifffile takes every second page of an LSM file for a thumbnail, whatever it is
        if tiff.is_lsm and not (len(tiff.pages) > 1 and tiff.pages[1].aspage().is_reduced):
            raise ValueError("no thumbnail follows its first page, as Zeiss has it")
        if not tiff.series:
            raise ValueError("no image was found in it")
        for series in tiff.series:
            if prod(series.shape) > tiff.filehandle.size * max(1, series.keyframe.size):
                raise ValueError(f"it names planes of shape {series.shape}, more than the file has bytes")
    except BaseException:
        tiff.close()
        raise
    return tiff


def _choose(tiff: tifffile.TiffFile, number: int | None) -> tuple[tifffile.TiffPageSeries, Layout, str]:
    """The series that is asked for, or the main one; where its planes are; and what is to be said about the choice."""
    groups = _alike(tiff)
    check_series(number, len(groups))
    images = [position for position, group in enumerate(groups) if not _is_minor(group[0])] or range(len(groups))
    largest = max(images, key=lambda position: _plane_area(groups[position][0]))
    chosen = largest if number is None else number
    note = f"series {chosen} of 0..{len(groups) - 1} (--series chooses)"
    is_plain = number is not None or (len(images) == 1 and chosen == 0)
    layouts = [find_layout(tiff, series) for series in groups[chosen]]
    return groups[chosen][0], join_layouts(layouts), "" if is_plain else note


def _alike(tiff: tifffile.TiffFile) -> list[list[tifffile.TiffPageSeries]]:
    """The series of a file; those together that are one stack, of which frame after frame was appended."""
    if tiff.is_imagej and tiff.series[0].kind != "imagej":
        promised = imagej_series(tiff)
        if promised is not None:
            return [[promised]]
    groups: dict[Any, list[tifffile.TiffPageSeries]] = {}
    for number, series in enumerate(tiff.series):
        page = series.keyframe
        is_joined = series.kind in ("shaped", "generic", "uniform") and not _is_minor(series) and not page.is_subifd
        key = (page.shape, page.dtype, page.photometric, page.extrasamples) if is_joined else number
        groups.setdefault(key, []).append(series)
    return list(groups.values())


def _is_minor(series: tifffile.TiffPageSeries) -> bool:
    """Whether the file says that it is a smaller version of another image, or a mask of it."""
    return bool(series.keyframe.subfiletype & (_REDUCED | _MASK))


def _plane_area(series: tifffile.TiffPageSeries) -> int:
    return int(series.keyframe.imagelength * series.keyframe.imagewidth)


def _raw_image(tiff: tifffile.TiffFile, image: tifffile.TiffPageSeries, layout: Layout, as_stored: bool) -> RawImage:
    keyframe = image.keyframe
    if keyframe.dtype is None:
        raise ValueError(f"pixels of {keyframe.bitspersample} bits in format {keyframe.sampleformat} are not supported")
    if int(keyframe.compression) not in list(tifffile.COMPRESSION):
        raise ValueError(
            f"compression {int(keyframe.compression)} is not known: save the file anew, with LZW or deflate"
        )
    if keyframe.bitspersample == 24 and keyframe.dtype.kind in "ui" and tiff.byteorder == ">":
        raise ValueError("integers of 24 bits in big-endian order are not supported: decoders swap their bytes")
    if not {"Y", "X"} <= set(layout.axes):
        raise ValueError(f"a TIFF series with axes {layout.axes!r} has no image plane: Y and X are needed")
    samples = find_samples(tiff, keyframe, layout, as_stored)
    letters = list(layout.axes)
    picked: list[int | slice | None] = [None] * len(letters)
    plane_axes = [letters.index("Y"), letters.index("X")]
    if samples.axis is not None:
        letters[samples.axis] = samples.letter
        if samples.letter == "S":
            picked[samples.axis] = slice(None) if samples.only is None else samples.only
            plane_axes += [samples.axis] * (samples.only is None)
    for axis in plane_axes[:2]:
        picked[axis] = slice(None)
    order = [axis for axis, pick in enumerate(picked) if pick is None] + plane_axes
    shape = tuple(layout.shape[axis] for axis in order) + (3,) * samples.colours
    planes = TiffPlanes(
        layout,
        FileState.of(tiff.filehandle.fileno()),
        tuple(picked),
        tuple(plane_axes),
        tuple(function for function in (image.transform, samples.finish) if function is not None),
        shape,
        np.dtype(samples.dtype or image.dtype),
        image.kind not in WITHOUT_OWN_TAGS,
    )
    planes.check_large(tiff.filehandle.size)
    axes = "".join(letters[axis] for axis in order) + "S" * samples.colours
    return RawImage(
        planes,
        axes,
        tiff_pixel_size(tiff, image),
        tiff_z_spacing(tiff, image),
        stated=tiff_spacings(tiff, image),
        channels=channel_names(tiff, image),
        note=samples.note,
        compression=tifffile.COMPRESSION(keyframe.compression).name,
        read_at_once=0 if keyframe.is_final else int(keyframe.nbytes),
    )
