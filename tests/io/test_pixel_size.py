from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.io.pixel_size import tiff_pixel_size

PLANE = np.zeros((8, 9), np.uint16)


def ome(**sizes: Any) -> dict[str, Any]:
    return {"ome": True, "metadata": {"axes": "YX", **sizes}}


def imagej(unit: str, resolution: tuple[float, float] = (4, 2)) -> dict[str, Any]:
    return {"imagej": True, "metadata": {"axes": "YX", "unit": unit}, "resolution": resolution}


def tags(per_unit: float, unit: str) -> dict[str, Any]:
    return {"resolution": (per_unit, per_unit), "resolutionunit": unit}


CASES: dict[str, tuple[dict[str, Any], tuple[float, float] | None]] = {
    "ome": (ome(PhysicalSizeX=0.5, PhysicalSizeY=0.25), (0.25, 0.5)),
    "ome in nm": (
        ome(PhysicalSizeX=500, PhysicalSizeXUnit="nm", PhysicalSizeY=250, PhysicalSizeYUnit="nm"),
        (0.25, 0.5),
    ),
    "ome in pixels": (ome(PhysicalSizeX=1, PhysicalSizeXUnit="pixel", PhysicalSizeY=1), None),
    "ome without": (ome(), None),
    "ome with one": (ome(PhysicalSizeX=0.5), None),
    "imagej micron": (imagej("micron"), (0.5, 0.25)),
    "imagej um": (imagej("um"), (0.5, 0.25)),
    "imagej escaped": (imagej("\\u00B5m"), (0.5, 0.25)),
    "imagej mm": (imagej("mm", (4000, 2000)), (0.5, 0.25)),
    "imagej pixel": (imagej("pixel"), None),
    "imagej inch": (imagej("inch", (72, 72)), None),
    "tags": (tags(20_000, "CENTIMETER"), (0.5, 0.5)),
    "tags of a printer": (tags(300, "INCH"), None),
    "tags without a unit": (tags(20_000, "NONE"), None),
    "none": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), CASES.values(), ids=CASES)
def test_pixel_size(options: dict[str, Any], expected: tuple[float, float] | None, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff_pixel_size(tiff) == (expected if expected is None else pytest.approx(expected))
