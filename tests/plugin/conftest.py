"""A real viewer and a real widget, driven through its controls, with a model that takes milliseconds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari.settings
import pytest
from napari.utils.notifications import Notification, notification_manager

from napari_sam_amg.plugin.panel import SegmentPanel
from napari_sam_amg.plugin.preferences import PLUGIN
from napari_sam_amg.plugin.running import work
from napari_sam_amg.plugin.running.runner import _running
from napari_sam_amg.plugin.widget import SegmentWidget
from tests.plugin.held_model import HeldModel

LOADED_MODEL = work.loaded_model  # as it is, without the stand-in below
TIMEOUT = 30_000  # ms, to wait for a run at most


@pytest.fixture
def model_kind() -> type[HeldModel]:
    """Of the model that is loaded; for other tests to choose another."""
    return HeldModel


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, model_kind: type[HeldModel]) -> HeldModel:
    """Whatever model is chosen, this one is loaded."""
    model = model_kind()
    monkeypatch.setattr(work, "loaded_model", lambda name, device, *_: model)
    monkeypatch.setattr("napari_sam_amg.plugin.choices.model_box.missing_reason", lambda model: None)
    return model


@pytest.fixture
def own_preferences(tmp_path: Path) -> Iterator[Path]:
    """Kept in a folder of this test: what one remembers is nothing to the next."""
    clear = getattr(napari.settings, "_clear_plugin_settings_cache", lambda: None)  # none before napari 0.9
    clear()
    if hasattr(napari.settings, "get_plugin_settings"):
        napari.settings.get_plugin_settings(PLUGIN, path_dir=tmp_path)
    yield tmp_path
    clear()


@dataclass
class Plugin:
    """The widget in its viewer, driven through its controls."""

    viewer: Any
    widget: SegmentPanel
    qtbot: Any
    messages: list[Notification]
    docked: SegmentWidget

    def choose(self, **fields: Any) -> None:
        """Type values into the form."""
        for name, value in fields.items():
            control = self.widget.form.fields[name].control
            control.setCurrentText(value) if isinstance(value, str) else control.setValue(value)

    def click_run(self) -> None:
        assert self.widget.run_button.isEnabled(), self.widget.message.text()
        self.widget.run_button.click()

    def click_run_and_hold(self, model: HeldModel, batches: int) -> None:
        """Run until the model waits in the batch after so many."""
        model.hold_after = batches
        self.click_run()
        self.qtbot.waitUntil(lambda: model.batches == batches + 1, timeout=TIMEOUT)

    def wait(self) -> None:
        self.qtbot.waitUntil(lambda: self.widget.runner is None, timeout=TIMEOUT)

    def run(self) -> Any:
        """Run to the end; the labels layer."""
        self.click_run()
        runner = self.widget.runner
        self.wait()
        return runner.layer


@pytest.fixture
def plugin(
    make_napari_viewer: Callable[..., Any], qtbot: Any, model: HeldModel, own_preferences: Path
) -> Iterator[Plugin]:
    """With a coarse grid and thresholds that the discs pass."""
    viewer = make_napari_viewer(show=True)
    _, docked = viewer.window.add_plugin_dock_widget("napari-sam-amg", "Segment everything")  # given a proxy of viewer
    widget = docked.panel
    messages: list[Notification] = []
    notification_manager.notification_ready.connect(messages.append)
    plugin = Plugin(viewer, widget, qtbot, messages, docked)
    plugin.choose(
        points_per_side=16, points_per_batch=64, pred_iou_thresh=0.9, stability_score_thresh=0.5, crop_layers="all"
    )
    yield plugin
    notification_manager.notification_ready.disconnect(messages.append)
    model.release.set()
    for runner in list(_running):
        runner.cancel()
    qtbot.waitUntil(lambda: not _running, timeout=TIMEOUT)
