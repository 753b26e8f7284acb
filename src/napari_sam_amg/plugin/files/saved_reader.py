"""Labels that were saved by this plugin or written by its command line, opened again as a layer with all it had."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_warning

from napari_sam_amg.io.ngff import Spacing
from napari_sam_amg.io.saved_labels import FORMAT, SavedLabels, changed_since, image_of, read_label_files, record_of
from napari_sam_amg.plugin.files.layer_record import layer_attributes
from napari_sam_amg.plugin.placing import known_unit
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> "Callable[[str], list[LayerData]] | None":
    """The reader of a label image with our record beside it, or of that record; None for any other file."""
    if not isinstance(path, str):
        return None
    image = image_of(Path(path))
    return None if image is None or record_of(image) is None else read_labels


def read_labels(path: str) -> list[LayerData]:
    """One labels layer. ``ValueError`` names the file and what is wrong with it."""
    image = image_of(Path(path))
    if image is None:
        raise ValueError(f"{path} has no label image beside it")
    try:
        saved = read_label_files(image)
        changed = changed_since(image, saved.record)
        is_layer = saved.record.get("format") == FORMAT
        labels, attributes = _layer(saved) if is_layer else _results(saved, image)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a record, or an image, that somebody has changed raises anything
        if str(image.parent) in str(error):
            raise
        words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be opened, its record or its image is damaged: {words}") from error
    if changed:
        show_warning(f"Changed since it was saved, so labels and table may disagree: {', '.join(changed)}")
    if saved.features.shape[1]:
        attributes["features"] = saved.features
    return [(labels, attributes, "labels")]


def _layer(saved: SavedLabels) -> tuple[Any, dict[str, Any]]:
    layer = saved.record["layer"]
    shape, dtype = tuple(layer["shape"]), np.dtype(layer["dtype"])
    if saved.labels.size != np.prod(shape):
        raise ValueError(f"the label image is of shape {saved.labels.shape}, its record says {shape}")
    return saved.labels.reshape(shape).astype(dtype, copy=False), layer_attributes(saved.record)


def _results(saved: SavedLabels, image: Path) -> tuple[Any, dict[str, Any]]:
    """Labels of the command line: they lie where the image does, as far as its file says that."""
    record, axes = saved.record, saved.axes
    spacings = record["spacings"] if "spacings" in record else _spacings_of_before(record)
    said = {axis: Spacing(**known) for axis, known in spacings.items()}
    known = [said.get(axis, Spacing(1.0, "")) for axis in axes]
    run = {**record["settings"], **{key: value for key, value in record.items() if key != "settings"}}
    run |= {"state": "finished", "started": record.get("finished", "")}
    stack, plane = (str(record.get(name, "")) for name in ("stack_axes", "plane_axes"))
    if sorted(stack + plane) == sorted(axes):  # where the columns of the table lie
        where = {name: [axes.index(axis) for axis in of] for name, of in (("stack", stack), ("plane", plane))}
        run["source"] = {"axes": where | {"channel": None, "names": plane.lower()}}
    return saved.labels, {
        "name": image.stem,
        "scale": [axis.length for axis in known],
        "translate": [axis.origin for axis in known],
        "units": tuple(known_unit(axis.unit) for axis in known),
        "axis_labels": tuple(axis.lower() for axis in axes),
        "metadata": {METADATA_KEY: run},
    }


def _spacings_of_before(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of records of earlier versions, which told micrometres alone."""
    sizes = dict(zip(record.get("plane_axes", "YX"), record.get("pixel_size_um") or (), strict=False))
    sizes |= {"Z": record.get("z_spacing_um") or sizes.get("Z")}
    return {axis: {"length": size, "unit": "micrometer"} for axis, size in sizes.items() if size}
