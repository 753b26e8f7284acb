"""Leica's LIF files, by the package liffile, plane by plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.io.frames import Frames, in_words, library
from napari_sam_amg.io.ngff import MICROMETRE, Spacing
from napari_sam_amg.io.raw_image import RawImage, check_series

_SPACE, _TIME = "XYZ", "T"
_KNOWN = "TZCYXS"
_METRE = 1e6  # micrometres


@contextmanager
def open_lif(path: Path, series: int | None = None) -> Iterator[RawImage]:
    """One image of a file, open as long as the context is. ``series``: which, else the one of most pixels a plane.

    Raises ``ValueError`` or ``OSError`` for a file that cannot be read, or if the package liffile is missing.
    """
    liffile = library("liffile", "lif", "LIF")
    with in_words("the LIF file is damaged"):
        file = liffile.LifFile(path)
    with file:
        with in_words("the LIF file is damaged"):
            images = list(file.images)
            sizes = [prod(image.frames.frame_shape) for image in images]
        if not images:
            raise ValueError("the LIF file holds no image")
        check_series(series, len(images))
        with in_words("the LIF file is damaged"):
            chosen = sizes.index(max(sizes)) if series is None else series
            raw = _raw(images[chosen])
        note = f"series {chosen} ({images[chosen].name}) of 0..{len(images) - 1} (--series chooses)"
        yield replace(raw, images=len(images), note=note if series is None and len(images) > 1 else "")


def _raw(image: Any) -> RawImage:
    frames = image.frames
    if len([axis for axis in frames.frame_dims if axis != "S"]) != 2:
        raise ValueError(f"an image with axes {', '.join(frames.frame_dims)} has no planes")

    def read(index: tuple[int, ...]) -> NDArray[Any]:
        return np.asarray(frames[index] if index else frames[0])

    axes = [str(axis) if axis in tuple(_KNOWN) else "Q" for axis in frames.dims]
    return RawImage(
        Frames(read, tuple(frames.shape), np.dtype(image.dtype), in_colour=axes[-1] == "S"),
        "".join(axis if axes.index(axis) == place else "Q" for place, axis in enumerate(axes)),
        stated=_spacings(image),
    )


def _spacings(image: Any) -> dict[str, Spacing]:
    """Lengths in micrometres, of which a stack downwards has negative ones; times in seconds."""
    found = {}
    for axis, places in image.coords.items():
        step = abs(float(places[-1] - places[0])) / max(1, len(places) - 1)
        if step and np.isfinite(step):
            if axis in tuple(_SPACE):
                found[axis] = Spacing(step * _METRE, MICROMETRE)
            elif axis == _TIME:
                found[axis] = Spacing(step, "second")
    return found
