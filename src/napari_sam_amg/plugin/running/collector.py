"""Python's garbage collector, kept out of the turns of a window that is in use.

napari and torch hold half a million objects and more, and a full collection walks all of them: the window stands still
for a third of a second, seen every 70 to 100 moves of a slider. So what is there is frozen: what is newer is walked.
What is frozen is not freed where it lies in a cycle, as a removed layer with its pixels does. So everything is walked
once after what may have left such a thing, while nobody touches a window; and a window that closes ends it.
"""

import gc
from weakref import WeakSet

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QGuiApplication, QWindow
from qtpy.QtWidgets import QApplication

from napari_sam_amg.plugin.window import is_open, without_proxy

REST = 2000  # ms without a key or the mouse
_TOUCHES = {
    QEvent.Type.MouseMove, QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease, QEvent.Type.Wheel,
    QEvent.Type.KeyPress, QEvent.Type.KeyRelease, QEvent.Type.TouchUpdate, QEvent.Type.TabletMove,
    QEvent.Type.NativeGesture,
}  # fmt: skip


class Collector(QObject):
    """One for the process, see :func:`collector`. Main thread only."""

    def __init__(self) -> None:
        super().__init__(QApplication.instance())
        self._viewers: WeakSet[Viewer] = WeakSet()
        self._runs: set[object] = set()  # that go on, by whose they are
        self._due = 0  # collections
        self._watched: list[QWindow] = []  # while one is due
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self._collect_at_rest)

    def follow(self, viewer: Viewer) -> None:
        """A viewer with our widget."""
        viewer = without_proxy(viewer)
        self._viewers.add(viewer)
        if is_open(viewer):  # one without a window has nothing that waits
            viewer.window._qt_window.installEventFilter(self)
        viewer.layers.events.removed.connect(self._note_removed)
        self.collect_soon()

    def begin_run(self, owner: object) -> None:
        """A worker will make many objects: what is there is not walked again and again for them."""
        self._runs.add(owner)
        gc.freeze()

    def end_run(self, owner: object) -> None:
        self._runs.discard(owner)
        if self._is_wanted:
            gc.freeze()
        self.collect_soon()

    @property
    def _is_wanted(self) -> bool:
        return any(is_open(viewer) for viewer in self._viewers)

    def _note_removed(self, _: object = None) -> None:
        """What is kept for a layer as long as it lives is left behind only when that is gone."""
        self.collect_soon(2)

    def collect_soon(self, times: int = 1) -> None:
        """All that was left behind: when the windows are at rest."""
        self._due = max(self._due, times)
        self._rest.start(REST)
        self._watched = QGuiApplication.topLevelWindows()
        for window in self._watched:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        kind = None if event is None else event.type()
        if kind in _TOUCHES and self._rest.isActive():
            self._rest.start(REST)
        elif kind == QEvent.Type.Close and not isinstance(watched, QWindow):
            gc.unfreeze()
            self.collect_soon()
        return False

    def _collect_at_rest(self) -> None:
        if self._runs:
            return  # its end asks again
        is_held = QGuiApplication.mouseButtons() != Qt.MouseButton.NoButton
        if is_held or QApplication.activePopupWidget() or QApplication.activeModalWidget():  # windows of their own
            self._rest.start(REST)
            return
        for window in filter(isalive, self._watched):
            window.removeEventFilter(self)
        self._watched = []
        gc.unfreeze()
        gc.collect()
        if self._is_wanted:
            gc.freeze()
            gc.collect()  # of nothing: Python lets a quarter of what the last one walked pass until the next
        self._due -= 1
        if self._due:
            self.collect_soon(self._due)


def collector() -> Collector:
    """Made when it is first asked for, in the main thread."""
    app = QApplication.instance()
    assert app is not None
    found = app.findChild(Collector)
    return found if isinstance(found, Collector) else Collector()
