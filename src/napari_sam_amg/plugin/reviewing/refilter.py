"""Other thresholds for a result layer: made in a worker thread, shown as planes are ready.

The plane in sight comes first. Whoever moves on gets the latest: what was asked for before is dropped, but for the
plane in sight, so that it follows the slider.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.filtered import (
    GATHER,
    Failed,
    FilteredPlane,
    Made,
    Order,
    Relinked,
    filtered_planes,
)
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer, differing

TURN = 0.03  # s, of the main thread, at a time
RARELY = 5  # of the main thread's time, at most one part in this many goes into showing planes that are not in sight
_LAST = object()


class Refilter(QObject):
    """Belongs to a result layer whose candidates were kept. Main thread only."""

    progressed = Signal()  # something is shown, or is no longer waited for
    failed = Signal(str)  # why, in words

    def __init__(self, review: ReviewedLayer) -> None:
        super().__init__()
        self._review, self._kept = review, review.kept
        self.position: Callable[[], Index | None] = lambda: None  # index of the plane in sight, None if none is
        of_files = None if review.files is None else review.files.params
        self.params: AmgParameters = of_files or self._kept.params  # wanted
        #: Shown of each plane; None of one to which hands have done something else since.
        self._at: dict[Index, AmgParameters | None] = dict.fromkeys(self._kept.indices, self.params)
        self._counts: dict[Index, tuple[int, int]] = {}
        self._order: Order | None = None
        self._worker: FunctionWorker[Any] | None = None
        self._has_failed = False
        self._steps: Iterator[None] | None = None  # of showing linked objects
        for signal in (review.released, review.ended):
            signal.connect(self.look)

    @property
    def is_idle(self) -> bool:
        return self._worker is None and self._steps is None

    @property
    def waiting(self) -> int:
        """Planes that are still shown by other thresholds than the wanted ones."""
        return len(self._left())

    def _left(self) -> list[Index]:
        return [index for index, params in self._at.items() if params is not self.params and params != self.params]

    @property
    def planes(self) -> int:
        return len(self._at)

    @property
    def counts(self) -> tuple[int, int] | None:
        """Masks before overlaps, and those of them that are hidden by overlaps; None before all planes are known."""
        if len(self._counts) < len(self._at):
            return None
        masks, hidden = np.array(list(self._counts.values()), np.int64).reshape(-1, 2).sum(axis=0).tolist()
        return masks, hidden

    def take_new_planes(self) -> None:
        """The run went on, with its own thresholds."""
        for index in self._kept.indices:
            self._at.setdefault(index, self._kept.params)

    def ask(self, params: AmgParameters) -> None:
        """Show these, soon. Raises ``ValueError`` for what was not kept."""
        self._kept.check(params)
        self.params, self._has_failed = params, False
        self._begin_again()

    def remake(self, planes: Iterable[Index] | None) -> None:
        """Hands have taken back what they did to these planes, or to all: what lies beneath is shown again."""
        self._at |= dict.fromkeys(self._at if planes is None else set(planes) & set(self._at))
        self._has_failed = False
        self._begin_again()

    def _begin_again(self) -> None:
        if self.is_idle:
            self._begin()
        elif self._order is not None:
            self._order.is_over = True

    def look(self) -> None:
        """Another plane may be in sight, or the layer again."""
        if self._order is not None:
            self._order.first = self.position()
        elif self.is_idle and not self._has_failed and self.waiting and self._is_wanted:
            self._begin()

    def _begin(self) -> None:
        left, files = self._left(), self._review.files
        source = self._review.source if files is None else self._review.source or files.layout
        if not left or source is None or not self._may_be_changed:
            self.progressed.emit()
            return
        self._order = Order(left, self.position())
        on_disk = files is not None
        self._worker = create_worker(filtered_planes, self._kept, self.params, self._order, source, on_disk)
        self._worker.yielded.connect(self._take)
        self._worker.finished.connect(self._go_on)
        self._worker.start()

    def _go_on(self) -> None:
        """The worker is done, or was told that nobody waits for it; and what it made is shown."""
        self._worker = self._order = None
        if not self._has_failed and self._is_wanted and self._steps is None:
            self._begin()

    @property
    def _is_wanted(self) -> bool:
        """Whether anybody can still see what is shown, and it may be changed now."""
        is_of_layer = not self._review.is_gone and self._review.refilter is self  # another run may have filled it
        return is_of_layer and self._may_be_changed and self.position() is not None

    @property
    def _may_be_changed(self) -> bool:
        return not self._review.is_held and not self._review.is_running

    def _take(self, item: Made) -> None:
        if not self._is_wanted:
            self._end()
        elif isinstance(item, Failed):
            self._fail(item.message)
        elif isinstance(item, Relinked):
            self._show_linked(item)
        elif not self._is_numbered(item[0]):
            return
        # what is late is shown in sight alone, where it follows the slider
        elif item[0].params == self.params or (len(item) == 1 and item[0].index == self.position()):
            rows = [plane.rows for plane in item if len(plane.rows)] or [item[0].rows]
            for _ in self._showing(item, pd.concat(rows)):
                pass

    def _is_numbered(self, item: FilteredPlane | Relinked) -> bool:
        """Whether its ids are still free: if hands have drawn by one of them meanwhile, it is made once more."""
        self._review.about_to_change.emit()  # with what waits for its turn
        return bool(item.numbering == self._kept.numbering)

    def _end(self) -> None:
        if self._order is not None:
            self._order.is_over = True

    def _fail(self, message: str) -> None:
        """What is shown stays."""
        self._has_failed = True
        self._end()
        self.failed.emit(message)

    def _show_linked(self, item: Relinked) -> None:
        """Objects are in many planes, and all are shown at once: what must be known for it takes several turns."""
        hand = self._hand
        self._steps = self._showing(item.planes, item.rows)

        def turn() -> None:
            if item.params != self.params or not self._is_wanted or not self._is_numbered(item):
                self._steps = None
            elif self._hand is not hand:  # somebody has drawn meanwhile
                self._show_linked(item)
            elif self._goes_on():
                QTimer.singleShot(0, turn)
                return
            else:
                self._steps = None
                self._show_tracks(item)
            if self._worker is None and self._steps is None and not self._has_failed:
                self._begin()

        turn()

    def _goes_on(self) -> bool:
        """One turn's part of showing; whether more is left."""
        until = time.monotonic() + TURN
        while self._steps is not None and next(self._steps, _LAST) is not _LAST:
            if time.monotonic() > until:
                return True
        return False

    @property
    def _hand(self) -> Any:
        """What was last done by hand."""
        return getattr(self._review.edits, "last", None)

    def _show_tracks(self, item: Relinked) -> None:
        tracks = None if self._review.tracks is None else self._review.tracks()
        if tracks is not None and item.tracks is not None:
            data, graph = item.tracks
            tracks.graph = {}  # the old one names tracks that may not be there
            tracks.data = data
            tracks.graph = graph

    def _showing(self, planes: Sequence[FilteredPlane], rows: pd.DataFrame) -> Iterator[None]:
        """In steps; all is changed in the last one."""
        began = time.monotonic()
        files = self._review.files
        try:
            if files is None:
                yield from self._laid_out(planes, rows)
            else:  # which are not changed by hand
                is_linked = self._kept.params.link != "none"
                files.show(self._review, {plane.index: plane.labels for plane in planes}, rows, is_linked)
        except (ValueError, OSError) as error:
            self._fail(explain_in_window(error))
            return
        for plane in planes:
            self._at[plane.index] = plane.params
            self._counts[plane.index] = plane.masks, plane.hidden
        self._tell()
        self.progressed.emit()
        if self._order is not None:
            self._order.gather = max(GATHER, RARELY * (time.monotonic() - began))

    def _laid_out(self, planes: Sequence[FilteredPlane], rows: pd.DataFrame) -> Iterator[None]:
        self._review.about_to_change.emit()
        edits = self._review.edits
        labels = {plane.index: plane.labels for plane in planes}
        if edits is not None:
            beneath: dict[Index, frozenset[int]] = {}
            for index, found in labels.items():
                labels[index] = edits.apply(index, found)
                if (box := differing(found, labels[index])) is not None:
                    both = np.unique([found[box], labels[index][box]])
                    beneath[index] = frozenset(both.tolist()) - {0}
                yield
            self._review.beneath = beneath
        yield from self._review.showing(labels, rows, drawn=self.position() in labels)
        if edits is not None:
            edits.laid_over()

    def _tell(self) -> None:
        """The layer's record says what is shown, and of which planes that is not so yet."""
        others, counts = [list(index) for index in self._left()], self.counts
        more: dict[str, Any] = {"planes_at_other_thresholds": others} if others else {}
        if counts is not None:
            more |= {"masks": counts[0], "hidden_by_overlap": counts[1]}
        self._review.tell(self.params, self._kept.params, more)
