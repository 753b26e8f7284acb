"""Nikon's ND2 files, by the package nd2, plane by plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.io.frames import Frames, in_words, library
from napari_sam_amg.io.ngff import MICROMETRE, Spacing
from napari_sam_amg.io.raw_image import RawImage, check_series

_IN_FRAME = "CYXS"  # axes that a frame of the file holds together
_KNOWN = "TZCYXS"


@contextmanager
def open_nd2(path: Path, series: int | None = None) -> Iterator[RawImage]:
    """The stack at one position of the stage, open as long as the context is. ``series``: which, the first by default.

    Raises ``ValueError`` or ``OSError`` for a file that cannot be read, or if the package nd2 is missing.
    """
    nd2 = library("nd2", "nd2", "ND2")
    with in_words("the ND2 file is damaged"):
        file = nd2.ND2File(path)
    with file:
        with in_words("the ND2 file is damaged"):
            sizes = {str(axis): int(length) for axis, length in file.sizes.items()}
        check_series(series, sizes.get("P", 1))
        with in_words("the ND2 file is damaged"):
            raw = _raw(file, sizes, series)
        yield raw


def _raw(file: Any, sizes: dict[str, int], series: int | None) -> RawImage:
    loops = [axis for axis in sizes if axis not in _IN_FRAME]
    inside = [axis for axis in sizes if axis in _IN_FRAME]
    positions = sizes.get("P", 1)
    kept = [axis for axis in sizes if axis != "P"]
    leading = [axis for axis in kept if axis not in "YXS"]

    def read(index: tuple[int, ...]) -> NDArray[Any]:
        at = dict(zip(leading, index, strict=True)) | {"P": series or 0}
        number = (
            int(np.ravel_multi_index([at[axis] for axis in loops], [sizes[axis] for axis in loops])) if loops else 0
        )
        frame = np.asarray(file.read_frame(number)).reshape([sizes[axis] for axis in inside])
        return (frame[at["C"]] if "C" in inside else frame).copy()  # it is a view of the file in memory

    order = [*leading, "Y", "X", *(["S"] if "S" in sizes else [])]
    note = f"series 0 of 0..{positions - 1} (--series chooses)" if series is None and positions > 1 else ""
    return RawImage(
        Frames(read, tuple(sizes[axis] for axis in order), np.dtype(file.dtype), in_colour="S" in sizes),
        "".join(axis if axis in _KNOWN else "Q" for axis in order),
        stated=_spacings(file, sizes),
        channels=tuple(channel.channel.name for channel in getattr(file.metadata, "channels", None) or ()),
        images=positions,
        note=note,
        read_at_once=int(np.prod([sizes[axis] for axis in inside])) * np.dtype(file.dtype).itemsize,
    )


def _spacings(file: Any, sizes: dict[str, int]) -> dict[str, Spacing]:
    """Of pixels where the file is calibrated; of planes in z, and of times, where it has several."""
    voxel, found = file.voxel_size(), {}
    channels = getattr(file.metadata, "channels", None) or ()
    calibrated = channels[0].volume.axesCalibrated if channels else (True, True, True)
    for axis, length, is_known in zip("XYZ", (voxel.x, voxel.y, voxel.z), calibrated, strict=True):
        if is_known and length > 0 and (axis != "Z" or "Z" in sizes):
            found[axis] = Spacing(float(length), MICROMETRE)
    for loop in file.experiment or ():
        interval = _interval(loop.parameters)
        if loop.type in ("TimeLoop", "NETimeLoop") and interval:
            found["T"] = Spacing(interval / 1000, "second")
    return found


def _interval(parameters: Any) -> float:
    """Milliseconds from one point in time to the next, as it was measured, or as it was asked for; 0 if unknown."""
    periods = getattr(parameters, "periods", None) or [parameters]
    measured = getattr(getattr(periods[0], "periodDiff", None), "avg", 0) or 0
    return float(measured or getattr(periods[0], "periodMs", 0) or 0) if len(periods) == 1 else 0.0
