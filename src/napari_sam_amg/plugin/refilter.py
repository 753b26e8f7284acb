"""Other thresholds for a result layer: made of the kept candidates in a worker thread, shown as planes are ready.

The plane in sight comes first. Whoever moves on gets the latest: what was asked for before is dropped, but for the
plane in sight, so that it follows the slider.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from napari.qt.threading import FunctionWorker, create_worker
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.adding import not_while_adding
from napari_sam_amg.plugin.reviewed import Index, ReviewedLayer

PIXELS = 2**23  # of labels that are shown in one turn of the event loop: 10 ms to compare and to copy
GATHER = 100  # ms, in which planes that are not in sight wait for each other: the table is made once for all of them


@dataclass(frozen=True, slots=True, eq=False)
class FilteredPlane:
    """A plane of which the labels are made, by its thresholds."""

    index: Index
    params: AmgParameters
    labels: NDArray[np.int32]  # (H, W)
    rows: pd.DataFrame  # of its labels; of linked objects their cross-sections
    masks: int  # before overlaps were resolved
    hidden: int  # of these, by overlaps


@dataclass(frozen=True, slots=True, eq=False)
class Relinked:
    """All planes, linked again."""

    params: AmgParameters
    planes: tuple[FilteredPlane, ...]
    rows: pd.DataFrame  # of the objects


@dataclass(frozen=True, slots=True)
class Failed:
    message: str


class Order:
    """Which planes are to be made, shared by both threads: the one in sight is always next."""

    def __init__(self, indices: Iterable[Index], first: Index | None) -> None:
        self._left, self.first = dict.fromkeys(indices), first
        self._lock = threading.Lock()
        self.is_over = False  # nobody waits for it any more

    def take(self) -> Index | None:
        with self._lock:
            if self.is_over or not self._left:
                return None
            index = self.first if self.first in self._left else next(iter(self._left))
            del self._left[index]
            return index


def filtered_planes(
    kept: Any, params: AmgParameters, order: Order, named: Callable[[pd.DataFrame], pd.DataFrame]
) -> Iterator[FilteredPlane | Relinked | Failed]:
    """In the worker. Errors are yielded, since napari shows raised ones with their traceback."""
    try:
        if params.link == "none":
            while (index := order.take()) is not None:
                with not_while_adding():
                    plane = kept.plane(index, params)
                rows, masks = named(plane.features), len(plane.masks)
                yield FilteredPlane(index, params, plane.labels, rows, masks, plane.hidden_by_overlap)
        elif (linked := _relinked(kept, params, order, named)) is not None:
            yield linked
    except Exception as error:
        yield Failed(explain_in_window(error))


def _relinked(
    kept: Any, params: AmgParameters, order: Order, named: Callable[[pd.DataFrame], pd.DataFrame]
) -> Relinked | None:
    from napari_sam_amg.amg.table import joined

    planes, tables, results = [], [], kept.linked(params)
    while not order.is_over:
        with not_while_adding():
            result = next(results, None)
        if result is None:
            return Relinked(params, tuple(planes), named(joined(tables)))
        masks, rows = len(result.masks), named(result.features)
        planes.append(FilteredPlane(result.index, params, result.labels, rows, masks, max(0, masks - len(rows))))
        tables.append(result.objects)
    return None


class Refilter(QObject):
    """Belongs to a result layer whose candidates were kept. Main thread only.

    ``position``: the index of the plane in sight, None if none is.
    """

    progressed = Signal()  # something is shown, or is no longer waited for
    failed = Signal(str)  # why, in words

    def __init__(self, review: ReviewedLayer, position: Callable[[], Index | None]) -> None:
        super().__init__()
        self._review, self._kept, self._position = review, review.kept, position
        self.params: AmgParameters = self._kept.params  # wanted
        self._at: dict[Index, AmgParameters] = dict.fromkeys(self._kept.indices, self.params)  # shown of each plane
        self._counts: dict[Index, tuple[int, int]] = {}
        self._order: Order | None = None
        self._worker: FunctionWorker[Any] | None = None
        self._ready: dict[Index, FilteredPlane] = {}
        self._gather = QTimer(self)
        self._gather.setSingleShot(True)
        self._gather.timeout.connect(self._show_ready)

    @property
    def is_idle(self) -> bool:
        return self._worker is None and not self._ready

    @property
    def waiting(self) -> int:
        """Planes that are still shown by other thresholds than the wanted ones."""
        return sum(params != self.params for params in self._at.values())

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

    def ask(self, params: AmgParameters) -> None:
        """Show these, soon. Raises ``ValueError`` for what was not kept."""
        self._kept.check(params)
        if params == self.params and self._worker is not None:
            return
        self.params = params
        self._ready.clear()
        if self._worker is None:
            self._begin()
        elif self._order is not None:
            self._order.is_over = True

    def look(self) -> None:
        """Another plane may be in sight."""
        if self._order is not None:
            self._order.first = self._position()

    def stop(self) -> None:
        """Nobody looks any more."""
        self.params = self._kept.params
        self._at.clear()
        if self._order is not None:
            self._order.is_over = True

    def _begin(self) -> None:
        left = [index for index, params in self._at.items() if params != self.params]
        if not left:
            self.progressed.emit()
            return
        self._order = Order(left, self._position())
        self._worker = create_worker(filtered_planes, self._kept, self.params, self._order, namer(self._review))
        self._worker.yielded.connect(self._take)
        self._worker.finished.connect(self._go_on)
        self._worker.start()

    def _go_on(self) -> None:
        """The worker is done, or was told that nobody waits for it."""
        self._worker = self._order = None
        if self._ready:
            self._gather.start(0)
        elif self._is_there:
            self._begin()

    @property
    def _is_there(self) -> bool:
        return not self._review.is_gone

    def _take(self, item: FilteredPlane | Relinked | Failed) -> None:
        if not self._is_there:
            self.stop()
        elif isinstance(item, Failed):
            self._fail(item.message)
        elif isinstance(item, Relinked):
            if item.params == self.params:
                self._show(item.planes, item.rows)
        elif item.index == self._position():
            self._show([item], item.rows)
        elif item.params == self.params:
            self._ready[item.index] = item
            if not self._gather.isActive():
                self._gather.start(GATHER)

    def _fail(self, message: str) -> None:
        """What is shown stays."""
        if self._order is not None:
            self._order.is_over = True
        self.params = next(iter(self._at.values()), self.params)
        self.failed.emit(message)

    def _show_ready(self) -> None:
        """As many as one turn takes."""
        planes: list[FilteredPlane] = []
        while self._ready and sum(plane.labels.size for plane in planes) < PIXELS:
            planes.append(self._ready.pop(next(iter(self._ready))))
        if planes and self._is_there:
            self._show(planes, pd.concat([plane.rows for plane in planes if len(plane.rows)] or [planes[0].rows]))
        if self._ready:
            self._gather.start(0)
        elif self._worker is None and self._is_there:
            self._begin()

    def _show(self, planes: Iterable[FilteredPlane], rows: pd.DataFrame) -> None:
        review, labels = self._review, {}
        for plane in planes:
            labels[plane.index] = plane.labels
            self._at[plane.index] = plane.params
            self._counts[plane.index] = plane.masks, plane.hidden
        try:
            review.show_planes(labels, rows, drawn=self._position() in labels)
        except ValueError as error:
            self._fail(explain_in_window(error))
            return
        self._tell()
        self.progressed.emit()

    def _tell(self) -> None:
        """The layer's record says what is shown, and of which planes that is not so yet."""
        others = [list(index) for index, params in self._at.items() if params != self.params]
        more: Mapping[str, Any] = {"planes_at_other_thresholds": others} if others else {}
        counts = self.counts
        if counts is not None:
            more = {**more, "masks": counts[0], "hidden_by_overlap": counts[1]}
        self._review.tell(self.params, self._kept.params, more)


def namer(review: ReviewedLayer) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Names the columns of a table as the layer's axes are called."""
    from napari_sam_amg.amg.table import of_plane_axes

    source = review.source
    if source is None:
        return lambda table: table
    axes, through = source.plane_axes, source.through(review.kept.params)
    return lambda table: of_plane_axes(table, axes, through)
