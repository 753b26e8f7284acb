"""One run, from the Run button to the last plane: the worker, the layer it fills, the progress."""

import gc
import time
from collections import deque
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.plugin.interruptible import Reins
from napari_sam_amg.plugin.live import LiveLabels
from napari_sam_amg.plugin.work import Failure, Job, Ready, Stage, work

#: Runs outlive the widget that started them until their worker has stopped.
_running: "set[Runner]" = set()
_END, _TICK = object(), object()
PROGRESS_INTERVAL = 80  # ms; napari's progress bar repaints the whole window whenever it moves


class Runner(QObject):
    """Start it once. Signals and slots are on the main thread."""

    progressed = Signal(int, int, str)  # batches done, of how many, in words; 0 of 0 while nothing is known
    finished = Signal(str)  # how it ended, in words

    def __init__(self, viewer: Viewer, job: Job) -> None:
        super().__init__()
        self._job = job
        self._reins = Reins()
        self._live = LiveLabels(viewer, job.source, self._reins)
        self._bar: Any = None
        self._failure = ""
        self._cancelled = self._removed = False
        self._planes = len(job.source.stack.indices)
        self._began = 0.0
        self._step: Any = None  # the last one, if it is not shown yet
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(PROGRESS_INTERVAL)
        self._clock.timeout.connect(self._tick)
        self._arrived: deque[Any] = deque()
        self._handling = False
        self._worker = create_worker(work, job, self._reins)
        self._worker.yielded.connect(self._take)
        self._worker.finished.connect(self._take_end)

    def start(self) -> None:
        """Soon: the window shows first that the button was pressed."""
        _running.add(self)
        self.progressed.emit(0, 0, "Starting...")
        QTimer.singleShot(0, self._begin)

    def _begin(self) -> None:
        gc.freeze()  # what is there already is not walked during the run: a full collection takes 0.1 s and more
        self._bar = progress(total=0, desc=f"Segmenting {self._job.source.name}")
        self._worker.start()

    def cancel(self) -> None:
        """Stop at once, or after the few points that are being computed; finished planes stay."""
        self._cancelled = True
        self._reins.stop()
        self._worker.quit()

    @property
    def layer(self) -> Any:
        """The labels layer; None before the first plane is finished."""
        return self._live.layer

    def _take_end(self) -> None:
        """superqt emits ``finished`` in every case: returned, aborted or failed."""
        self._take(_END)

    def _tick(self) -> None:
        self._take(_TICK)

    def _take(self, item: Any) -> None:
        """Handle what arrives in its order.

        napari's progress bar runs the event loop when it is updated, so the next item may arrive
        while one is being handled: it waits.
        """
        self._arrived.append(item)
        if self._handling:
            return
        self._handling = True
        try:
            while self._arrived:
                self._handle(self._arrived.popleft())
        finally:
            self._handling = False

    def _handle(self, item: Any) -> None:
        if item is _END:
            self._end()
        elif item is _TICK:
            self._show_progress()
        elif isinstance(item, Stage):
            self.progressed.emit(0, 0, f"{item.text}...")
        elif isinstance(item, Failure):
            self._failure = item.message
        elif isinstance(item, Ready):
            self._began = time.perf_counter()
            self._live.describe(item.record)
            self.progressed.emit(0, 0, "Segmenting...")
        else:
            self._take_step(item)

    def _take_step(self, step: Any) -> None:
        """Take its plane at once; its progress is shown a little later, with that of others."""
        self._step = step
        if step.result is not None:
            self._live.add(step.result)
        if self._live.was_removed and not self._cancelled:
            self._removed = True
            self.cancel()
        if not self._clock.isActive():
            self._clock.start()

    def _show_progress(self) -> None:
        if self._step is None:
            return
        done, total, self._step = self._step.done, self._step.total, None
        self._advance(done, total)
        self.progressed.emit(done, total, self._words(done, total))

    def _advance(self, done: int, total: int) -> None:
        """The bar in napari's activity dock, which shows an ETA of its own."""
        if self._bar.total != total:
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)

    def _words(self, done: int, total: int) -> str:
        if self._cancelled:
            return "Cancelling..."
        planes = f"Plane {min(self._live.planes + 1, self._planes)} of {self._planes}, " if self._planes > 1 else ""
        elapsed = time.perf_counter() - self._began
        return f"{planes}{100 * done // total} %, {duration(elapsed / done * (total - done))} left"

    def _end(self) -> None:
        """The worker is done, by whatever way."""
        self._clock.stop()
        self._show_progress()
        self._bar.close()
        QTimer.singleShot(0, self._finish)

    def _finish(self) -> None:
        gc.unfreeze()
        self._live.finish("failed" if self._failure else "cancelled" if self._cancelled else "finished")
        QTimer.singleShot(0, self._announce)  # the table may have taken its time

    def _announce(self) -> None:
        _running.discard(self)
        if self._failure:
            show_error(self._failure)
        self.finished.emit(self._summary())

    def _summary(self) -> str:
        done = f"{self._live.planes} of {self._planes} planes" if self._planes > 1 else f"{self._live.planes} plane"
        if self._failure:
            return f"{self._failure} ({done} finished)" if self._live.planes else self._failure
        if self._removed:
            return "Stopped: the layer of the results was removed."
        if self._cancelled:
            return f"Cancelled: {done} finished, they stay in the layer." if self._live.planes else "Cancelled."
        return _found(self._live.masks, self._live.cut, time.perf_counter() - self._began, self._job.params.approximate)


def _found(masks: int, cut: int, seconds: float, approximate: bool) -> str:
    if not masks:
        return "No masks found. Lower the two thresholds, or check what is black and white under Brightness."
    kind = ", approximate" if approximate else ""
    found = f"{masks} mask{'s' if masks > 1 else ''} found in {duration(seconds)}{kind}."
    return found + (f" {cut} may be cut by the edge of a crop." if cut else "")


def duration(seconds: float) -> str:
    """Rounded as one would say it: 8 s, 2 min 05 s, 1 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
