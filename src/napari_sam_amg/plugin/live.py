"""Finished planes into a Labels layer, as they come. Main thread only."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.viewer import Viewer

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
    """The layer that a run fills. It is added with the first plane, so a run cancelled before leaves none."""

    def __init__(self, viewer: Viewer, source: SourceImage, record: dict[str, Any]) -> None:
        self._viewer, self._source = viewer, source
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        self._record = record | {"state": "running", "started": started}
        self._tables: list[pd.DataFrame] = []
        self._started = time.perf_counter()
        self._next_update = 0.0
        self.layer: Labels | None = None

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
        return self.layer is not None and self.layer not in self._viewer.layers

    def add(self, result: "PlaneResult") -> None:
        """Show one plane."""
        self._tables.append(result.features)
        place = self._source.place(result.index)
        if self.layer is None:
            self._create(place, result)
        else:
            self.layer.data[place] = result.labels
            self._refresh(place)

    def _create(self, place: tuple[int, ...], result: "PlaneResult") -> None:
        labels = np.zeros(self._source.labels_shape, np.int32)
        labels[place] = result.labels
        layer = add_labels(
            labels,
            self._source.geometry,
            f"{self._source.name} masks",
            features=table_of(self._tables),
            metadata={METADATA_KEY: self._record},
        )
        self.layer = self._viewer.add_layer(layer)

    def _refresh(self, place: tuple[int, ...]) -> None:
        """Draw again only what is shown: most planes of a stack are not."""
        layer = self.layer
        assert layer is not None
        flat = self._viewer.dims.ndisplay == 2
        if flat and shown_position(layer, self._viewer.dims)[: len(place)] == place:
            layer.refresh(extent=False)
        began = time.perf_counter()
        if began < self._next_update:
            return
        if not flat:
            layer.refresh(extent=False)
        layer.features = table_of(self._tables)
        now = time.perf_counter()
        self._next_update = now + RARELY * (now - began)

    def finish(self, state: str) -> None:
        """The whole table, and how the run ended. ``state``: "finished", "cancelled" or "failed"."""
        if self.layer is None:
            return
        self.layer.features = table_of(self._tables)
        self._record |= {
            "state": state,
            "planes_done": self.planes,
            "planes": len(self._source.stack.indices),
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.layer.metadata[METADATA_KEY] = self._record
        self.layer.refresh(extent=False)
