"""Objects of a result layer deleted, kept alone or merged, with undo and redo: labels and table together."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits
from napari_sam_amg.plugin.reviewing.layer_objects import layer_objects
from napari_sam_amg.plugin.reviewing.strokes import forget_strokes
from napari_sam_amg.plugin.reviewing.turns import in_turns
from napari_sam_amg.review.edits import Index, Patch, Step, renamed
from napari_sam_amg.review.remeasure import Box, joined

MANY = 50  # objects of a plane that are replaced all at once
ROWS = 1 << 18  # pixels that are replaced in a step of the work
ON_DISK = "These labels lie on the disk and can only be looked at: to edit them, open a copy in memory."
RUNNING = "Wait until the run is over."


class ObjectActions(QObject):
    """Belongs to the edits of one layer. Main thread only; long ones go on in turns of the event loop."""

    busy = Signal(bool)
    told = Signal(str)  # what was done, in a sentence

    def __init__(self, edits: FollowedEdits) -> None:
        super().__init__(edits)
        self._edits = edits
        self.is_busy = False

    def why_not(self) -> str:
        """Why nothing can be edited, in a sentence; empty if it can."""
        if self._edits.review.is_running:
            return RUNNING
        return "" if self._edits.alive() is not None else ON_DISK

    def delete(self, ids: Iterable[int]) -> None:
        self._rename(dict.fromkeys(ids, 0), self._edits.hand.delete)

    def keep(self, ids: Iterable[int]) -> None:
        """Delete all others."""
        layer = self._edits.alive()
        if layer is not None:
            self._edits.settle()  # what was drawn in this very moment is one of the others
            self.delete(layer_objects(layer).ids() - set(ids))

    def merge(self, ids: Iterable[int]) -> None:
        """Into the lowest of their ids. ``ValueError`` for fewer than two."""
        first, *others = sorted(set(ids)) or [0]
        if not others:
            raise ValueError("Select two objects or more to merge them.")
        self._rename(dict.fromkeys(others, first), lambda _, seen: self._edits.hand.merge([first, *others], seen))

    def _rename(self, names: dict[int, int], note: Callable[[Iterable[int], list[Patch]], Step]) -> None:
        layer, patches = self._edits.alive(), []
        self._edits.settle()  # a stroke of this very moment comes first
        if layer is None or self.is_busy or not names:
            return

        steps: list[Step] = []

        def work() -> Iterator[None]:
            yield from self._edits.rows.finding(names)
            places = yield from self._places(names)
            for patch in self._patches(names, places):
                patches.append(patch)
                self._edits.write(patch, patch.after)
                yield
            steps.append(note(names, patches))
            yield from self._measured(layer, steps[0])

        self._run(layer, work(), lambda: self.told.emit(f"{_sentence(steps[0].words)}."))

    def _places(self, names: Mapping[int, int]) -> Generator[None, None, dict[Index, list[Box]]]:
        """Where these labels may be."""
        places: dict[Index, list[Box]] = {}
        for where in self._edits.rows.some_places({label: {} for label in names}):
            for index, box in (place for of_one in where.values() for place in of_one.items()):
                places.setdefault(index, []).append(box)
            if not all(where.values()):  # labels that the table does not have
                return {index: [np.s_[0:, 0:]] for index in self._edits.planes()}
            yield
        return places

    def _patches(self, names: Mapping[int, int], places: Mapping[Index, list[Box]]) -> Iterator[Patch]:
        """Piece by piece, so that none takes long."""
        for index, boxes in places.items():
            plane = self._edits.review.plane(index)
            for box in boxes if len(boxes) < MANY else [_around(boxes)]:
                yield from _renamed_in(index, plane, box, names)

    def undo(self) -> None:
        """The last step, whether it was a stroke or one of these."""
        self._edits.settle()
        step = self._edits.hand.last
        layer = self._edits.alive()
        if layer is None or self.is_busy:
            return
        if step is None:
            layer.undo()  # strokes of a time before these were followed
            return
        self._put(layer, step, step.patches[::-1], "before", f"Undone: {step.words}.", self._edits.hand.undo)

    def redo(self) -> None:
        self._edits.settle()
        step, layer = self._edits.hand.next, self._edits.alive()
        if layer is None or self.is_busy:
            return
        if step is None:
            layer.redo()
            return
        self._put(layer, step, step.patches, "after", f"{_sentence(step.words)}.", self._edits.hand.redo)

    def _put(
        self, layer: Labels, step: Step, patches: tuple[Patch, ...], when: str, words: str, note: Callable[[], object]
    ) -> None:
        if not self._edits.hand.fits(step) and self._edits.review.refilter is not None:
            note()
            self._edits.review.refilter.remake(None if step.renamed else {patch.index for patch in patches})
            self.told.emit(words)
            self._edits.changed.emit()
            return

        def work() -> Iterator[None]:
            for patch in patches:
                self._edits.write(patch, getattr(patch, when))
                yield
            note()
            yield from self._measured(layer, step)

        self._run(layer, work(), lambda: self.told.emit(words))

    def _run(self, layer: Labels, work: Iterator[None], done: Callable[[], None]) -> None:
        self.is_busy = True
        self.busy.emit(True)
        own, review = self._edits.own(), self._edits.review
        own.__enter__()
        review.hold(self)

        def end() -> None:
            own.__exit__()
            self.is_busy = False
            self.busy.emit(False)
            review.release(self)

        def succeed() -> None:
            end()
            done()

        def fail(error: Exception) -> None:
            end()
            # the layer, or the window, may be gone since it was begun
            if self._edits.alive() is not None:
                self._edits.look_through()
                show_error(explain_in_window(error))

        in_turns(_of_these_data(layer, work), succeed, fail)

    def _measured(self, layer: Labels, step: Step) -> Iterator[None]:
        """The pixels are as they shall be: draw them, and measure."""
        forget_strokes(layer)
        with self._edits.drawing():
            layer.refresh(extent=False)
        yield
        yield from self._edits.mending(step.patches, step.ids)


def _of_these_data(layer: Labels, work: Iterator[None]) -> Iterator[None]:
    """Work on the labels of a layer. ``ValueError`` if it is given others between two turns."""
    data = layer.data
    for _ in work:
        yield
        if layer.data is not data:
            raise ValueError("the layer was given other data meanwhile: nothing was changed in these")


def _renamed_in(index: Index, plane: NDArray[Any], box: Box, names: Mapping[int, int]) -> Iterator[Patch]:
    """Some rows at a time."""
    part = plane[box]
    height = max(1, ROWS // max(part.shape[1], 1))
    for top in range(0, part.shape[0], height):
        before = part[top : top + height]
        corner = (box[0].start or 0) + top, box[1].start or 0
        if (patch := Patch.of(index, before, renamed(before, names), corner)) is not None:
            yield patch


def _around(boxes: list[Box]) -> Box:
    whole = boxes[0]
    for box in boxes[1:]:
        whole = joined(whole, box)
    return whole


def _sentence(words: str) -> str:
    past = {"delete": "Deleted", "merge": "Merged", "draw": "Drawn", "change": "Changed", "replace": "Replaced"}
    verb, _, rest = words.partition(" ")
    return f"{past.get(verb, verb)} {rest}".strip()
