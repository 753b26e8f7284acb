"""One run, from the Run button to the last plane: the worker, the layer it fills, the progress.

One run at a time in a process, however many viewers and docks there are: a model and the memory it
computes in are for one, and so is the processor. The others wait in their order.
"""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.collector import collector
from napari_sam_amg.plugin.running.interruptible import Reins
from napari_sam_amg.plugin.running.landed import Landed, landing_now
from napari_sam_amg.plugin.running.live import ASK_AGAIN, PAINTED, LiveLabels
from napari_sam_amg.plugin.running.outcome import counted, failed_planes
from napari_sam_amg.plugin.running.run_progress import RunProgress
from napari_sam_amg.plugin.running.summary import cancelled, finished, lines, of_part, out_of_sight
from napari_sam_amg.plugin.running.work import Failure, Job, Ready, Stage, work
from napari_sam_amg.plugin.window import is_open

if TYPE_CHECKING:
    from napari_sam_amg.amg.field_work import FieldWork

#: Runs, and those of batches, outlive the widget that started them until their worker has stopped. The first runs, the
#: others wait for their ``_begin`` to be called.
_running: list[Any] = []
_END, _TICK = object(), object()
WATCH_INTERVAL = 200  # ms; nothing tells for sure that a window is gone, however it was closed
PROGRESS_INTERVAL = 80  # ms; napari's progress bar repaints the whole window whenever it moves


