"""Results of a layer into files of other programs, from napari's menu: chosen here, written in a thread."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtWidgets import QFileDialog

from napari_sam_amg.amg.coco import as_json
from napari_sam_amg.amg.views import in_order
from napari_sam_amg.errors import in_words
from napari_sam_amg.io.discover import LABELS_ENDING
from napari_sam_amg.io.feature_table import write_table
from napari_sam_amg.io.ome_labels import write_ome_labels
from napari_sam_amg.io.painted import painted_records
from napari_sam_amg.io.plane_file import PlaneFile
from napari_sam_amg.io.rois import RoisZip, has_slider
from napari_sam_amg.io.saved_labels import SavedLabels, checked_plane, older_outputs, write_label_files
from napari_sam_amg.io.staging import settle, staged
from napari_sam_amg.plugin.files.label_writer import saved_labels, say_left_out
from napari_sam_amg.plugin.files.layer_record import axis_letters
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY, is_result, result_in_focus
from napari_sam_amg.plugin.reviewing.reviewed import Index, reviewed
from napari_sam_amg.plugin.reviewing.seen_image import Seen, plane_image, seen_by
from napari_sam_amg.plugin.reviewing.thresholds_box import position_in
from napari_sam_amg.plugin.running.layers import Axes, full_resolution

TIFF = (".tif", ".tiff")
NOTHING = "There is no labels layer to export: select one, or run a segmentation."


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """What is written of a layer, taken from it on the main thread."""

    labels: Any  # (..., Y, X), read plane by plane
    features: pd.DataFrame
    axes: Axes  # which of the axes make up the planes that were segmented
    letters: str


def save_labels(viewer: Viewer) -> None:
    """All of the layer, as napari's *Save* with our type does it: this one asks for no type."""
    layer = layer_to_export(viewer)
    if layer is None:
        show_error(NOTHING)
        return
    name, _ = QFileDialog.getSaveFileName(None, f"Save '{layer.name}'", layer.name + LABELS_ENDING, "Labels (*.tif)")
    if not name:
        return
    data, attributes, _ = layer.as_layer_data_tuple()
    saved, left_out = saved_labels(data, {**attributes, "features": layer.features.copy()})
    path = Path(name if name.lower().endswith(TIFF) else name + LABELS_ENDING)
    say_left_out(left_out, older_outputs(path))
    worker = create_worker(_saved, path, saved)
    worker.returned.connect(_tell_saved)
    worker.start()


def _saved(path: Path, saved: SavedLabels) -> tuple[list[Path], str]:
    """In the worker: the files, and what went wrong."""
    try:
        return write_label_files(path, saved), ""
    except Exception as error:
        return [], in_words(error)


def _tell_saved(outcome: tuple[list[Path], str]) -> None:
    files, problem = outcome
    if problem:
        show_error(f"Nothing was saved: {problem}")
    else:
        show_info(f"Saved as {', '.join(file.name for file in files)} in {files[0].parent}")


def export_table(viewer: Viewer) -> None:
    """The table, as CSV."""
    _export(viewer, "_features.csv", "Table (*.csv)", lambda path, what: write_table(path, what.features))


def export_rois(viewer: Viewer) -> None:
    """The labels, as regions of ImageJ."""
    _export(viewer, "_rois.zip", "ImageJ regions (*.zip)", _write_rois)


def export_coco(viewer: Viewer) -> None:
    """The labels as they are painted, as COCO records."""
    _export(viewer, "_labels.json", "COCO records (*.json)", _write_coco)


def export_ome_tiff(viewer: Viewer) -> None:
    """The labels, as OME-TIFF."""
    layer = layer_to_export(viewer)
    if layer is None:
        show_error(NOTHING)
        return
    data, attributes, _ = layer.as_layer_data_tuple()
    saved, _ = saved_labels(data, attributes)
    name, kind = layer.name, "OME-TIFF (*.ome.tif)"
    _export(viewer, "_labels.ome.tif", kind, lambda path, _: write_ome_labels(path, saved, name))


