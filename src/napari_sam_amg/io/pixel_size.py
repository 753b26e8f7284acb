"""The size of a pixel, and from plane to plane, in micrometres, where a TIFF file states it in a way to be trusted."""

import math
import re
from collections.abc import Mapping
from typing import Any

import tifffile

from napari_sam_amg.io.ngff import MICROMETRE, Spacing

_POWERS = {"": 1e6, "c": 1e4, "m": 1e3, "u": 1.0, "n": 1e-3, "p": 1e-6, "k": 1e9}  # micrometres in a (prefix) metre
_NAMES = {"": "", "centi": "c", "milli": "m", "micro": "u", "nano": "n", "pico": "p", "kilo": "k"}
_OTHERS = {
    "u": 1.0,
    "å": 1e-4,
    "angstrom": 1e-4,
    "ångström": 1e-4,
    "micron": 1.0,
    "inch": 25_400.0,
    "in": 25_400.0,
    '"': 25_400.0,
}
#: Units of length that OME-NGFF knows, by their micrometres, and OME's of time, with those of OME-NGFF.
_LENGTHS = {
    1.0: MICROMETRE, 1e-3: "nanometer", 1e-6: "picometer", 1e-4: "angstrom", 1e3: "millimeter", 1e4: "centimeter",
    1e6: "meter", 25_400.0: "inch",
}  # fmt: skip
_OME_TIMES = {
    "s": "second", "ms": "millisecond", "µs": "microsecond", "ns": "nanosecond", "min": "minute", "h": "hour",
    "d": "day",
}  # fmt: skip
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "um"}  # the last two are not in the standard, but written

_LSM_TAG = 34412

#: Resolution tags coarser than this are a printer's (2540 dpi and fewer), not a microscope's.
_PRINTED = 10.0  # micrometres

PixelSize = tuple[float, float]


def tiff_pixel_size(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries | None = None) -> PixelSize | None:
    """(y, x) in micrometres of a series, the first by default; None if unknown.

    From OME, ImageJ, LSM, MetaMorph or Aperio metadata or the resolution tags.
    """
    series = series or tiff.series[0]
    page = series.keyframe
    if tiff.is_ome:
        y, x, _ = _ome_sizes(tiff, series)
        return _plausible(y, x)
    if tiff.is_imagej:
        return _from_density(page, _imagej_unit(tiff))
    if _is_lsm(tiff) or tiff.is_stk:
        y, x, _ = _lsm_sizes(tiff) if _is_lsm(tiff) else _stk_sizes(tiff)
        return _plausible(y, x)
    if tiff.is_svs and (stated := re.search(r"\bMPP *= *([\d.]+)", page.description)):
        return _plausible(float(stated[1]), float(stated[1]))
    size = _from_density(page, micrometres(_RESOLUTION_UNITS.get(int(page.resolutionunit), "")))
    return size if size is not None and max(size) < _PRINTED else None


def tiff_z_spacing(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries | None = None) -> float | None:
    """Micrometres from plane to plane along Z, from OME, ImageJ, LSM or MetaMorph metadata; None if unknown."""
    z = None
    if tiff.is_ome:
        z = _ome_sizes(tiff, series or tiff.series[0])[2]
    elif tiff.is_imagej:
        z = _product((tiff.imagej_metadata or {}).get("spacing"), _imagej_unit(tiff))
    elif _is_lsm(tiff) or tiff.is_stk:
        z = (_lsm_sizes(tiff) if _is_lsm(tiff) else _stk_sizes(tiff))[2]
    else:
        described = _shaped_metadata(tiff)
        z = _product(described.get("spacing"), micrometres(str(described.get("unit", ""))))
    return abs(z) if z is not None and 0 < abs(z) < math.inf else None  # ImageJ counts downwards with a minus


def micrometres(unit: str) -> float | None:
    """How many micrometres a unit of length is, however it is spelt; None if it is none."""
    text = unit.strip().replace("\\u00b5", "u").replace("\\u00B5", "u").replace("\\u03bc", "u").strip(".")
    text = text.replace("µ", "u").replace("μ", "u").replace("Âu", "u")
    short = re.fullmatch(r"([cmunpk]?)m", text)
    if short:
        return _POWERS[short[1]]
    words = text.lower()
    words = words.removesuffix("es") if words == "inches" else words.removesuffix("s")
    named = re.fullmatch(r"(|centi|milli|micro|nano|pico|kilo)met(?:er|re)", words)
    if named:
        return _POWERS[_NAMES[named[1]]]
    short = re.fullmatch(r"([cmunp])m", words)  # UM, Nm
    return _POWERS[short[1]] if short else _OTHERS.get(words)


