"""Python's garbage collector does not walk again what is old, and what a removed layer held is freed all the same."""

import gc
from collections.abc import Iterator
from typing import Any
from weakref import ref

import pytest
from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QDialog

from napari_sam_amg.plugin.running import collector as module
from napari_sam_amg.plugin.running.collector import collector
from napari_sam_amg.plugin.widget import SegmentWidget
from tests.disc_model import disc_image
from tests.plugin.turns import move_mouse

REST = 400  # ms
FEW = 30_000  # objects, which take 15 ms to walk


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST", REST)


class Full:
    """Full collections, and how many objects each of them walked."""

    def __init__(self) -> None:
        self.walked: list[int] = []

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            self.walked.append(len(gc.get_objects()))


@pytest.fixture
def full() -> Iterator[Full]:
    noted = Full()
    gc.callbacks.append(noted)
    yield noted
    gc.callbacks.remove(noted)


def press_key(viewer: Any) -> None:
    key = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_F12, Qt.KeyboardModifier.NoModifier)
    QCoreApplication.sendEvent(viewer.window._qt_window.windowHandle(), key)


def at_rest(plugin: Any) -> None:
    plugin.qtbot.waitUntil(lambda: not collector()._rest.isActive(), timeout=40 * REST)


def test_what_is_there_after_a_run_is_not_walked_again(plugin: Any, full: Full) -> None:
    plugin.viewer.add_image(disc_image([(15, 15), (45, 40)]))
    plugin.run()
    assert gc.get_freeze_count() > 10 * FEW
    at_rest(plugin)
    assert max(full.walked) > 10 * FEW
    full.walked.clear()
    gc.collect()
    assert full.walked[0] < FEW


@pytest.mark.parametrize("touch", [press_key, move_mouse])
def test_a_removed_layer_is_freed_when_nobody_touches_the_window(plugin: Any, touch: Any, full: Full) -> None:
    plugin.viewer.add_image(disc_image([(15, 15), (45, 40)]))
    pixels = ref(plugin.run().data)
    at_rest(plugin)
    plugin.viewer.layers.remove(plugin.viewer.layers[-1])
    full.walked.clear()
    for _ in range(6):
        touch(plugin.viewer)
        plugin.qtbot.wait(REST // 2)
    assert all(walked < FEW for walked in full.walked)
    assert pixels() is not None
    at_rest(plugin)
    assert pixels() is None
    assert gc.get_freeze_count() > 10 * FEW


def test_a_window_that_is_gone_by_then(plugin: Any) -> None:
    dialog = QDialog(plugin.viewer.window._qt_window)
    dialog.show()
    collector().collect_soon()
    dialog.close()
    dialog.deleteLater()
    at_rest(plugin)
    assert gc.get_freeze_count() > 10 * FEW


def test_the_last_window_that_closes_ends_it(make_napari_viewer: Any, qtbot: Any) -> None:
    first, second = (make_napari_viewer(show=False) for _ in range(2))
    for viewer in (first, second):
        viewer.window.add_dock_widget(SegmentWidget(viewer))
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 10 * FEW, timeout=20 * REST)
    gone = ref(first.window._qt_viewer)
    first.close()
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert gone() is None
    qtbot.waitUntil(lambda: gc.get_freeze_count() > 10 * FEW, timeout=20 * REST)  # for the other
    second.close()
    assert gc.get_freeze_count() == 0
    qtbot.wait(2 * REST)
    assert gc.get_freeze_count() == 0
