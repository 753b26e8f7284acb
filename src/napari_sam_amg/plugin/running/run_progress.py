"""What is said of a run while it runs, in words and in napari's activity dock."""

import time
from typing import Any

from napari.utils import progress

from napari_sam_amg.plugin.running.so_far import SoFar
from napari_sam_amg.plugin.running.time_left import TimeLeft


class RunProgress:
    """``open`` it when the run's turn has come, ``start`` it when the model is loaded, ``close`` it in the end.

    ``done_before``: how many of the planes were done before this run.
    """

    def __init__(self, so_far: SoFar, done_before: int) -> None:
        self._so_far, self._done_before = so_far, done_before
        self._bar: Any = None
        self._time_left = TimeLeft(0.0)
        self._step: Any = None  # the last one, if it is not shown yet
        self._planes = done_before  # that the model is done with

    def open(self, name: str) -> None:
        self._bar = progress(total=0, desc=f"Segmenting {name}")

    def start(self, now: float) -> None:
        """The time of the run counts from ``now``, in seconds of ``time.perf_counter``."""
        self._time_left = TimeLeft(now)

    def note(self, step: Any) -> None:
        """After its plane was counted, if it was the last step of one."""
        self._step = step
        planes = self._so_far.total - self._done_before
        # those that are linked are finished some planes after the model is done with them
        done = max(self._so_far.planes - self._done_before, step.done * planes // step.total)
        self._planes = self._done_before + done
        self._time_left.note(time.perf_counter(), step.done, step.total, done, planes)

    def show(self) -> tuple[int, int, str] | None:
        """Move the bar; how many steps are done, of how many, in words; None if nothing came since the last time."""
        if self._step is None:
            return None
        done, total, self._step = self._step.done, self._step.total, None
        planes, before = self._so_far.total, self._done_before
        all_steps = round(total * planes / (planes - before))  # of all planes, as those that were done before had, too
        done, total, earlier = done + all_steps - total, all_steps, all_steps - total
        # it began with 0: how many batches there are is known from the first step on
        if self._bar.total != total:  # in napari's activity dock, with an ETA of its own
            self._bar.reset(total)
            self._bar.n = self._bar.initial = earlier
        self._bar.update(done - self._bar.n)
        return done, total, self._words(done, total)

    def _words(self, done: int, total: int) -> str:
        planes = self._so_far.total
        plane = f"Plane {min(self._planes + 1, planes)} of {planes}, " if planes > 1 else ""
        left = self._time_left.words(time.perf_counter())
        return f"{plane}{100 * done // total} %{left and ', '}{left}"

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
