"""Finished planes into a Labels layer, as they come. Main thread only."""

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

from napari_sam_amg.plugin.layers import SourceImage, add_labels, shown_position

if TYPE_CHECKING:
    from napari_sam_amg.run import PlaneResult

METADATA_KEY = "napari-sam-amg"
#: Of the main thread's time, at most one part in this many goes into tables and 3D views that are
#: not final; both take longer the larger they grow.
RARELY = 20


def table_of(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Features of all finished planes, as napari wants them.

    Floats are 64-bit, since napari's status bar takes no other NaN, the background's, for one.
    """
    from napari_sam_amg.amg.table import joined, with_background  # needs torch, which the worker has by now

    table = with_background(joined(tables))
    return table.astype(dict.fromkeys(table.select_dtypes("float32").columns, "float64"))


class LiveLabels:
    """The layer that a run fills.

    It is added before the worker starts: to make a labels layer keeps napari's main thread busy for
    0.1 to 0.3 s, which nobody minds after a click and everybody minds in the middle of a run. A run
    that finishes no plane takes it away again.
    """

    def __init__(self, viewer: Viewer, source: SourceImage) -> None:
        self._viewer, self._source = viewer, source
        self._tables: list[pd.DataFrame] = []
        self._started = time.perf_counter()
        self._next_update = 0.0
        self._total = len(source.stack.indices)
        self._finished = False
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        self._record: dict[str, Any] = {"state": "running", "started": started}
        labels = np.zeros(source.labels_shape, np.int32)
        layer = add_labels(labels, source.geometry, f"{source.name} masks", metadata={METADATA_KEY: self._record})
        self.layer: Labels = viewer.add_layer(layer)

    def describe(self, record: dict[str, Any]) -> None:
        """What is known of the run once the model is loaded."""
        self._record |= record

    @property
    def planes(self) -> int:
        """How many are finished."""
        return len(self._tables)

    @property
    def masks(self) -> int:
        return sum(len(table) for table in self._tables)

    @property
    def was_removed(self) -> bool:
        """Whether the user deleted the layer."""
        return self.layer not in self._viewer.layers

    def add(self, result: "PlaneResult") -> None:
        """Show one plane."""
        self._tables.append(result.features)
        self._record["parameters_used"] = asdict(result.params)
        place = self._source.place(result.index)
        self.layer.data[place] = result.labels
        self._refresh(place)

    def _refresh(self, place: tuple[int, ...]) -> None:
        """Draw again only what is shown: most planes of a stack are not."""
        if self._flat and shown_position(self.layer, self._viewer.dims) == place:
            self.layer.refresh(extent=False)
        if time.perf_counter() >= self._next_update and self.planes < self._total:
            self._next_update = math.inf
            QTimer.singleShot(0, self._update)  # in a turn of the event loop of its own

    @property
    def _flat(self) -> bool:
        return bool(self._viewer.dims.ndisplay == 2)

    def _update(self) -> None:
        """The table for hovering, and the volume in 3D.

        napari's table on the screen is left alone until the run is over: it takes 0.1 s and more.
        """
        if self._finished:
            return
        began = time.perf_counter()
        with self.layer.events.features.blocker():
            self.layer.features = table_of(self._tables)
        if not self._flat:
            self.layer.refresh(extent=False)
        now = time.perf_counter()
        self._next_update = now + RARELY * (now - began)

    def finish(self, state: str) -> None:
        """The whole table, and how the run ended. ``state``: "finished", "cancelled" or "failed"."""
        self._finished = True
        if not self.planes:
            self._remove()
            return
        self.layer.features = table_of(self._tables)
        self._record |= {
            "state": state,
            "planes_done": self.planes,
            "planes": self._total,
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.layer.metadata[METADATA_KEY] = self._record
        if not self._flat:
            self.layer.refresh(extent=False)

    def _remove(self) -> None:
        if not self.was_removed:
            self._viewer.layers.remove(self.layer)
