"""Opens label volumes that the command line wrote: lazily, on their image, with their table."""

from math import prod
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_sam_amg.io.discover import ZARR_ENDING
from napari_sam_amg.io.label_files import WrittenLabels, read_label_volume
from napari_sam_amg.io.label_volume import SIDE
from napari_sam_amg.io.staging import settle_published
from napari_sam_amg.plugin.placing import known_unit
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.running.result_files import ON_DISK, ResultFiles

WINDOW = 2 * SIDE  # px; a plane of a level up to this is one chunk
VOLUME_BYTES = 512 * 2**20  # of what is shown in 3D

LayerData = tuple[Any, dict[str, Any], str]


def read(path: Path) -> LayerData:
    """Raises ``ValueError`` or ``OSError`` for what is no label volume, and for a table that is none.

    What a killed process had all but put in place comes there first.
    """
    files = ResultFiles.beside(path)
    settle_published(files.record)
    layer = labels_layer(read_label_volume(path), path.name.removesuffix(ZARR_ENDING) + " masks")
    layer[1]["metadata"][METADATA_KEY][ON_DISK] = str(path)
    if (viewer := napari.current_viewer()) is not None and not viewer.layers:
        see_all(viewer, layer)
    return layer


def see_all(viewer: napari.Viewer, layer: LayerData) -> None:
    """Moves the camera of an empty window so far away that all of ``layer`` is in sight, until napari places it.

    While napari adds a first layer it shows sliders, and with them draws the canvas before it has moved the camera.
    From where that was it would read the finest level.
    """
    data, arguments, _ = layer
    shape = (data[0] if arguments["multiscale"] else data).shape
    corners = arguments["translate"], arguments["translate"] + arguments["scale"] * shape
    camera = getattr(viewer, "scene", viewer).camera  # the scene's since napari 0.9
    camera.zoom = 1 / np.abs(corners).max()


def labels_layer(labels: WrittenLabels, name: str) -> LayerData:
    """As napari adds it, of an image with the same sizes on top of that image."""
    known, levels = labels.known, shown_levels(labels.levels)
    is_pyramid = len(levels) > 1
    arguments: dict[str, Any] = {
        "name": name,
        "scale": np.array(known.scales[0]),
        "translate": np.array(known.translations[0]),
        "axis_labels": known.axes,
        "units": tuple(known_unit(unit) for unit in known.units),
        "multiscale": is_pyramid,
        "metadata": {METADATA_KEY: _run(labels)},
    }
    if labels.table is not None:
        arguments["features"] = labels.table
    return levels if is_pyramid else levels[0], arguments, "labels"


def shown_levels(levels: list[Any]) -> list[Any]:
    """Without those that are coarser than a window.

    napari reads the coarsest level first, at two places of the sliders, and then the one that it draws: where that is
    the same, it reads two chunks in all. In 3D it shows the coarsest level whole, which must not be too large.
    """
    for count, level in enumerate(levels, 1):
        if max(level.shape[-2:]) <= WINDOW and prod(level.shape[-3:]) * level.dtype.itemsize <= VOLUME_BYTES:
            return levels[:count]
    return levels


def _run(labels: WrittenLabels) -> dict[str, Any]:
    """Of a run of the window all that its record says."""
    is_of_window = "axes" in labels.record.get("source", {})
    record = dict(labels.record) if is_of_window else {"source": _source(labels)}
    return record | {"started": labels.record.get("finished", "")}


def _source(labels: WrittenLabels) -> dict[str, Any]:
    """Where in the layer the table's columns lead; nothing where no record says it."""
    stack, plane = (str(labels.record.get(name, "")) for name in ("stack_axes", "plane_axes"))
    if sorted(stack + plane) != sorted(labels.axes):
        return {}
    places = {
        name: [labels.axes.index(letter) for letter in axes] for name, axes in (("stack", stack), ("plane", plane))
    }
    return {"axes": places | {"channel": None, "names": plane.lower()}}
