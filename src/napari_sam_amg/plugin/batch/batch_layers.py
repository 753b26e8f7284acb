"""Image layers as images of a batch: their pixels, and where those lie in the world."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image

from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.io.raw_image import RawImage
from napari_sam_amg.plugin.files.layer_record import axis_letters
from napari_sam_amg.plugin.placing import is_pixel
from napari_sam_amg.plugin.running.layers import full_resolution

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')  # in names of files, on one system or another
_SPARE = "IRHEPAVUWLMNOKJ"  # tifffile's letters of axes, but for those that are something here
_SIZED = "TZYX"  # axes whose positions lie somewhere
_LONGEST_NAME = 100  # characters; endings are added


@dataclass(frozen=True, slots=True, eq=False)
class LayerImage:
    """What a batch takes of a layer when it is started: nothing done to the layer later matters."""

    name: str  # the layer's
    file_name: str  # with which its outputs begin
    raw: RawImage
    contrast_limits: tuple[float, float]
    record: dict[str, Any]  # as JSON has it


def layer_images(layers: Sequence[Image]) -> list[LayerImage]:
    """In the order in which they are shown in napari's list, each with a name of its own."""
    taken: set[str] = set()
    return [_layer_image(layer, _file_name(layer.name, taken)) for layer in reversed(layers)]


def _layer_image(layer: Image, file_name: str) -> LayerImage:
    low, high = layer.contrast_limits
    return LayerImage(layer.name, file_name, raw_image(layer), (float(low), float(high)), _record(layer))


def raw_image(layer: Image) -> RawImage:
    """Planes are of the last two axes; a multiscale layer at full resolution."""
    letters = _distinct(axis_letters(layer.axis_labels, layer.ndim))
    stated = {
        letter: Spacing(abs(float(scale)), "" if is_pixel(unit) else str(unit), float(origin))
        for letter, scale, unit, origin in zip(letters, layer.scale, layer.units, layer.translate, strict=True)
        if letter in _SIZED and not (is_pixel(unit) and scale == 1)
    }
    return RawImage(full_resolution(layer), letters + "S" * bool(layer.rgb), stated=stated)


def _distinct(letters: str) -> str:
    """With another letter for each axis after the first whose name says nothing."""
    spare = iter(_SPARE)
    return "".join(next(spare) if letter in letters[:place] else letter for place, letter in enumerate(letters))


def _record(layer: Image) -> dict[str, Any]:
    path = layer.source.path
    return {
        "layer": layer.name,
        "path": None if path is None else str(path),
        "scale": np.asarray(layer.scale, float).tolist(),
        "translate": np.asarray(layer.translate, float).tolist(),
        "affine": np.asarray(layer.affine.affine_matrix).tolist(),
        "units": [str(unit) for unit in layer.units],
        "axis_labels": list(layer.axis_labels),
    }


def _file_name(name: str, taken: set[str]) -> str:
    """Of a layer's name, as every system takes it; a number is added if another layer has it."""
    plain = _FORBIDDEN.sub("_", name)[:_LONGEST_NAME].strip(" .") or "image"
    own, number = plain, 1
    while own.casefold() in taken:
        number += 1
        own = f"{plain}_{number}"
    taken.add(own.casefold())
    return own
