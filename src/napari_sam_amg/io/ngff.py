"""What OME-NGFF says of an image: the metadata "multiscales", in versions 0.1 to 0.5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MICROMETRE = "micrometer"  # as OME-NGFF spells it
#: In a unit of time, as OME-NGFF spells it.
SECONDS = {
    "second": 1.0,
    "millisecond": 1e-3,
    "microsecond": 1e-6,
    "nanosecond": 1e-9,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}
_OLD_AXES = ("t", "c", "z", "y", "x")  # of versions that name none


@dataclass(frozen=True, slots=True)
class Spacing:
    """From one position to the next along an axis."""

    length: float
    unit: str  # as OME-NGFF spells it: "micrometer", "second"; empty if unknown
    origin: float = 0.0  # where the first position lies, in this unit


@dataclass(frozen=True, slots=True)
class Multiscale:
    """An image at several resolutions, the finest first."""

    version: str
    name: str
    axes: tuple[str, ...]  # names, as they are spelt
    types: tuple[str, ...]  # "space", "time", "channel" or others; empty if unknown
    units: tuple[str, ...]  # empty if unknown
    paths: tuple[str, ...]  # of the arrays, below the group
    scales: tuple[tuple[float, ...], ...]  # of each array, along each axis
    translations: tuple[tuple[float, ...], ...]
    channels: tuple[str, ...]  # their names; empty if none are given


def ome_attributes(group: Any) -> dict[str, Any]:
    """Of a zarr group: from 0.5 on they are below the key "ome"."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return dict(inner) if isinstance(inner, Mapping) else attributes


def read_multiscale(attributes: Mapping[str, Any]) -> Multiscale:
    """The first image that they describe. ``ValueError`` for metadata that do not hold together."""
    try:
        return _multiscale(attributes, attributes["multiscales"][0])
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"its OME-Zarr metadata cannot be read: {type(error).__name__}: {error}") from error


def _multiscale(attributes: Mapping[str, Any], image: Mapping[str, Any]) -> Multiscale:
    axes = [{"name": axis} if isinstance(axis, str) else axis for axis in image.get("axes", _OLD_AXES)]
    transforms = [_transform(dataset, image, len(axes)) for dataset in image["datasets"]]
    if not transforms:
        raise LookupError("datasets is empty")
    channels = [str(channel.get("label", "")) for channel in attributes.get("omero", {}).get("channels", ())]
    return Multiscale(
        str(attributes.get("version", image.get("version", "0.1"))),
        str(image.get("name") or ""),
        tuple(str(axis["name"]) for axis in axes),
        tuple(str(axis.get("type") or "") for axis in axes),
        tuple(str(axis.get("unit") or "") for axis in axes),
        tuple(str(dataset["path"]) for dataset in image["datasets"]),
        tuple(scale for scale, _ in transforms),
        tuple(translation for _, translation in transforms),
        tuple(channels) if all(channels) else (),
    )


def _transform(
    dataset: Mapping[str, Any], image: Mapping[str, Any], ndim: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of an array: its own, then those of all arrays."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    for step in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if step.get("type") == "scale":
            factors = [float(factor) for factor in step["scale"]]
            scale = [old * factor for old, factor in zip(scale, factors, strict=True)]
            translation = [old * factor for old, factor in zip(translation, factors, strict=True)]
        elif step.get("type") == "translation":
            moved = [float(distance) for distance in step["translation"]]
            translation = [old + distance for old, distance in zip(translation, moved, strict=True)]
    return tuple(scale), tuple(translation)
