"""A batch as the main thread sees it: its worker, its turn among other runs, and what is known of each image."""

import threading
from collections.abc import Mapping
from typing import Any

from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.batch.batch_work import DONE, FAILED, PARTLY, SKIPPED, BatchJob, Ended, Listed, segment_batch
from napari_sam_amg.plugin.running.collector import collector
from napari_sam_amg.plugin.running.interruptible import Interrupted, Reins
from napari_sam_amg.plugin.running.live import PAINTED
from napari_sam_amg.plugin.running.runner import WATCH_INTERVAL, _running
from napari_sam_amg.plugin.window import is_open

NAMED = 3  # images that failed; the list has all


class BatchRun(QObject):
    """Start it once. ``finished`` is emitted once, whatever happens. Signals and slots are on the main thread."""

    told = Signal(object)  # Listed, Progress or Ended
    finished = Signal(str)  # how it ended, in words

    def __init__(self, viewer: Viewer, job: BatchJob) -> None:
        super().__init__()
        self._viewer, self._job = viewer, job
        self.names: tuple[str, ...] = ()
        self.ended: dict[int, Ended] = {}  # by place among the names
        self._reins = Reins()
        self._failure = ""
        self._cancelled = self._begun = False
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_INTERVAL)
        self._watch.timeout.connect(self._look_at_window)
        self._worker: Any = create_worker(self._work)
        self._worker.finished.connect(self._end)
        self._reins.stop_if(self._is_given_up)
        self.told.connect(self._take)

    def start(self) -> bool:
        """After the runs that were started before; returns whether it has to wait for one."""
        _running.append(self)
        self._watch.start()
        if _running[0] is not self:
            return True
        QTimer.singleShot(0, self._begin)
        return False

    def _begin(self) -> None:
        if self._begun or self not in _running:
            return
        self._begun = True
        collector().begin_run(self)
        self._worker.start()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Images that are done stay, and the next batch goes on with the one that was not."""
        if not self._cancelled:
            self._cancelled = True
            self._reins.stop()
            if not self._begun:
                self._begun = True
                QTimer.singleShot(0, self._announce)

    def _work(self) -> None:
        """In the worker thread. Errors are words, since napari shows a raised one with its traceback."""
        try:
            segment_batch(self._job, self._reins, self.told.emit)
        except Interrupted:
            pass
        except Exception as error:
            self._failure = explain_in_window(error)

    def _is_given_up(self) -> bool:
        return bool(self._worker.abort_requested) or not threading.main_thread().is_alive()

    def _look_at_window(self) -> None:
        if not is_open(self._viewer):
            self.cancel()

    def _take(self, item: Any) -> None:
        if isinstance(item, Listed):
            self.names = item.names
        elif isinstance(item, Ended):
            self.ended[item.place] = item

    def _end(self) -> None:
        collector().end_run(self)
        QTimer.singleShot(0, self._announce)  # what the worker told last comes before

    def _announce(self) -> None:
        self._watch.stop()
        _running.remove(self)
        if _running:
            QTimer.singleShot(PAINTED, _running[0]._begin)
        self.finished.emit(self._failure or summary(self.names, self.ended, self._cancelled))


def summary(names: tuple[str, ...], ended: Mapping[int, Ended], cancelled: bool = False) -> str:
    """How a batch ended: "12 of 13 images done; 1 failed: a.tif: why"."""
    if cancelled and not names:
        return "Cancelled."
    by_state = {
        state: [one for one in ended.values() if one.state == state] for state in (DONE, SKIPPED, PARTLY, FAILED)
    }
    there = len(by_state[DONE]) + len(by_state[SKIPPED]) + len(by_state[PARTLY])
    words = [f"{there} of {len(names)} image{'' if len(names) == 1 else 's'} done"]
    if by_state[SKIPPED]:
        words.append(f"{len(by_state[SKIPPED])} of them before")
    for state, what in ((PARTLY, "in part"), (FAILED, "failed")):
        if by_state[state]:
            words.append(f"{len(by_state[state])} {what}: {_named(names, by_state[state])}")
    stopped = "Cancelled: " if cancelled and len(ended) < len(names) else ""
    return f"{stopped}{'; '.join(words)}."


def _named(names: tuple[str, ...], some: list[Ended]) -> str:
    said = [f"{names[one.place]}: {one.words.rstrip('.')}" for one in some[:NAMED]]
    return "; ".join(said + ([f"and {len(some) - NAMED} more"] if len(some) > NAMED else []))