def tiff_spacings(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> dict[str, Spacing]:
    """Along X, Y, Z and T, by letter and in the file's own units, what OME or ImageJ metadata say."""
    if tiff.is_ome:
        pixels = _ome_pixels(tiff, series)
        sizes = {axis: _ome_spacing(pixels, f"PhysicalSize{axis}", "µm") for axis in "XYZ"}
        return _known(sizes | {"T": _ome_spacing(pixels, "TimeIncrement", "s")})
    z = tiff_z_spacing(tiff, series)
    described = tiff.imagej_metadata if tiff.is_imagej else _shaped_metadata(tiff)
    interval = _product((described or {}).get("finterval"), 1.0)
    return _known(
        {
            "Z": None if z is None else Spacing(z, MICROMETRE),
            "T": None if interval is None else Spacing(interval, "second"),
        }
    )


def _known(spacings: Mapping[str, Spacing | None]) -> dict[str, Spacing]:
    return {axis: known for axis, known in spacings.items() if known is not None and 0 < known.length < math.inf}


def _ome_spacing(pixels: Mapping[str, Any], name: str, usual: str) -> Spacing | None:
    """A length or a time as OME has it; micrometres and seconds in place of units that OME-NGFF does not know."""
    text = str(pixels.get(f"{name}Unit", usual))
    length = _product(pixels.get(name), 1.0)
    if length is None:
        return None
    if name == "TimeIncrement":
        return Spacing(length, _OME_TIMES[text]) if text in _OME_TIMES else None
    unit = micrometres(text)
    if unit is None:
        return None
    return Spacing(length, _LENGTHS[unit]) if unit in _LENGTHS else Spacing(length * unit, MICROMETRE)


def channel_names(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Of an OME-TIFF; empty unless all have one."""
    channels: Any = _ome_pixels(tiff, series).get("Channel", []) if tiff.is_ome else []
    names = [str(channel.get("Name") or "") for channel in (channels if isinstance(channels, list) else [channels])]
    return tuple(names) if all(names) else ()


def _shaped_metadata(tiff: tifffile.TiffFile) -> Mapping[str, Any]:
    """What tifffile wrote with an array."""
    found = tiff.shaped_metadata
    return found[0] if found and isinstance(found[0], Mapping) else {}


Sizes = tuple[float | None, float | None, float | None]  # y, x, z


def _ome_pixels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Mapping[str, Any]:
    """The element Pixels that describes a series; empty if there is none."""
    try:
        images: Any = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]
        images = images if isinstance(images, list) else [images]
        position = tiff.series.index(series)
        pixels = images[position if len(images) == len(tiff.series) else 0]["Pixels"]
    except (KeyError, TypeError, ValueError, SyntaxError):  # no image described, or XML that is none
        return {}
    return pixels if isinstance(pixels, Mapping) else {}


def _ome_sizes(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Sizes:
    pixels = _ome_pixels(tiff, series)
    y, x, z = (
        _product(pixels.get(f"PhysicalSize{axis}"), micrometres(str(pixels.get(f"PhysicalSize{axis}Unit", "um"))))
        for axis in "YXZ"
    )
    return y, x, z


def _imagej_unit(tiff: tifffile.TiffFile) -> float | None:
    """Micrometres; not of inches, in which ImageJ keeps what printers and cameras wrote."""
    metadata = tiff.imagej_metadata or {}
    unit = metadata.get("unit", "")
    found = micrometres(str(unit))
    return None if found == _OTHERS["inch"] else found


def _is_lsm(tiff: tifffile.TiffFile) -> bool:
    """Whether it is Zeiss's, also where tifffile was told to list the pages as they are."""
    return bool(tiff.pages.first.is_lsm)


def _lsm_sizes(tiff: tifffile.TiffFile) -> Sizes:
    metadata = tiff.pages.first.tags.valueof(_LSM_TAG)
    metadata = metadata if isinstance(metadata, Mapping) else {}
    y, x, z = (_product(metadata.get(f"VoxelSize{axis}"), 1e6) for axis in "YXZ")  # in metres
    return y, x, z


def _stk_sizes(tiff: tifffile.TiffFile) -> Sizes:
    """MetaMorph: a plane each has its distance from the next."""
    metadata: Mapping[str, Any] = tiff.stk_metadata or {}
    unit = micrometres(str(metadata.get("CalibrationUnits", "")))
    distances = metadata.get("ZDistance")
    z = distances[0] if distances is not None and len(distances) else None
    y, x = (_product(metadata.get(f"{axis}Calibration"), unit) for axis in "YX")
    return y, x, _product(z, unit)


def _product(value: Any, unit: float | None) -> float | None:
    try:
        return None if value is None or unit is None else float(value) * unit
    except (TypeError, ValueError):  # text in place of a number
        return None


def _from_density(page: tifffile.TiffPage, unit: float | None) -> PixelSize | None:
    """Pixel size from pixels per ``unit`` (micrometres), as the tags XResolution and YResolution have it."""
    sizes = []
    for name in ("YResolution", "XResolution"):
        try:
            pixels, units = page.tags.valueof(name)
            sizes.append(unit * units / pixels if unit is not None else None)
        except (TypeError, ValueError, ZeroDivisionError):  # no such tag, or 0 pixels
            return None
    return _plausible(*sizes)


def _plausible(y: float | None, x: float | None) -> PixelSize | None:
    if y is None or x is None:
        return None
    return (y, x) if 0 < y < math.inf and 0 < x < math.inf else None
