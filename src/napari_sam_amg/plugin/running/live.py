"""Finished planes into a Labels layer, as they come. Main thread only.

The window never stands still for long, so nothing here takes longer than napari itself does to show
a labels layer, and what takes long is done in turns of the event loop of its own.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_sam_amg.plugin.placing import shown_position
from napari_sam_amg.plugin.reviewing.features_table import prepare_tables
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY, cursor_aside
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.adding import added, may_add
from napari_sam_amg.plugin.running.interruptible import Reins
from napari_sam_amg.plugin.running.landed import Landed
from napari_sam_amg.plugin.running.layers import one_or_many, shown_axes
from napari_sam_amg.plugin.running.live_table import LiveTable
from napari_sam_amg.plugin.running.result_files import ResultFiles, labels_on_disk
from napari_sam_amg.plugin.running.source import SourceLayer, make_labels
from napari_sam_amg.plugin.window import is_open

if TYPE_CHECKING:
    from napari_sam_amg.review.kept import KeepingWork
    from napari_sam_amg.run import PlaneResult

#: Of the main thread's time, at most one part in this many goes into tables and 3D views that are
#: not final; both take longer the larger they grow.
RARELY = 20
PAINTED = 50  # ms after which a new layer is on the screen
ASK_AGAIN = 5  # ms, while the worker has not stopped yet
PAUSE = 1.0  # s, between them: napari's features table begins at its top again


class LiveLabels:
    """The layer that a run fills. It appears with the first finished plane.

    ``fail`` is called with what goes wrong in a later turn of the event loop, where nobody else would see it.
    """

    def __init__(
        self,
        viewer: Viewer,
        source: SourceLayer,
        reins: Reins,
        fail: Callable[[Exception], None],
        files: ResultFiles | None,
        landed: Landed,
    ) -> None:
        self.layer: Labels | None = None
        self.so_far = landed.so_far()
        self.keeping: KeepingWork | None = None  # who keeps the candidates of the run
        self.is_adding = False  # the layer, from when it is made until it is painted
        self._viewer, self._source, self._reins, self._fail = viewer, source, reins, fail
        self._files = files  # to which the worker writes the labels; None: they lie in memory
        self._landed = landed
        self._labels = np.zeros(0, np.int32)  # those of the layer, once the run has begun
        self._table = LiveTable(source, landed)
        self._started = self._next_update = 0.0
        self._shown = self._finished = False
        self._record: dict[str, Any] = {"state": "running"}

    def begin(self) -> None:
        """Now, after the runs before it."""
        self._landed.begin()
        self._labels = self._landed.array()
        self.so_far.masks += self._landed.masks_done
        self._started = time.perf_counter()
        self._record["started"] = datetime.now().astimezone().isoformat(timespec="seconds")

    def describe(self, record: dict[str, Any]) -> None:
        """What is known of the run once the model is loaded."""
        self._record |= record

    @property
    def note(self) -> str:
        """Why earlier results stay, if somebody might have expected otherwise."""
        return self._landed.note

    @property
    def lost(self) -> str:
        """What the user did with the layer, so that no labels can be written to it; empty if they can."""
        layer = self._shown_layer
        if layer is None:
            return ""
        if layer not in self._viewer.layers:
            return "the layer of the results was removed"
        is_ours = self._files is not None or np.shape(layer.data) == self._labels.shape
        return "" if is_ours else "the layer of the results was given data of another size"

    @property
    def _shown_layer(self) -> Labels | None:
        return self.layer if self._shown else self._landed.into

    def _take_back(self) -> None:
        """Labels that the user converted to another type: the run goes on in its own array, with what is in them."""
        layer = self._shown_layer
        if layer is not None and self._files is None and layer.data is not self._labels and not self.lost:
            self._labels[...] = layer.data
            layer.data = self._labels

    def add(self, result: "PlaneResult") -> None:
        """Show one plane, or some rows of one."""
        self.so_far.take(result)
        self._table.take(result)
        self._record["parameters_used"] = asdict(result.params)
        place = self._source.place(result.index)
        self._take_back()
        # the layer shows this very array: written at once, drawn when it is refreshed
        if self._files is None:
            rows, plane = slice(*result.rows or (None,)), self._source.upright(self._labels[place])
            self._landed.take(result, plane)
            if not result.problem or self._landed.into is None:
                plane[rows] = result.labels
        if not is_open(self._viewer):
            self._reins.let_go()
        elif self.layer is None and self.so_far.has_results:
            self._later(0, self._make)
        elif self.layer is not None and self._shown and not self.lost:  # a viewer without layers has fewer axes
            self._refresh(self.layer, place)

    def _later(self, milliseconds: int, turn: Callable[[], None]) -> None:
        """In a turn of the event loop of its own."""

        def guarded() -> None:
            try:
                turn()
            except Exception as error:
                self._fail(error)

        QTimer.singleShot(milliseconds, guarded)

    def _make(self) -> None:
        # asked twice where a run ends before the first layer's turn has come
        if self.layer is None and self._landed.into is not None:
            self._take_over(self._landed.into)
        elif self.layer is None:
            data = self._labels if self._files is None else labels_on_disk(self._files)
            self.layer = make_labels(data, self._source, metadata={METADATA_KEY: self._record})
            self.layer.features = self._table.features()
            self._landed.hold(self.layer)
            self.is_adding = True
            self._later(0, self._show)

    def _take_over(self, layer: Labels) -> None:
        """Planes go into a layer of earlier results, which is in the viewer unless it was removed meanwhile."""
        self.layer, self._shown = layer, True
        if not self.lost:
            self._landed.fills(layer)
            layer.metadata[METADATA_KEY] = self._landed.record(self._record)
            self._set_features(layer)
            self._draw(layer)
        self._reins.let_go()

    def _show(self) -> None:
        """Add the layer while the worker stands still, and let it go on when the layer is painted.

        For a new layer Mesa compiles shaders, and a process in which torch computed meanwhile was seen to
        crash. Python runs one thread at a time, too: this would take twice as long. The worker has stood since
        it handed over the first plane; should it compute all the same, the layer waits for its next look.
        """
        layer = self.layer
        self._reins.hold()
        if layer is None or not is_open(self._viewer):
            self._let_go()
        elif not (may_add(self) and self._reins.stands):
            self._later(ASK_AGAIN, self._show)
        else:
            try:
                prepare_tables(self._viewer)
                with cursor_aside(self._viewer):
                    self._landed.put(layer)
            finally:
                self._shown = self.layer in self._viewer.layers
                self._later(PAINTED, self._let_go)

    def _let_go(self) -> None:
        added(self)
        self._reins.let_go()
        self.is_adding = False

    def _refresh(self, layer: Labels, place: tuple[int | slice, ...]) -> None:
        """Draw again only what is shown: most planes of a stack are not."""
        if self._flat and self._is_in_sight(layer, place):
            self._draw(layer)
        if time.perf_counter() >= self._next_update and not self.so_far.is_complete:
            # no second one is asked for before this one had its turn
            self._next_update = math.inf
            self._later(0, self._update)

    def _is_in_sight(self, layer: Labels, place: tuple[int | slice, ...]) -> bool:
        position = shown_position(layer, self._viewer.dims)
        return all(position[axis] == place[axis] for axis in self._source.axes.stack)

    @property
    def _flat(self) -> bool:
        """Whether the viewer shows planes as they are segmented, so that a new one is all there or not at all."""
        dims, axes = self._viewer.dims, self._source.axes
        if self.layer is None or dims.ndisplay != 2:
            return False
        return shown_axes(self.layer, dims, axes.channel).plane == axes.plane

    def _update(self) -> None:
        """The table, and the volume in 3D, or what is seen of planes from the side."""
        if self._finished or self.layer is None or self.lost or not is_open(self._viewer):
            return
        began = time.perf_counter()
        self._set_features(self.layer)
        now = time.perf_counter()
        self._next_update = now + max(PAUSE, RARELY * (now - began))

    def _set_features(self, layer: Labels) -> None:
        prepare_tables(self._viewer)
        layer.features = self._table.features()
        if not self._flat:
            self._draw(layer)

    def _draw(self, layer: Labels) -> None:
        if self._files is None:
            layer.refresh(extent=False)
        else:
            layer.data = one_or_many(labels_on_disk(self._files))

    def finish(self, state: str) -> None:
        """The whole table, and how the run ended. ``state``: "finished", "cancelled" or "failed".

        Raises ``ValueError`` where planes are missing in a run that is said to be finished.
        """
        so_far = self.so_far
        if state == "finished" and not so_far.is_complete:
            raise ValueError(f"{so_far.planes} of {so_far.total} planes are no finished run")
        self._finished = True
        if self._table.is_empty or not is_open(self._viewer):
            return
        seconds = round(time.perf_counter() - self._started, 3)
        self._record |= {"state": state, **so_far.record(), "seconds": seconds}
        if so_far.has_results:
            self._make()
        self._take_back()
        if self.layer is not None and not self.lost:
            if self._files is not None:
                self._draw(self.layer)
            # again, since the user may have replaced the layer's metadata
            self.layer.metadata[METADATA_KEY] = self._landed.record(self._record)
            self._set_features(self.layer)
            self._landed.hand_over(self.layer, self.keeping)
            if self._table.has_tracks and state == "finished":
                self._add_tracks()

    def release(self) -> None:
        """The run is over, and its layer is there for others."""
        self._landed.release(self.so_far, self._record)

    def _add_tracks(self) -> None:
        """In the end: nothing is computed now, and the next run waits until the layer is painted."""
        tracks = self._table.tracks()
        active, self.is_adding = self._viewer.layers.selection.active, True
        with cursor_aside(self._viewer):
            self._viewer.add_layer(tracks)
            self._landed.add_beside(tracks)
            if self.layer is not None:
                reviewed(self.layer).tracks = ref(tracks)
            self._viewer.layers.selection.active = active
        self._later(PAINTED, self._let_go)
