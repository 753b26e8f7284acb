"""Finished planes into a Labels layer, as they come. Main thread only.

The window never stands still for long, so nothing here takes longer than napari itself does to show
a labels layer, and what takes long is done in turns of the event loop of its own.
"""

import math
import time
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_sam_amg.plugin.features_table import measure_what_is_seen
from napari_sam_amg.plugin.interruptible import Reins
from napari_sam_amg.plugin.layers import SourceLayer, make_labels, shown_position
from napari_sam_amg.plugin.window import is_open

if TYPE_CHECKING:
    from napari_sam_amg.run import PlaneResult

METADATA_KEY = "napari-sam-amg"
#: Of the main thread's time, at most one part in this many goes into tables and 3D views that are
#: not final; both take longer the larger they grow.
RARELY = 20
PAINTED = 50  # ms after which a new layer is on the screen
PAUSE = 1.0  # s, between them: napari's features table begins at its top again


class LiveLabels:
    """The layer that a run fills. It appears with the first finished plane."""

    def __init__(self, viewer: Viewer, source: SourceLayer, reins: Reins) -> None:
        self.layer: Labels | None = None
        self.planes = self.masks = self.cut = 0  # finished, found, perhaps cut by a crop
        self._viewer, self._source, self._reins = viewer, source, reins
        self._labels = np.zeros(source.labels_shape, np.int32)
        self._tables: list[pd.DataFrame] = []  # the joined table of some planes, and those of the rest
        self._started = time.perf_counter()
        self._next_update = 0.0
        self._total = len(source.stack.indices)
        self._shown = self._finished = False
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        self._record: dict[str, Any] = {"state": "running", "started": started}

    def describe(self, record: dict[str, Any]) -> None:
        """What is known of the run once the model is loaded."""
        self._record |= record

    @property
    def was_removed(self) -> bool:
        """Whether the user deleted the layer."""
        return self._shown and self.layer not in self._viewer.layers

    def add(self, result: "PlaneResult") -> None:
        """Show one plane."""
        self.planes += 1
        self.masks += len(result.features)
        self.cut += int(result.features["cut_by_crop"].sum())
        self._tables.append(result.features)
        self._record["parameters_used"] = asdict(result.params)
        place = self._source.place(result.index)
        self._labels[place] = result.labels
        if not is_open(self._viewer):
            return
        if self.planes == 1:
            QTimer.singleShot(0, self._make)
        elif self.layer is not None and self._shown:
            self._refresh(self.layer, place)

    def _make(self) -> None:
        if self.layer is None:
            self.layer = make_labels(self._labels, self._source, metadata={METADATA_KEY: self._record})
            self.layer.features = self._features()
            QTimer.singleShot(0, self._show)

    def _show(self) -> None:
        """Add the layer. napari's own part of this takes longer than anything else in a run."""
        if not is_open(self._viewer):
            return
        self._shown = True
        measure_what_is_seen(self._viewer)
        self._reins.hold()
        try:
            self._viewer.add_layer(self.layer)
        finally:
            QTimer.singleShot(PAINTED, self._reins.let_go)

    def _refresh(self, layer: Labels, place: tuple[int, ...]) -> None:
        """Draw again only what is shown: most planes of a stack are not."""
        if self._flat and shown_position(layer, self._viewer.dims) == place:
            layer.refresh(extent=False)
        if time.perf_counter() >= self._next_update and self.planes < self._total:
            self._next_update = math.inf
            QTimer.singleShot(0, self._update)

    @property
    def _flat(self) -> bool:
        return bool(self._viewer.dims.ndisplay == 2)

    def _update(self) -> None:
        """The table, and the volume in 3D."""
        if self._finished or self.layer is None or not is_open(self._viewer):
            return
        began = time.perf_counter()
        self._set_features(self.layer)
        now = time.perf_counter()
        self._next_update = now + max(PAUSE, RARELY * (now - began))

    def _set_features(self, layer: Labels) -> None:
        measure_what_is_seen(self._viewer)
        layer.features = self._features()
        if not self._flat:
            layer.refresh(extent=False)

    def _features(self) -> pd.DataFrame:
        """Features of all finished planes, as napari wants them.

        Floats are 64-bit, since napari's status bar takes no other NaN, the background's, for one.
        """
        from napari_sam_amg.amg.table import joined, with_background  # needs torch, which the worker has by now

        self._tables = [joined(self._tables)]
        table = with_background(self._tables[0])
        return table.astype(dict.fromkeys(table.select_dtypes("float32").columns, "float64"))

    def finish(self, state: str) -> None:
        """The whole table, and how the run ended. ``state``: "finished", "cancelled" or "failed"."""
        self._finished = True
        if not self.planes or not is_open(self._viewer):
            return
        self._record |= {
            "state": state,
            "planes_done": self.planes,
            "planes": self._total,
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self._make()
        if self.layer is not None and not self.was_removed:
            self.layer.metadata[METADATA_KEY] = self._record
            self._set_features(self.layer)
