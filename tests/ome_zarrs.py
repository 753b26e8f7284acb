"""OME-Zarr images as the library of their authors writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ome_zarr.format import format_from_version
from ome_zarr.writer import write_image

from tests.disc_model import disc_image

SCALE = {"t": 30.0, "c": 1.0, "z": 2000.0, "y": 500.0, "x": 250.0}
UNITS = {"t": "second", "z": "nanometer", "y": "nanometer", "x": "nanometer"}
STACK = np.stack([[disc_image([(12, 20 + 10 * z)], 6, (40, 64)) for z in range(3)] for _ in range(2)])  # (2, 3, 40, 64)


def write(path: Path, data: Any = STACK, axes: str = "czyx", version: str = "0.5", **options: Any) -> Path:
    fmt = format_from_version(version)
    group = zarr.open_group(path, mode="a", zarr_format=fmt.zarr_format)
    units = {axis: unit for axis, unit in UNITS.items() if axis in axes}
    scale = {axis: SCALE.get(axis, 1.0) for axis in axes}
    write_image(data, group, axes=axes, fmt=fmt, scale_factors=[2], scale=scale, axes_units=units, **options)
    return path
