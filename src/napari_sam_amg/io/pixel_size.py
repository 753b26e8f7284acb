"""The size of a pixel in micrometres, where a TIFF file states it in a way that can be trusted."""

from typing import Any

import tifffile

_MICROMETRES = {
    "pm": 1e-6, "Å": 1e-4, "angstrom": 1e-4, "nm": 1e-3, "nanometer": 1e-3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "\\u00b5m": 1.0,
    "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6,
}  # fmt: skip
_RESOLUTION_UNITS = {2: 25_400.0, 3: 10_000.0}  # TIFF's inch and centimetre

#: Resolution tags coarser than this are a printer's (2540 dpi and fewer), not a microscope's.
_PRINTED = 10.0  # micrometres

PixelSize = tuple[float, float]


def tiff_pixel_size(tiff: tifffile.TiffFile) -> PixelSize | None:
    """(y, x) in micrometres from OME or ImageJ metadata or the resolution tags; None if unknown."""
    if tiff.is_ome:
        return _from_ome(tiff.ome_metadata or "")
    if tiff.is_imagej:
        return _from_imagej(tiff)
    page = tiff.pages.first
    size = _from_density(page, _RESOLUTION_UNITS.get(int(page.resolutionunit)))
    return size if size is not None and max(size) < _PRINTED else None


def _from_ome(xml: str) -> PixelSize | None:
    try:
        image: Any = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        y, x = (
            float(pixels[f"PhysicalSize{axis}"]) * _micrometres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "YX"
        )
    except (KeyError, TypeError, ValueError, SyntaxError):  # no size given, or XML that is none
        return None
    return _plausible(y, x)


def _from_imagej(tiff: tifffile.TiffFile) -> PixelSize | None:
    unit = str((tiff.imagej_metadata or {}).get("unit", ""))
    try:
        return _from_density(tiff.pages.first, _micrometres(unit))
    except KeyError:  # pixels, inches of a printer, or no unit
        return None


def _micrometres(unit: str) -> float:
    return _MICROMETRES[unit if unit == "Å" else unit.strip().lower()]


def _from_density(page: Any, unit: float | None) -> PixelSize | None:
    """Pixel size from pixels per ``unit`` (micrometres), as the tags XResolution and YResolution have it."""
    if unit is None or "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None
    x, y = page.get_resolution()
    return _plausible(unit / y, unit / x) if x > 0 and y > 0 else None


def _plausible(y: float, x: float) -> PixelSize | None:
    return (y, x) if 0 < y < float("inf") and 0 < x < float("inf") else None
