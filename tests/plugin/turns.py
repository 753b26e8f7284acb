"""How long the main thread is busy at a time: the turns of its event loop, measured by a timer in it."""

import time
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QCoreApplication, QEvent, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent


@dataclass(frozen=True)
class Turn:
    wall: float  # s until the event loop turned again; other programs and threads lengthen it
    cpu: float  # s of the processor that the main thread used; what it does itself, however busy the machine is
    inserts: bool  # whether a layer was added to the viewer

    def __str__(self) -> str:
        return f"{1000 * self.wall:.0f} ms, {1000 * self.cpu:.0f} ms of them computing"


NONE = Turn(0.0, 0.0, False)


def move_mouse(viewer: Any) -> None:
    """In a corner of the window, as the system tells it."""
    window, place = viewer.window._qt_window.windowHandle(), QPointF(5, 5)
    none, no_keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    if window is not None:
        QCoreApplication.sendEvent(window, QMouseEvent(QEvent.Type.MouseMove, place, place, none, none, no_keys))


class Turns:
    """All turns from now on, of a window in which somebody moves the mouse."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._turns: list[Turn] = []
        self._inserts = False
        move_mouse(viewer)
        self._wall, self._cpu = time.perf_counter(), time.thread_time()
        self._events = viewer.layers.events.inserted
        self._events.connect(self._note)
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(5)

    def _note(self, event: Any = None) -> None:
        self._inserts = True

    def _tick(self) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        if len(self._turns) % 20 == 0:
            move_mouse(self._viewer)
        self._turns.append(Turn(wall - self._wall, cpu - self._cpu, self._inserts))
        self._wall, self._cpu, self._inserts = wall, cpu, False

    def stop(self) -> tuple[Turn, Turn]:
        """The worst turns (by each measure by itself): of those without a new layer, and of those with one."""
        self._timer.stop()
        self._events.disconnect(self._note)
        return self._worst(False), self._worst(True)

    def _worst(self, inserts: bool) -> Turn:
        turns = [turn for turn in self._turns if turn.inserts == inserts] or [NONE]
        return Turn(max(turn.wall for turn in turns), max(turn.cpu for turn in turns), inserts)