def export_overlay(viewer: Viewer) -> None:
    """A picture of the plane in sight: what the model sees, and the labels over it."""
    layer = layer_to_export(viewer)
    if layer is None or not is_result(layer):
        show_error(NOTHING if layer is None else f"'{layer.name}' was found by no run, so its image is not known.")
        return
    review = reviewed(layer)
    seen, index = seen_by(viewer, review), position_in(viewer, review)()
    if isinstance(seen, str) or index is None:
        show_error(seen if isinstance(seen, str) else f"No plane of '{layer.name}' is in sight.")
        return
    labels = np.array(review.plane(index))
    _export(viewer, "_overlay.png", "Picture (*.png)", lambda path, _: _write_overlay(path, seen, index, labels))


def _export(viewer: Viewer, ending: str, kind: str, write: Callable[[Path, Exported], Any]) -> None:
    """Ask where to, and write it there, whole or not at all."""
    layer = layer_to_export(viewer)
    if layer is None:
        show_error(NOTHING)
        return
    name, _ = QFileDialog.getSaveFileName(None, f"Export '{layer.name}'", layer.name + ending, kind)
    if not name:
        return
    suffix = ending[ending.index(".") :]
    path = Path(name) if name.lower().endswith(suffix) else Path(name + suffix)
    worker = create_worker(_written, path, _taken(layer), write)
    worker.returned.connect(_tell)
    worker.start()


def layer_to_export(viewer: Viewer) -> Labels | None:
    """The active layer if it holds labels, else the newest results."""
    active = viewer.layers.selection.active
    return active if isinstance(active, Labels) else result_in_focus(viewer)


def _taken(layer: Labels) -> Exported:
    axes = _axes(layer.metadata.get(METADATA_KEY), layer.ndim)
    letters = axis_letters(layer.axis_labels, layer.ndim)
    return Exported(full_resolution(layer), layer.features.copy(), axes, letters)


def _axes(run: Any, ndim: int) -> Axes:
    """As the run has segmented; else planes are of the last two axes."""
    said = run.get("source", {}).get("axes", {}) if isinstance(run, Mapping) else {}
    plane = said.get("plane", [ndim - 2, ndim - 1])
    return Axes(ndim, (plane[0], plane[1]), said.get("channel"))


def _written(path: Path, what: Exported, write: Callable[[Path, Exported], Any]) -> tuple[str, str]:
    """In the worker: what was written, and what went wrong. Errors are said, not raised with their traceback."""
    try:
        settle([path])
        with staged([path]) as folder:
            write(folder / path.name, what)
    except Exception as error:
        return "", in_words(error)
    return str(path), ""


def _tell(outcome: tuple[str, str]) -> None:
    path, problem = outcome
    if problem:
        show_error(f"Nothing was exported: {problem}")
    else:
        show_info(f"Exported to {path}")


def _write_overlay(path: Path, seen: Seen, index: Index, labels: NDArray[np.integer]) -> None:
    from PIL import Image

    from napari_sam_amg.io.overlay import draw_overlay

    Image.fromarray(draw_overlay(plane_image(seen, index), labels)).save(path)


def _write_rois(path: Path, what: Exported) -> None:
    shape = tuple(int(length) for length in what.labels.shape)
    planes = PlaneFile(path.with_suffix(".regions"), shape, tuple(range(len(shape))))
    stack = what.letters[:-2]
    sliders = [axis for axis, length in zip(stack, shape, strict=False) if has_slider(axis, length)]
    rois = RoisZip(path, what.letters, planes, len(sliders) > 1 and "Q" not in stack)
    for index in np.ndindex(shape[:-2]):
        rois.add_plane(index, checked_plane(what.labels, index))
    rois.finish()


def _write_coco(path: Path, what: Exported) -> None:
    axes = what.axes
    planes = in_order(what.labels, (*axes.others, *axes.plane))
    lengths = planes.shape[:-2]
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        first = True
        for index in np.ndindex(lengths):
            at = tuple(place for axis, place in zip(axes.others, index, strict=True) if axis != axes.channel)
            for record in painted_records(checked_plane(planes, index), what.features, at):
                file.write(("" if first else ", ") + as_json(record))
                first = False
        file.write("]")
