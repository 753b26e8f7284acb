"""What OME-NGFF says of an image: the metadata "multiscales", in versions 0.1 to 0.5."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.checks import shown

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
_WITHOUT_AXES = ("0.1", "0.2")


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
    """The first image that they describe. ``ValueError`` names the field that is not as OME-NGFF has it."""
    images = tables(attributes, "multiscales")
    if not images:
        raise ValueError("its OME-Zarr metadata: multiscales is empty: it must hold an image")
    image, name = images[0], "multiscales[0]"
    version = str(attributes.get("version", image.get("version", "0.1")))
    axes = _axes(image, name, version)
    datasets = tables(image, "datasets", name)
    if not datasets:
        raise ValueError(f"its OME-Zarr metadata: {name}.datasets is empty: it must hold the path of an array")
    names = tuple(_text(axis, "name", f"{name}.axes[{number}]") for number, axis in enumerate(axes))
    if len(set(names)) < len(names):
        raise ValueError(f"its OME-Zarr metadata: {name}.axes has the names {', '.join(names)}: they must differ")
    paths, transforms = [], []
    for number, dataset in enumerate(datasets):
        where = f"{name}.datasets[{number}]"
        paths.append(_text(dataset, "path", where))
        transforms.append(_transform(dataset, where, image, name, names))
    return Multiscale(
        version,
        str(image.get("name") or ""),
        names,
        tuple(str(axis.get("type") or "") for axis in axes),
        tuple(str(axis.get("unit") or "") for axis in axes),
        tuple(paths),
        tuple(scale for scale, _ in transforms),
        tuple(translation for _, translation in transforms),
        _channels(attributes),
    )


def tables(record: Mapping[str, Any], field: str, within: str = "", default: Sequence[Any] = ()) -> list[Any]:
    """A list of tables that the metadata hold. ``ValueError`` if it is none; ``within``: where the record lies."""
    name = _name(within, field)
    found = record.get(field, default)
    if not isinstance(found, list | tuple):
        raise _not_allowed(name, found, "a list")
    for number, entry in enumerate(found):
        if not isinstance(entry, Mapping):
            raise _not_allowed(f"{name}[{number}]", entry, "a table of names and values")
    return list(found)


def table(record: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """A table that the metadata hold; an empty one if there is none. ``ValueError`` if it is something else."""
    found = record.get(field, {})
    if not isinstance(found, Mapping):
        raise _not_allowed(field, found, "a table of names and values")
    return found


def _not_allowed(name: str, value: Any, allowed: str) -> ValueError:
    what = f"{name} is missing" if value is None else f"{name}={shown(value)} is not allowed"
    return ValueError(f"its OME-Zarr metadata: {what}: it must be {allowed}")


def _name(within: str, field: str) -> str:
    return f"{within}.{field}" if within else field


def _text(record: Mapping[str, Any], field: str, within: str) -> str:
    if not isinstance(record.get(field), str | int):
        raise _not_allowed(_name(within, field), record.get(field), "a name")
    return str(record[field])


def _axes(image: Mapping[str, Any], within: str, version: str) -> list[Any]:
    """Tables, also where a version has names alone, or none."""
    names = image.get("axes", _OLD_AXES if version in _WITHOUT_AXES else None)
    if isinstance(names, list | tuple):
        names = [{"name": name} if isinstance(name, str) else name for name in names]
    return tables({"axes": names}, "axes", within)


def _channels(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the channels if all have one; what shows them is not part of the image, and may be anything."""
    shown_as = attributes.get("omero")
    channels = shown_as.get("channels") if isinstance(shown_as, Mapping) else None
    entries = [one if isinstance(one, Mapping) else {} for one in channels] if isinstance(channels, list) else []
    names = tuple(str(one.get("label", "")) for one in entries)
    return names if all(names) else ()


def _transform(
    dataset: Mapping[str, Any], where: str, image: Mapping[str, Any], name: str, axes: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of an array: its own, then those of all arrays."""
    scale, translation = [1.0] * len(axes), [0.0] * len(axes)
    for record, within in ((dataset, where), (image, name)):
        for number, step in enumerate(tables(record, "coordinateTransformations", within)):
            at = f"{within}.coordinateTransformations[{number}]"
            if step.get("type") == "scale":
                factors = _numbers(step, "scale", at, axes)
                scale = [old * factor for old, factor in zip(scale, factors, strict=True)]
                translation = [old * factor for old, factor in zip(translation, factors, strict=True)]
            elif step.get("type") == "translation":
                moved = _numbers(step, "translation", at, axes)
                translation = [old + distance for old, distance in zip(translation, moved, strict=True)]
    return tuple(scale), tuple(translation)


def _numbers(step: Mapping[str, Any], field: str, within: str, axes: Sequence[str]) -> list[float]:
    """One for each axis."""
    found = step.get(field)
    try:
        numbers = [float(one) for one in found] if isinstance(found, list | tuple) else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != len(axes):
        raise _not_allowed(f"{within}.{field}", found, f"a list of {len(axes)} numbers, for the axes {', '.join(axes)}")
    return numbers
