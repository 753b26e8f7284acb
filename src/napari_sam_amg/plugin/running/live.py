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
import pandas as pd
from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.placing import shown_position
from napari_sam_amg.plugin.reviewing.features_table import prepare_tables
from napari_sam_amg.plugin.reviewing.layer_table import beside
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY, cursor_aside
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.adding import added, may_add
from napari_sam_amg.plugin.running.interruptible import Reins
from napari_sam_amg.plugin.running.landed import SEVERAL, Landed
from napari_sam_amg.plugin.running.layers import one_or_many, shown_axes
from napari_sam_amg.plugin.running.on_disk import ResultFiles, labels_on_disk
from napari_sam_amg.plugin.running.outcome import FailedPlane
from napari_sam_amg.plugin.running.source import SourceLayer, make_labels
from napari_sam_amg.plugin.running.tracks import make_tracks, section_columns
from napari_sam_amg.plugin.window import is_open

if TYPE_CHECKING:
    from napari_sam_amg.review.kept import KeepingWork
    from napari_sam_amg.run import PlaneResult

#: Of the main thread's time, at most one part in this many goes into tables and 3D views that are
#: not final; both take longer the larger they grow.
RARELY = 20
PAINTED = 50  # ms after which a new layer is on the screen
ASK_AGAIN = 5  # ms, while the worker has not stopped yet
ON_DISK = (
    "Labels in a folder stay as they were found, so their thresholds cannot be moved: run again without a folder, or "
    "with other thresholds."
)
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
        self.planes = self.masks = self.cut = 0  # finished, found, perhaps cut by a crop
        self.objects: int | None = None  # through the stack, complete; None if planes are not linked
        self.too_large = 0  # objects that may be missing since no crop holds them
        self.params: AmgParameters | None = None  # those that were used, once a plane is finished
        self.nothing: list[str] = []  # why, of each plane with nothing in it
        self.failed: list[FailedPlane] = []  # among the finished ones
        self.hidden = 0  # masks without a label, since others lie over them
        self.keeping: KeepingWork | None = None  # who keeps the candidates of the run
        self.is_adding = False  # the layer, from when it is made until it is painted
        self._viewer, self._source, self._reins, self._fail = viewer, source, reins, fail
        self._files = files  # to which the worker writes the labels; None: they lie in memory
        self._landed = landed
        self._labels = np.zeros(0, np.int32)  # those of the layer, once the run has begun
        self._tables: list[pd.DataFrame] = []  # the joined table of some planes, and those of the rest
        self._sections: list[pd.DataFrame] = []  # where objects through time are in each plane
        self._highest = 0  # label
        self._started = self._next_update = 0.0
        self.planes = len(landed.done)  # before
        self._total = len(source.stack.indices) + self.planes
        self._shown = self._finished = self._has_results = False
        self._record: dict[str, Any] = {"state": "running"}

    def begin(self) -> None:
        """Now, after the runs before it."""
        self._landed.begin()
        self._labels = self._landed.array()
        self.masks += self._landed.masks_done
        self._started = time.perf_counter()
        self._record["started"] = datetime.now().astimezone().isoformat(timespec="seconds")

    def describe(self, record: dict[str, Any]) -> None:
        """What is known of the run once the model is loaded."""
        self._record |= record

    @property
    def was_removed(self) -> bool:
        """Whether the user deleted the layer."""
        layer = self.layer if self._shown else self._landed.into
        return layer is not None and layer not in self._viewer.layers

    @property
    def is_complete(self) -> bool:
        return self.planes == self._total

    @property
    def has_results(self) -> bool:
        """Whether any plane was segmented, or some of one."""
        return self._has_results

    def add(self, result: "PlaneResult") -> None:
        """Show one plane, or some rows of one."""
        self.planes += result.is_last
        self._has_results |= not result.problem or len(result.features) > 0
        if result.problem:
            self.failed.append((result.index, result.problem))
        self.masks += len(result.features)
        self.hidden += 0 if result.problem else max(0, len(result.masks) - len(result.features))
        self.nothing += filter(None, [result.nothing])
        self.cut += int(result.features["cut_by_crop"].sum())
        self.too_large += result.too_large
        self._take_tables(result)
        self.params = result.params
        self._record["parameters_used"] = asdict(result.params)
        place = self._source.place(result.index)
        # the layer shows this very array: written at once, drawn when it is refreshed
        if self._files is None:
            rows, plane = slice(*result.rows or (None,)), self._source.upright(self._labels[place])
            self._landed.take(result, plane)
            if not result.problem or self._landed.into is None:
                plane[rows] = result.labels
        if not is_open(self._viewer):
            self._reins.let_go()
        elif self.layer is None and self.has_results:
            self._later(0, self._make)
        elif self.layer is not None and self._shown and not self.was_removed:  # a viewer without layers has fewer axes
            self._refresh(self.layer, place)

    def _take_tables(self, result: "PlaneResult") -> None:
        """Rows of labels: of cross-sections, or of the objects that are complete."""
        from napari_sam_amg.amg.table import of_plane_axes  # needs torch, which the worker has by now

        source, table = self._source, result.features
        self._highest = max(self._highest, int(table["index"].max()) if len(table) else 0)
        if result.objects is not None:
            self.objects = (self.objects or 0) + len(result.objects)
            columns = section_columns(len(result.index))
            self._sections += [table[columns]] if result.params.link == "t" else []
            table = result.objects
        through = source.through(result.params)
        self._tables.append(of_plane_axes(table, source.plane_axes, through))

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
            self.layer.features = self._features()
            reviewed(self.layer).is_running = True
            self.is_adding = True
            self._later(0, self._show)

    def _take_over(self, layer: Labels) -> None:
        """Planes go into a layer of earlier results, which is in the viewer unless it was removed meanwhile."""
        self.layer, self._shown = layer, True
        if not self.was_removed:
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
        if time.perf_counter() >= self._next_update and self.planes < self._total:
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
        if self._finished or self.layer is None or self.was_removed or not is_open(self._viewer):
            return
        began = time.perf_counter()
        self._set_features(self.layer)
        now = time.perf_counter()
        self._next_update = now + max(PAUSE, RARELY * (now - began))

    def _set_features(self, layer: Labels) -> None:
        prepare_tables(self._viewer)
        layer.features = self._features()
        if not self._flat:
            self._draw(layer)

    def _draw(self, layer: Labels) -> None:
        if self._files is None:
            layer.refresh(extent=False)
        else:
            layer.data = one_or_many(labels_on_disk(self._files))

    def _features(self) -> pd.DataFrame:
        """Features of all finished planes, as napari wants them.

        Floats are 64-bit, since napari's status bar takes no other NaN, the background's, for one.
        """
        from napari_sam_amg.amg.table import (  # needs torch, which the worker has by now
            joined,
            rows_up_to,
            with_background,
        )

        # what was joined stays joined, so that a long stack is not joined from its start each time
        self._tables = [joined(self._tables)]
        table = self._tables[0]
        if self._landed.into is not None:
            return beside(self._landed.rest, table)
        # an object that may go on has labels, and no row yet
        table = with_background(table) if self.objects is None else rows_up_to(self._highest, table)
        return table.astype(dict.fromkeys(table.select_dtypes("float32").columns, "float64"))

    def finish(self, state: str) -> None:
        """The whole table, and how the run ended. ``state``: "finished", "cancelled" or "failed".

        Raises ``ValueError`` where planes are missing in a run that is said to be finished.
        """
        if state == "finished" and not self.is_complete:
            raise ValueError(f"{self.planes} of {self._total} planes are no finished run")
        self._finished = True
        if not self._tables or not is_open(self._viewer):
            return
        self._record |= {
            "state": state,
            "masks": self.masks + self.hidden,
            "hidden_by_overlap": self.hidden,
            "planes_done": self.planes,
            "planes": self._total,
            "failed_planes": [{"plane": list(index), "problem": problem} for index, problem in self.failed],
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        if self.has_results:
            self._make()
        if self.layer is not None and not self.was_removed:
            if self._files is not None:
                self._draw(self.layer)
            # again, since the user may have replaced the layer's metadata
            self.layer.metadata[METADATA_KEY] = self._landed.record(self._record)
            self._set_features(self.layer)
            self._hand_over(self.layer)
            if self._sections and state == "finished":
                self._add_tracks()

    def _hand_over(self, layer: Labels) -> None:
        """To whoever works with the results."""
        review = reviewed(layer)
        review.is_running, review.source = False, self._source
        if self._files is not None:
            review.why_none = ON_DISK
        kept = None if self.keeping is None or self._landed.is_mixed else self.keeping.kept
        if self._landed.is_mixed:
            review.why_none = SEVERAL
        if kept is not review.kept:
            review.kept, review.refilter = kept, None
        elif review.refilter is not None:  # a run that went on
            review.refilter.take_new_planes()
        review.ended.emit()

    def release(self) -> None:
        """The run is over, and its layer is there for others."""
        self._landed.release(self.params, self._record)

    def _add_tracks(self) -> None:
        """In the end: nothing is computed now, and the next run waits until the layer is painted."""
        tracks = make_tracks(self._sections, self._tables[0], self._source)
        active, self.is_adding = self._viewer.layers.selection.active, True
        with cursor_aside(self._viewer):
            self._viewer.add_layer(tracks)
            self._landed.add_beside(tracks)
            if self.layer is not None:
                reviewed(self.layer).tracks = ref(tracks)
            self._viewer.layers.selection.active = active
        self._later(PAINTED, self._let_go)
