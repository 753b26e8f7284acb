"""Results that lie in a folder, as their layer shows them: the files, and other thresholds over them until written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.qt.threading import create_worker
from numpy.typing import NDArray

from napari_sam_amg.errors import in_words
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.layer_table import with_rows
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer
from napari_sam_amg.plugin.running.budget import budget
from napari_sam_amg.plugin.running.kept_on_disk import Found, find_candidates
from napari_sam_amg.plugin.running.layers import full_resolution, one_or_many
from napari_sam_amg.plugin.running.result_files import ON_DISK, ResultFiles
from napari_sam_amg.plugin.running.torch_loader import load_torch

if TYPE_CHECKING:
    from napari_sam_amg.io.patched_labels import PackedPlane

LOOKING = "Looking for the candidates of these results..."
ELSEWHERE = "These labels are in another layer, too: move the thresholds there."
_owners: "WeakValueDictionary[Path, ReviewedLayer]" = WeakValueDictionary()  # whose thresholds move, by the labels


class LayerFiles:
    """What is written, and what is shown over it. Main thread only."""

    def __init__(self, files: ResultFiles, found: Found) -> None:
        from napari_sam_amg.io.patched_labels import PatchedLabels

        self.files, self.layout, self.size = files, found.layout, found.size
        self.params = found.params  # of the files
        self._labels = PatchedLabels(files.labels)

    def show(
        self, review: ReviewedLayer, planes: Mapping[Index, "PackedPlane"], rows: pd.DataFrame, is_linked: bool
    ) -> None:
        """:meth:`ReviewedLayer.showing` over the files, which stay as they are.

        ``is_linked``: whether ``rows`` are of objects through all planes, which are given at once. Raises
        ``ValueError`` where nothing can be shown, and ``OSError`` where there is no room.
        """
        if review.why_no_thresholds:
            raise ValueError(review.why_no_thresholds)
        self._labels.put({self.layout.place(index): plane for index, plane in planes.items()})
        self._draw(review.layer)
        before = review.table
        gone = np.ones(len(before), bool) if is_linked else self._are_of(before, list(planes))
        review.put_table(with_rows(before, rows, before["index"].to_numpy(np.int64)[gone]))

    def _are_of(self, table: pd.DataFrame, planes: list[Index]) -> NDArray[np.bool_]:
        """(n,) whether rows are of one of these planes."""
        from napari_sam_amg.amg.table import plane_columns

        axes = len(planes[0])
        if not axes:
            return np.ones(len(table), bool)
        places = (table[plane_columns(axes)].to_numpy(np.int64), np.array(planes, np.int64))
        lengths = np.concatenate(places).max(axis=0) + 1
        ours, theirs = (np.ravel_multi_index(tuple(columns.T), tuple(lengths)) for columns in places)
        return np.isin(ours, theirs)

    def take_written(self, layer: Labels, params: AmgParameters) -> None:
        """The files have what is shown."""
        self.params = params
        self._labels.clear()
        self._draw(layer)

    def _draw(self, layer: Labels) -> None:
        from napari_sam_amg.plugin.files.label_reader import shown_levels

        layer.data = one_or_many(shown_levels(self._labels.levels()))
        layer.editable = False  # what is painted over labels on the disk would be lost; napari has just allowed it


def look_beside(review: ReviewedLayer) -> None:
    """For the candidates of labels that lie in a folder, once, in a worker; ``review.ended`` tells that it is over.

    Of several layers with the same labels the last one has them.
    """
    path = review.record.get(ON_DISK)
    is_known = review.is_running or review.kept is not None or bool(review.why_none)
    if path is None or is_known or isinstance(full_resolution(review.layer), np.ndarray):
        return
    files = ResultFiles.beside(Path(path))
    before = _owners.get(files.labels)
    _owners[files.labels] = review
    if before is not None and before is not review:
        _end(before, ELSEWHERE)
    review.why_none = LOOKING
    worker = create_worker(_found, files)
    worker.returned.connect(lambda found: _take(review, files, found))
    worker.start()


def _found(files: ResultFiles) -> Found | str:
    """In the worker: or why not."""
    load_torch()
    try:
        return find_candidates(files, budget())
    except Exception as error:
        return in_words(error)


def _take(review: ReviewedLayer, files: ResultFiles, found: Any) -> None:
    if review.is_gone or _owners.get(files.labels) is not review:
        return
    if isinstance(found, Found) and review.params not in (None, found.used):
        found = "the files have other thresholds than this layer shows: open them again"
    if isinstance(found, str):
        _end(review, f"The thresholds of these labels cannot be moved: {found.rstrip('.')}.")
        return
    review.why_none, review.kept, review.refilter = "", found.kept, None
    review.files = LayerFiles(files, found)
    review.ended.emit()


def _end(review: ReviewedLayer, why: str) -> None:
    """Its thresholds are not moved any more."""
    review.why_none, review.kept, review.refilter, review.files = why, None, None, None
    review.ended.emit()
