"""napari's *Save* of a labels layer: the label image, and beside it the table and a record of all else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info, show_warning

from napari_sam_amg.io.discover import LABELS_ENDING
from napari_sam_amg.io.saved_labels import SUFFIXES, SavedLabels, older_outputs, write_label_files
from napari_sam_amg.plugin.files.layer_record import axis_letters, layer_record, size_in
from napari_sam_amg.provenance import versions


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """A layer's data and attributes, as npe2 gives them, into files; returns their paths, the label image first.

    Raises ``OSError`` if they cannot be written.
    """
    image = Path(path) if Path(path).suffix else Path(path).with_suffix(SUFFIXES[0])
    saved, left_out = saved_labels(data, attributes)
    older = older_outputs(image)
    try:
        files = write_label_files(image, saved)
    except ValueError as error:  # which napari would take to say that this is no writer for labels
        raise OSError(str(error)) from error
    say_left_out(left_out, older)
    if not image.name.endswith(LABELS_ENDING):  # napari reads other TIFF files itself, as pixels alone
        show_info(f"Open {files[-1].name} to have the layer again with its table, scale and settings.")
    return [str(file) for file in files]


def say_left_out(keys: list[str], older: list[Path]) -> None:
    """Keys of a layer's metadata, and files of the labels as they were before."""
    if older:
        names = ", ".join(path.name for path in older)
        show_warning(
            f"Not saved anew, and of the labels as they were before: {names}. Export them again, or delete them."
        )
    if keys:
        show_warning(f"Not saved, being neither numbers nor text nor lists of such: metadata {', '.join(keys)}")


def saved_labels(data: Any, attributes: Mapping[str, Any]) -> tuple[SavedLabels, list[str]]:
    """What is written of a layer, and which keys of its metadata are not."""
    labels = data[0] if attributes.get("multiscale") else data
    record, left_out = layer_record(attributes)
    record["layer"] |= {"shape": [int(length) for length in labels.shape], "dtype": str(labels.dtype)}
    record["versions"] = versions("napari")
    axes = axis_letters(attributes.get("axis_labels") or (), len(labels.shape))
    sizes = [size_in("micrometer", attributes, axis) for axis in range(len(axes))]
    y, x = sizes[-2:]
    pixel_size = None if y is None or x is None else (y, x)
    spacing = sizes[axes.index("Z")] if "Z" in axes else None
    interval = size_in("second", attributes, axes.index("T")) if "T" in axes else None
    return SavedLabels(labels, axes, attributes["features"], record, pixel_size, spacing, interval), left_out
