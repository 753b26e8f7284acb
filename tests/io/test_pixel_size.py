from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.pixel_size import micrometres, tiff_pixel_size, tiff_z_spacing

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
    **{f"imagej {unit}": (imagej(unit), (0.5, 0.25)) for unit in (
        "micrometer", "micrometers", "Micrometre", "micrometres", "microns", "\\u03bcm", "u", "UM", "um "
    )},
    "imagej nanometers": (imagej("nanometers", (0.004, 0.002)), (0.5, 0.25)),
    "imagej centimetres": (imagej("centimetres", (40_000, 20_000)), (0.5, 0.25)),
    "imagej escaped": (imagej("\\u00B5m"), (0.5, 0.25)),
    "imagej mm": (imagej("mm", (4000, 2000)), (0.5, 0.25)),
    "imagej pixel": (imagej("pixel"), None),
    "imagej inch": (imagej("inch", (72, 72)), None),
    "tags": (tags(20_000, "CENTIMETER"), (0.5, 0.5)),
    "tags of a printer": (tags(300, "INCH"), None),
    "tags without a unit": (tags(20_000, "NONE"), None),
    "tags in millimetres": (tags(2_000, "MILLIMETER"), (0.5, 0.5)),
    "none": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), CASES.values(), ids=CASES)
def test_pixel_size(options: dict[str, Any], expected: tuple[float, float] | None, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff_pixel_size(tiff) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("unit", ["µm", "μm", "Âµm", "um", "\\u00B5m", "micron", "Micrometers", "micrometres", " µm."])
def test_micrometres_however_they_are_spelt(unit: str) -> None:
    assert micrometres(unit) == 1


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "reference frame", "s", "micro"])
def test_what_is_no_length(unit: str) -> None:
    assert micrometres(unit) is None


@pytest.mark.parametrize("resolution", [(1, 0), (0, 0), (0, 1)])
def test_a_resolution_that_is_no_number_is_none(resolution: tuple[int, int], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, imagej=True, metadata={"unit": "um"}, resolution=(4, 4))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["XResolution"].overwrite(resolution)
    with open_image(tmp_path / "a.tif") as source:
        assert source.raw.pixel_size is None


SPACINGS: dict[str, tuple[dict[str, Any], float | None]] = {
    "imagej": ({"imagej": True, "metadata": {"axes": "ZYX", "unit": "micrometers", "spacing": 2.5}}, 2.5),
    "imagej nm": ({"imagej": True, "metadata": {"axes": "ZYX", "unit": "nm", "spacing": 250}}, 0.25),
    "imagej downwards": ({"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": -2}}, 2),
    "imagej without a unit": ({"imagej": True, "metadata": {"axes": "ZYX", "spacing": 2.5}}, None),
    "imagej pixels": ({"imagej": True, "metadata": {"axes": "ZYX", "unit": "pixel", "spacing": 2.5}}, None),
    "imagej nan": ({"imagej": True, "metadata": {"axes": "ZYX", "unit": "um", "spacing": "nan"}}, None),
    "ome": ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 2}}, 2),
    "ome nm": ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 300, "PhysicalSizeZUnit": "nm"}}, 0.3),
    "ome frames": ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 2, "PhysicalSizeZUnit": "pixel"}}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize(("options", "expected"), SPACINGS.values(), ids=SPACINGS)
def test_spacing_of_planes(options: dict[str, Any], expected: float | None, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([PLANE] * 3), photometric="minisblack", **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff_z_spacing(tiff) == (expected if expected is None else pytest.approx(expected))


def test_sizes_are_those_of_the_image_that_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(PLANE, metadata={"Name": "small", "PhysicalSizeX": 9.0, "PhysicalSizeY": 9.0})
        writer.write(np.zeros((3, 20, 20), np.uint16), photometric="minisblack", metadata={
            "axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0})  # fmt: skip
    with open_image(tmp_path / "a.ome.tif") as source:
        assert source.raw.pixel_size == (0.25, 0.5)
        assert source.raw.z_spacing == 2
