"""All planes of a layer, held to its table, by the worker: after changes of which nobody told what they were."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from napari.qt.threading import create_worker
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from napari_sam_amg.plugin.reviewing.hand_made import Places
from napari_sam_amg.review.edits import Index, Patch
from napari_sam_amg.review.remeasure import Grid, disagreeing, places_of_all, rows_of_all

if TYPE_CHECKING:
    from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits

WAIT = 300  # ms, in which more may change
AT_ONCE = 1 << 20  # pixels that are not worth a worker


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    plane_of: Callable[[Index], NDArray[Any]]
    before: NDArray[Any] | None  # the data as they were, if they are known
    before_of: Callable[[Index], NDArray[Any]] | None  # planes of them
    planes: list[Index]
    grid: Grid
    table: pd.DataFrame
    writings: int  # when it began


class Survey(QObject):
    """Belongs to the edits of one layer. Main thread only, but for the work itself."""

    def __init__(self, edits: "FollowedEdits") -> None:
        super().__init__(edits)
        self._edits = edits
        self._before: NDArray[Any] | None = None
        self._is_busy = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)

    def start(self, before: NDArray[Any] | None = None) -> None:
        """Soon. ``before``: the data that the layer had, if it was given others."""
        self._before = before if self._before is None else self._before
        data = self._edits.review.layer.data
        if self._before is not None and self._before.shape != data.shape:
            self._before = None
        if self._before is not None:  # other thresholds would change what is to be compared
            self._edits.review.hold(self)
        if data.size <= AT_ONCE and not self._is_busy and not self._edits.is_own:
            self._finish(_surveyed(self._job()))
        else:
            self._timer.start(WAIT)

    def _job(self) -> _Job:
        review, before = self._edits.review, self._before
        self._before = None
        down, right = review.plane_axes
        places = {index: review.place(index) for index in self._edits.planes()}
        data = review.layer.data

        def plane_in(whole: NDArray[Any]) -> Callable[[Index], NDArray[Any]]:
            return lambda index: whole[places[index]] if down < right else whole[places[index]].T

        before_of = None if before is None else plane_in(before)
        return _Job(
            plane_in(data), before, before_of, list(places), self._edits.grid, review.table, self._edits.writings
        )

    def _begin(self) -> None:
        if self._is_busy or self._edits.is_own:
            self._timer.start(WAIT)
        elif self._edits.alive() is not None:
            self._is_busy = True
            job = self._job()
            worker = create_worker(_surveyed, job)
            worker.returned.connect(lambda found: self._end(job, found))
            worker.errored.connect(lambda _: self._end(job, None))
            worker.start()
        else:
            self._give_up()

    def _give_up(self) -> None:
        """A run has begun, or the layer is gone."""
        self._before, self._edits.is_behind = None, True
        self._edits.review.release(self)

    def _end(self, job: _Job, found: Any) -> None:
        self._is_busy = False
        edits = self._edits
        if edits.alive() is None or found is None:
            self._give_up()
            return
        is_writing = edits.is_own or edits.is_waiting or edits.writings != job.writings or self._before is not None
        if is_writing or not edits.review.table.equals(job.table):  # edited meanwhile, or edited and undone
            if job.before is not None:  # if they were replaced again: by the first ones
                self._before = job.before
            self.start()
        else:
            self._finish(found)

    def _finish(self, found: "_Found") -> None:
        self._edits.surveyed(*found)
        self._edits.review.release(self)


_Found = tuple[list[Patch], dict[int, Mapping[str, float] | None], Places]


def _surveyed(job: _Job) -> _Found:
    """What was changed, if it is known what was there before; what the table has otherwise than the labels; places."""
    patches = []
    if job.before_of is not None:
        both = [(index, job.before_of(index), job.plane_of(index)) for index in job.planes]
        patches = [patch for one in both if (patch := Patch.of(*one)) is not None]
    places = places_of_all(job.plane_of, job.planes)
    rows = rows_of_all(job.plane_of, places, job.grid)
    return patches, disagreeing(job.table, rows), places
