"""Painting, erasing and filling are followed: the table of a result layer is measured again for what changed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.plugin.placing import shown_order, shown_position
from napari_sam_amg.plugin.reviewing.hand_made import Places
from napari_sam_amg.plugin.reviewing.layer_objects import layer_objects
from napari_sam_amg.plugin.reviewing.mended_rows import Measured, MendedRows
from napari_sam_amg.plugin.reviewing.reviewed import ReviewedLayer
from napari_sam_amg.plugin.reviewing.strokes import end_stroke, forget_strokes, patches_of
from napari_sam_amg.plugin.reviewing.survey import Survey
from napari_sam_amg.plugin.reviewing.table_grid import table_grid
from napari_sam_amg.plugin.window import is_open
from napari_sam_amg.review.edits import HandEdits, Index, Patch, Step
from napari_sam_amg.review.remeasure import Grid

SOON = 10  # ms
LARGEST = 1 << 24  # pixels of a plane of which a copy is kept, to see what a script changes


class FollowedEdits(QObject):
    """One for each result layer, see ``worked_layers.py``. Main thread only."""

    changed = Signal()  # a step was made, undone or made again
    measured = Signal(object)  # ids of objects whose rows are new

    def __init__(self, viewer: Viewer, review: ReviewedLayer) -> None:
        super().__init__()
        self.review, self.hand = review, HandEdits()
        review.edits = self.hand
        self.rows = MendedRows(self)
        self.viewer, self._survey = viewer, Survey(self)
        self._strokes: list[Any] = []  # what napari told, not taken yet
        self.is_own = False
        self.is_waiting = False  # whether strokes are to be taken yet
        self.writings = 0  # how often somebody here, or other thresholds, began to write to the labels or the table
        self.is_behind = False  # whether a run began before it was known what was changed
        self._is_known = False  # why the layer was drawn again
        self._is_drawing = False  # whether it is drawn again by somebody here, right now
        self._sight: tuple[Index, NDArray[Any]] | None = None  # the plane in sight: which, and a copy
        layer = review.layer
        self._data = layer.data
        layer.events.paint.connect(self._painted)
        layer.events.set_data.connect(self._redrawn)
        layer.events.data.connect(self._replaced)
        review.about_to_change.connect(self.settle)
        review.looked_at.connect(self._take_waiting)
        review.changed.connect(self._shown)
        review.ended.connect(self._ended)
        self._shown()
        self.rows.look_for_hand_made()

    @property
    def grid(self) -> Grid:
        return table_grid(self.review)

    @property
    def axes(self) -> int:
        """How many axes the index of a plane has: none in a run on one plane of a stack, whose table has no planes."""
        columns = [str(name) for name in self.review.layer.features.columns]
        is_one = "area" in columns and not any(name == "plane" or name.startswith("plane_") for name in columns)
        return 0 if is_one else len(self.review.stack_axes)

    def planes(self) -> list[Index]:
        """All of the layer."""
        shape = self.review.layer.data.shape
        return list(np.ndindex(*(shape[axis] for axis in self.review.stack_axes[: self.axes])))

    def follow_to(self, viewer: Viewer) -> None:
        """The layer is in this viewer now."""
        if viewer is not self.viewer and self.review.layer in viewer.layers:
            self.viewer = viewer
            self._redrawn()

    def alive(self) -> Labels | None:
        """The layer while it can be worked with."""
        try:
            layer = self.review.layer
        except ReferenceError:
            return None
        can_be = is_open(self.viewer) and isinstance(layer.data, np.ndarray) and not self.review.is_running
        return layer if can_be else None

    def _painted(self, event: Any) -> None:
        """napari tells of some strokes before the pixels are set: they are taken in the next turn."""
        self._strokes.append(event.value)
        self._soon()

    def _redrawn(self, event: Any = None) -> None:
        """Another plane came in sight, or pixels were changed by whoever."""
        layer = self.alive()
        if layer is None or self._is_drawing:
            return
        where = self._where(layer)
        if where is not None and (self._sight is None or self._sight[0] != where):
            self._look_at(layer)
        else:
            self._soon()

    def _soon(self) -> None:
        if not self.is_waiting:
            self.is_waiting = True
            QTimer.singleShot(0, self._take_soon)

    def _where(self, layer: Labels) -> Index | None:
        """Which plane is in sight; None in 3D, and from the side."""
        dims = self.viewer.dims
        is_there = layer in self.viewer.layers  # a viewer without it may have fewer axes
        if not is_there or dims.ndisplay != 2 or set(shown_order(layer, dims)[-2:]) != set(self.review.plane_axes):
            return None
        position = shown_position(layer, dims)
        return tuple(position[axis] for axis in self.review.stack_axes[: self.axes])

    def _look_at(self, layer: Labels) -> None:
        """Remember what is in sight now, to tell later what was changed."""
        where = self._where(layer)
        plane = None if where is None else self.review.plane(where)
        self._sight = None if where is None or plane is None or plane.size > LARGEST else (where, plane.copy())

    def _take_soon(self) -> None:
        if self.is_own or self.rows.hand_made.is_looking:
            # somebody here is at work in turns, and says itself what was changed; or places are not known yet
            QTimer.singleShot(SOON, self._take_soon)
        else:
            self._take_waiting()

    def _take_waiting(self) -> None:
        if self.is_waiting and not self.is_own:
            self.take()

    def settle(self) -> None:
        """Others are about to change labels: what hands have done until now comes first."""
        layer = self.alive()
        if layer is not None and not self.is_own:
            end_stroke(layer)
            self._take_waiting()

    def take(self) -> None:
        """All that was changed since the last time."""
        self.is_waiting = False
        layer = self.alive()
        if layer is None:
            return
        has_strokes, is_known = self._take_strokes(), self._is_known
        self._is_known = False
        if is_known and not has_strokes:
            return
        if self._undone_elsewhere():
            self._look_at(layer)
        else:
            self._look_for_changes(is_all=not has_strokes)

    def _take_strokes(self) -> bool:
        """What napari has told; whether there was any."""
        strokes, self._strokes = self._strokes, []
        for atoms in strokes:
            self.draw(patches_of(atoms, self.review, self.axes > 0))
        return bool(strokes)

    def _undone_elsewhere(self) -> bool:
        """napari's own undo and redo, by the console for one, say nothing of what they do."""
        steps = []
        while (last := self.hand.last) is not None and self._holds(last, last.patches[::-1], "before"):
            steps.append(self.hand.undo())
        if not steps:
            while (later := self.hand.next) is not None and self._holds(later, later.patches, "after"):
                steps.append(self.hand.redo())
        self.mend([patch for step in steps if step is not None for patch in step.patches])
        return bool(steps)

    def _holds(self, step: Step, patches: Iterable[Patch], when: str) -> bool:
        """Whether the labels are as they were before a step, or after."""
        if not self.hand.fits(step):
            return False
        found = [
            np.array_equal(self.review.plane(patch.index)[patch.box][patch.mask], getattr(patch, when))
            for patch in patches
        ]
        return bool(found) and all(found)

    def _look_for_changes(self, is_all: bool) -> None:
        """By a script, or another plugin: what is in sight is compared at once, all else in the worker."""
        if self._sight is not None:
            where, before = self._sight
            plane = self.review.plane(where)
            if plane.shape == before.shape and (patch := Patch.of(where, before, plane)) is not None:
                self.draw([patch], "change")
        if self.axes and is_all:
            self._survey.start()

    def _replaced(self, event: Any = None) -> None:
        """The layer was given other data."""
        layer = self.alive()
        if layer is None or self.is_own or layer.data is self._data:
            return
        before, self._data = self._data, layer.data
        end_stroke(layer)  # in the data of before
        if isinstance(before, np.ndarray) and before.shape == layer.data.shape:
            self._take_strokes()
        else:
            self._strokes.clear()
            self.hand.clear()
            self.rows.forget_places()
            before = None
        forget_strokes(layer)
        self._look_at(layer)
        self._survey.start(before)

    def draw(self, patches: list[Patch], words: str = "draw") -> None:
        """Pixels were set, by whoever."""
        if not patches:
            return
        new = self._new_in(patches)
        self.hand.draw(patches, new, words)
        for patch in patches:
            self._know(patch, patch.after)
        self.mend(patches)

    def write(self, patch: Patch, values: NDArray[np.int32]) -> None:
        """Ids of the pixels of a patch, into the labels."""
        patch.put(self.review.plane(patch.index), values)
        self._know(patch, values)

    def _know(self, patch: Patch, values: NDArray[np.int32]) -> None:
        """These pixels are no news: whatever else is found to be changed in sight later, is."""
        if self._sight is not None and self._sight[0] == patch.index:
            patch.put(self._sight[1], values)

    def _new_in(self, patches: list[Patch]) -> frozenset[int]:
        """Ids that no object had; no candidate of the run gets them later."""
        there = layer_objects(self.review.layer).ids()
        new = frozenset(label for patch in patches for label in patch.ids if label not in there)
        if self.review.kept is not None and new:
            self.hand.follow(self.review.kept.give_away(new))
        return new

    def surveyed(self, patches: list[Patch], found: Measured, places: Places) -> None:
        """All planes were compared with what was there before, and with the table. ``places``: of all objects."""
        if patches:
            self.hand.draw(patches, self._new_in(patches), "replace")
        self.rows.surveyed(patches, found, places)
        self.put(found)

    def mend(self, patches: Iterable[Patch], more: Iterable[int] = ()) -> None:
        """Measure all objects again that patches have touched, and some more."""
        for _ in self.mending(patches, more):
            pass

    def mending(self, patches: Iterable[Patch], more: Iterable[int] = ()) -> Iterator[None]:
        """The same, object by object; the table follows at the end."""
        if self.alive() is not None:
            self.put((yield from self.rows.touched_by(patches, more)))

    def put(self, found: Measured) -> None:
        """Into the table: what was measured of some objects, None of those that are gone."""
        if self.alive() is None or not found:
            return
        self.show_table(self.rows.with_found(found))
        self.measured.emit({label for label, row in found.items() if row is not None})
        self.changed.emit()

    def show_table(self, table: pd.DataFrame) -> None:
        """Rows of objects, by whoever measured them."""
        with self.own(), self.drawing():
            self.review.put_table(table)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """While somebody here has the layer drawn again, that is no news."""
        before, self._is_drawing = self._is_drawing, True
        try:
            yield
        finally:
            self._is_drawing = before

    def look_through(self) -> None:
        """Hold the table to all planes, soon."""
        self._survey.start()

    def own(self) -> "_Own":
        """While somebody here writes to the labels, nothing is followed."""
        return _Own(self)

    def _shown(self) -> None:
        """Rows that a run, or other thresholds, gave: of the model's masks. What hands made is measured again."""
        layer = self.alive()
        if layer is None or self.is_own:
            return
        self.writings += 1
        self._data, self._is_known = layer.data, self.is_waiting
        forget_strokes(layer)
        self.rows.learn(self.review.table)
        self._look_at(layer)
        if self.hand or self.rows.spread:
            found = self.rows.touched_by_hands()
            self._survey.start() if found is None else self.put(found)

    def _ended(self) -> None:
        """The run is over: what was painted meanwhile, as far as it has left it."""
        self._shown()
        if self.alive() is not None:
            strokes, self._strokes = self._strokes, []
            patches = [patch for atoms in strokes for patch in patches_of(atoms, self.review, self.axes > 0)]
            left = [patch.left_in(self.review.plane(patch.index)) for patch in patches]
            self.draw([patch for patch in left if patch is not None])
            if self.is_behind:
                self.is_behind = False
                self.look_through()


class _Own:
    def __init__(self, edits: FollowedEdits) -> None:
        self._edits = edits

    def __enter__(self) -> None:
        self._before, self._edits.is_own = self._edits.is_own, True
        self._edits.writings += 1

    def __exit__(self, *_: object) -> None:
        self._edits.is_own = self._before
        self._edits._replaced()  # if somebody has done so meanwhile
