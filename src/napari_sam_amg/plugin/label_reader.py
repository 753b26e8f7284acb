"""Opens label volumes that the command line wrote: lazily, on their image, with their table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam_amg.io.discover import ZARR_ENDING
from napari_sam_amg.io.label_files import WrittenLabels, read_label_volume
from napari_sam_amg.io.label_volume import is_label_volume
from napari_sam_amg.plugin.results import METADATA_KEY

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """npe2's reader: for label volumes of this program, and nothing else."""
    return read if all(is_label_volume(Path(one)) for one in _each(path)) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    return [labels_layer(read_label_volume(Path(one)), _name(Path(one))) for one in _each(path)]


def labels_layer(labels: WrittenLabels, name: str) -> LayerData:
    """As napari adds it, of an image with the same sizes on top of that image."""
    known = labels.known
    is_pyramid = len(labels.levels) > 1
    arguments: dict[str, Any] = {
        "name": name,
        "scale": np.array(known.scales[0]),
        "translate": np.array(known.translations[0]),
        "axis_labels": known.axes,
        "units": tuple(unit or "pixel" for unit in known.units),
        "multiscale": is_pyramid,
        "metadata": {METADATA_KEY: {"started": labels.record.get("finished", ""), "source": _source(labels)}},
    }
    if labels.table is not None:
        arguments["features"] = labels.table
    return labels.levels if is_pyramid else labels.levels[0], arguments, "labels"


def _source(labels: WrittenLabels) -> dict[str, Any]:
    """Where in the layer the table's columns lead; nothing where no record says it."""
    stack, plane = (str(labels.record.get(name, "")) for name in ("stack_axes", "plane_axes"))
    if sorted(stack + plane) != sorted(labels.axes):
        return {}
    places = {
        name: [labels.axes.index(letter) for letter in axes] for name, axes in (("stack", stack), ("plane", plane))
    }
    return {"axes": places | {"channel": None, "names": plane.lower()}}


def _each(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _name(path: Path) -> str:
    return path.name.removesuffix(ZARR_ENDING) + " masks"
