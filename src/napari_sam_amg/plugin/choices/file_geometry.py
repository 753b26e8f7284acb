"""Names, sizes and units of axes from the file of a layer, where napari opened it without them."""

from pathlib import Path

import numpy as np
from napari.layers import Image

from napari_sam_amg.io.images import open_raw
from napari_sam_amg.plugin.files.image_reader import geometry_of
from napari_sam_amg.plugin.placing import is_pixel
from napari_sam_amg.plugin.running.layers import full_resolution

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk")


def may_be_known(layer: Image) -> bool:
    """Whether a file may say what the layer does not: it is asked when that is wanted."""
    path = layer.source.path
    is_plain = bool(np.all(np.asarray(layer.scale) == 1)) and all(is_pixel(unit) for unit in layer.units)
    return path is not None and str(path).lower().endswith(SUFFIXES) and is_plain


def take_from_file(layer: Image) -> str:
    """Name, scale and set the units of the layer's axes as its file says; what was found, in words.

    Raises ``ValueError`` or ``OSError`` if it cannot be read, holds another image, or says nothing.
    """
    path = Path(str(layer.source.path))
    with open_raw(path) as raw:
        shape, known = tuple(int(length) for length in raw.data.shape), geometry_of(raw)
    if shape != tuple(int(length) for length in full_resolution(layer).shape) or known["rgb"] != bool(layer.rgb):
        raise ValueError(f"the file {path.name} holds an image of shape {shape}, which is not that of the layer")
    named = [label for label in known["axis_labels"] if label.isalpha()]
    sizes = [
        f"{label} {length:g} {unit}"
        for label, length, unit in zip(known["axis_labels"], known["scale"], known["units"], strict=True)
        if unit != "pixel"
    ]
    if not sizes and set(named) <= {"y", "x"}:
        raise ValueError(f"the file {path.name} says nothing of its axes and their sizes")
    layer.axis_labels, layer.units, layer.scale = known["axis_labels"], known["units"], known["scale"]
    return ", ".join(sizes) or ", ".join(named)