class Runner(QObject):
    """Start it once. Signals and slots are on the main thread.

    Whatever happens, ``finished`` is emitted once: the widget's Run button waits for it.
    """

    progressed = Signal(int, int, str)  # batches done, of how many, in words; 0 of 0 while nothing is known
    finished = Signal(str)  # how it ended, in words

    def __init__(self, viewer: Viewer, job: Job) -> None:
        super().__init__()
        self._viewer = viewer
        self._reins = Reins()
        self._worker: Any = None  # before it begins
        self._prepare(job)
        self._failure = ""
        self._outlined: FieldWork | None = None
        self._gaps = ""
        self._begun = self._cancelled = False
        self._lost = ""  # why nothing can be written to the layer any more
        self._began = 0.0
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(PROGRESS_INTERVAL)
        self._clock.timeout.connect(self._tick)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_INTERVAL)
        self._watch.timeout.connect(self._look_at_window)
        self._arrived: deque[Any] = deque()
        self._handling = False
        self._reins.stop_if(self._is_given_up)

    def _prepare(self, job: Job) -> None:
        """For where its labels go."""
        self._job = job
        self._live = LiveLabels(self._viewer, job.source, self._reins, self._fail, job.files, Landed(self._viewer, job))
        self._so_far = self._live.so_far
        self._progress = RunProgress(self._so_far, len(job.landing.done))
        self._planes = len(job.source.stack.indices) + len(job.landing.done)

    def start(self) -> None:
        """Soon: the window shows first that the button was pressed. After the runs that were started before."""
        _running.append(self)
        self._watch.start()
        # in a later turn also where nothing is to wait for: Run is drawn as pressed before the window is busy
        if _running[0] is self:
            self.progressed.emit(0, 0, "Starting...")
            QTimer.singleShot(0, self._begin)
        else:
            self.progressed.emit(0, 0, "Waiting for another run...")

    def _begin(self) -> None:
        if self._begun or self not in _running:  # it was cancelled, and is over
            return
        self._begun = True
        collector().begin_run(self)
        try:
            self._prepare(self._job.landing_at(landing_now(self._viewer, self._job)))
            self._live.begin()
            self._progress.open(self._job.source.name)
            self._worker = create_worker(work, self._job, self._reins)  # napari keeps one for ever that never starts
            self._worker.yielded.connect(self._take)
            # not returned: a worker that was told to quit never emits that
            self._worker.finished.connect(self._take_end)
            self._worker.start()
        except Exception as error:
            self._fail(error)
            self._take_end()

    def _is_given_up(self) -> bool:
        """Whether nobody wants the run any more who could say so: napari quits, and waits for its workers, or has.

        Asked in the worker, and at the end.
        """
        is_told = self._worker is not None and self._worker.abort_requested
        return bool(is_told) or not threading.main_thread().is_alive()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Stop at once, or after the few points that are being computed; finished planes stay."""
        if not self._cancelled:
            self._cancelled = True
            self._reins.stop()
            if not self._begun:  # there is no worker that would end
                self._begun = True
                QTimer.singleShot(0, self._announce)

    def _look_at_window(self) -> None:
        if not is_open(self._viewer):
            self.cancel()

    def _fail(self, error: Exception) -> None:
        """End the run for an error on this side, the first of which is told."""
        self._failure = self._failure or explain_in_window(error)
        self._reins.stop()

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
        while one is being handled: it waits. An error ends the run, and what arrived later is handled all the same.
        """
        self._arrived.append(item)
        if self._handling:
            return
        self._handling = True
        while self._arrived:
            try:
                self._handle(self._arrived.popleft())
            except Exception as error:
                self._fail(error)
        self._handling = False

    def _handle(self, item: Any) -> None:
        if item is _END:
            self._end()
        elif item is _TICK:
            self._show_progress()
        elif isinstance(item, Stage):
            self.progressed.emit(0, 0, "Cancelling..." if self._cancelled else f"{item.text}...")
        elif isinstance(item, Failure):
            self._failure = self._failure or item.message
        elif isinstance(item, Ready):
            self._began = time.perf_counter()
            self._progress.start(self._began)
            self._outlined, self._gaps = item.outlined, item.gaps
            self._live.describe(item.record)
            self._live.keeping = item.keeping
            before = item.record.get("parts_done_before")
            self.progressed.emit(0, 0, f"Going on after {before} parts..." if before else "Segmenting...")
        else:
            self._take_step(item)

    def _take_step(self, step: Any) -> None:
        """Take its plane at once; its progress is shown a little later, with that of others."""
        if step.result is not None:
            self._live.add(step.result)
            self._live.describe({"point_search_note": self._job.params.note_on(step.result.params)})
        self._progress.note(step)
        # after cancel the layer may go, too; the run is then cancelled, not stopped for it
        if not self._cancelled and (lost := self._live.lost):
            self._lost = lost
            self.cancel()
        if not self._clock.isActive():
            self._clock.start()

    def _show_progress(self) -> None:
        shown = self._progress.show()
        if shown is not None:
            done, total, words = shown
            self.progressed.emit(done, total, "Cancelling..." if self._cancelled else words)

    def _end(self) -> None:
        """The worker is done, by whatever way."""
        self._clock.stop()
        try:
            self._show_progress()
            self._progress.close()
        finally:  # last, since the bar runs the event loop
            QTimer.singleShot(0, self._finish)

    def _finish(self) -> None:
        collector().end_run(self)
        # napari tells its workers to quit when it is closed, which the watch may see later than the worker
        self._cancelled = self._cancelled or self._is_given_up() or not is_open(self._viewer)
        self._so_far.seconds += time.perf_counter() - self._began if self._began else 0.0
        try:
            self._live.describe(self._job.tally.record())
            self._live.finish(self._state())
            if self.layer is not None:
                reviewed(self.layer).asked_of = self._job.model, self._job.device, self._job.precision
        except Exception as error:
            self._fail(error)
        QTimer.singleShot(0, self._announce)  # the table may have taken its time

    def _state(self) -> str:
        """Finished is what has all planes, whatever the worker and the buttons say."""
        if not self._failure and not self._cancelled and not self._so_far.is_complete:
            self._failure = "The run ended before all planes were done."
        if not self._failure and self._so_far.is_complete and not self._so_far.has_results:
            self._failure = failed_planes(self._so_far.failed, self._planes)
        if self._failure:
            return "failed"
        return "finished" if self._so_far.is_complete and not self._lost else "cancelled"

    def _announce(self) -> None:
        """Once the layer is in the viewer: the next run would compute while it is added."""
        if self._live.is_adding:
            QTimer.singleShot(ASK_AGAIN, self._announce)
            return
        self._watch.stop()
        self._live.release()
        # before finished is emitted: who hears of it may start the next run at once
        _running.remove(self)
        if _running:  # the run before a cancelled one may still go on
            QTimer.singleShot(PAINTED, _running[0]._begin)
        summary = self._summary()
        self.finished.emit(summary)
        if self._failure:
            show_error(self._failure)
        elif self._so_far.failed:
            show_warning(failed_planes(self._so_far.failed, self._planes))

    def _summary(self) -> str:
        job, so_far = self._job, self._so_far
        if self._failure:
            done = counted(so_far.planes, self._planes)
            return f"{self._failure} ({done} finished)" if so_far.has_results else self._failure
        if self._lost:
            return f"Stopped: {self._lost}."
        note = self._live.note if self.layer is not None else ""
        failed = failed_planes(so_far.failed, self._planes)
        if self._cancelled and not so_far.is_complete:
            return lines(cancelled(so_far, job.files is not None), note, failed)
        out = self._outlined.left_out if self._outlined else 0
        words = finished(so_far, job.params, job.tally, job.source)
        words += of_part(job.source, so_far.seconds, out, bool(job.landing.done), self._out_of_sight())
        return lines(*words, self._gaps, note, failed)

    def _out_of_sight(self) -> str:
        is_seen = is_open(self._viewer) and not self._live.lost
        return out_of_sight(self.layer, self._viewer.dims, self._job.source) if is_seen else ""
