"""Labels as OME-TIFF, whatever their type and axes. Free of torch: napari exports layers with it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam_amg.io.saved_labels import SavedLabels, checked_plane

_KNOWN = "TZCYX"  # the axes that OME has
_BIGTIFF_ABOVE = 2**31  # bytes before compression


def write_ome_labels(path: Path, saved: SavedLabels, name: str) -> None:
    """uint16, or uint32 above 65535 labels, zlib-compressed, with pixel sizes and time intervals where they are known.

    Planes are read twice, one at a time. Raises ``ValueError`` for axes that OME does not have, and for labels that no
    image holds.
    """
    shape = tuple(int(length) for length in saved.labels.shape)
    if unknown := [axis for axis in saved.axes if axis not in _KNOWN]:
        raise ValueError(
            f"OME-TIFF has the axes T, Z, C, Y and X, and {len(unknown)} of these {len(shape)} have other names: "
            "name the axes of the layer"
        )
    indices = list(np.ndindex(shape[:-2]))
    highest = max((int(checked_plane(saved.labels, index).max(initial=0)) for index in indices), default=0)
    dtype = np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)
    with tifffile.TiffWriter(path, ome=True, bigtiff=math.prod(shape) * dtype.itemsize > _BIGTIFF_ABOVE) as writer:
        writer.write(
            (np.asarray(saved.labels[index]).astype(dtype) for index in indices),
            shape=shape, dtype=dtype, compression="zlib", photometric="minisblack", metadata=_metadata(saved, name),
        )  # fmt: skip


def _metadata(saved: SavedLabels, name: str) -> dict[str, Any]:
    y, x = saved.pixel_size or (None, None)
    sizes = {axis: size for axis, size in (("X", x), ("Y", y), ("Z", saved.z_spacing)) if size is not None}
    known = {f"PhysicalSize{axis}": size for axis, size in sizes.items()}
    has_times = "T" in saved.axes and saved.interval is not None
    times = {"TimeIncrement": saved.interval, "TimeIncrementUnit": "s"} if has_times else {}
    return {"axes": saved.axes, "Name": name} | known | {f"{size}Unit": "µm" for size in known} | times
