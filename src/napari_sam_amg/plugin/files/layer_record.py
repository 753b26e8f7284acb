"""What a layer is besides its labels and its table, as JSON has it, and back."""

from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum
from os import PathLike, fspath
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_sam_amg.plugin.placing import is_pixel, unit_conversion
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY

#: Where the labels lie, and how they look: keyword arguments of ``napari.layers.Labels`` that JSON has as they are.
KEPT = (
    "name", "scale", "translate", "rotate", "shear", "affine", "axis_labels", "opacity", "blending", "visible",
    "projection_mode", "rendering", "iso_gradient_mode", "depiction", "plane", "experimental_clipping_planes",
)  # fmt: skip
_LETTERS = {"t": "T", "time": "T", "z": "Z", "c": "C", "ch": "C", "channel": "C", "y": "Y", "x": "X"}
_UNNAMED = "TZYX"  # of axes without a name, counted from the last


class NoJson(TypeError):
    """A value that JSON does not have."""


def layer_record(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The record of a layer with these attributes, as ``Layer.as_layer_data_tuple`` gives them.

    And the keys of the layer's metadata that are left out, since their values are neither numbers nor text nor lists
    of such.
    """
    metadata = dict(attributes.get("metadata") or {})
    kept, left_out = {}, []
    for key, value in metadata.items():
        try:
            kept[str(key)] = plain(value)
        except (NoJson, RecursionError):  # the latter of what holds itself
            left_out.append(str(key))
    run = kept.pop(METADATA_KEY, None)
    layer = {name: plain(attributes[name]) for name in KEPT if name in attributes}
    layer["units"] = [str(unit) for unit in attributes.get("units") or ()]
    layer["colormap"] = _colours(attributes.get("colormap"))
    return {"run": run, "layer": layer, "metadata": kept, "metadata_left_out": left_out}, left_out


def layer_attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``napari.layers.Labels`` from what :func:`layer_record` gave."""
    layer = dict(record["layer"])
    attributes = {name: layer[name] for name in KEPT if layer.get(name) is not None}
    if layer.get("units"):
        attributes["units"] = tuple(layer["units"])
    if (colormap := _colormap(layer.get("colormap"))) is not None:
        attributes["colormap"] = colormap
    run = record.get("run")
    return attributes | {"metadata": {**record.get("metadata", {}), **({METADATA_KEY: run} if run else {})}}


def plain(value: Any) -> Any:
    """As JSON has it. Raises :class:`NoJson`."""
    if value is None or (isinstance(value, str | bool | int | float) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, PathLike):
        return str(fspath(value))
    if isinstance(value, date):
        return value.isoformat()
    raise NoJson(f"a value of type {type(value).__name__} has no place in JSON")


def _colours(colormap: Any) -> dict[str, Any] | None:
    if isinstance(colormap, DirectLabelColormap):
        pairs = [[label, plain(np.asarray(colour))] for label, colour in colormap.color_dict.items()]
        return {"kind": "direct", "colours": pairs}
    if isinstance(colormap, CyclicLabelColormap):
        colours = plain(np.asarray(colormap.colors))
        return {"kind": "cyclic", "colours": colours, "seed": colormap.seed, "name": colormap.name}
    return None


def _colormap(said: Mapping[str, Any] | None) -> Any:
    if said is None:
        return None
    if said["kind"] == "direct":
        return DirectLabelColormap(
            color_dict={label: np.array(colour, np.float32) for label, colour in said["colours"]}
        )
    return CyclicLabelColormap(
        colors=np.array(said["colours"], np.float32), seed=said["seed"], name=said["name"], background_value=0
    )


def axis_letters(axis_labels: Sequence[str], ndim: int) -> str:
    """A letter for each axis, as a TIFF file has them; the last two are Y and X in any case.

    Axes that have no name of their own are Z and T, from the last; an unknown name, or one that is taken, is Q.
    """
    letters = ""
    for axis in range(ndim - 2):
        name = axis_labels[axis].strip().lower() if len(axis_labels) == ndim else ""
        is_unnamed = not name or name.lstrip("-").isdigit()
        place = len(_UNNAMED) - ndim + axis
        guess = _UNNAMED[place] if place >= 0 else "Q"
        letter = guess if is_unnamed else _LETTERS.get(name, "Q")
        letters += "Q" if letter in letters + "YX" else letter
    return letters + "YX"


def size_in(unit: str, attributes: Mapping[str, Any], axis: int) -> float | None:
    """From one position of the layer to the next along an axis, if its unit is of the kind of ``unit``, in which it is.

    ``unit``: "micrometer" or "second".
    """
    units = attributes.get("units") or ()
    if not units or is_pixel(units[axis]):
        return None
    import pint

    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    own = registry.Unit(str(units[axis]))
    if not own.is_compatible_with(registry.Unit(unit)):
        return None
    return abs(float(attributes["scale"][axis])) * unit_conversion(own, registry.Unit(unit))
