"""Downloads from the widget, clicked through, from a real server on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication, QToolTip

from napari_sam_amg.models import transfer
from napari_sam_amg.models.defaults import missing_reason
from napari_sam_amg.models.registry import KnownModel
from napari_sam_amg.plugin.choices import folders, model_box
from tests.disc_model import disc_image
from tests.loopback import Loopback

CONTENT = bytes(range(256)) * 1600  # 409600 bytes
TIMEOUT = 20_000  # ms
Publish = Callable[..., KnownModel]


@pytest.fixture
def absent(plugin: Any, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """A model that is on the server and not here, chosen in a widget with an image."""
    monkeypatch.setattr(model_box, "missing_reason", missing_reason)
    absent = publish("vit_b_lm", CONTENT)
    plugin.viewer.add_image(disc_image([(15, 15)]))
    plugin.choose(pred_iou_thresh=0.56)  # the embedded model's own: what is typed stays with every model
    plugin.widget.model_box.model.setCurrentText("vit_b_lm")
    return absent


def wait(plugin: Any) -> None:
    """Until the download is over."""
    plugin.qtbot.waitUntil(lambda: plugin.widget.model_box.download_box.download is None, timeout=TIMEOUT)


def test_nothing_is_offered_for_a_model_that_is_there(plugin: Any) -> None:
    assert not plugin.widget.model_box.download_box.isVisible()


def test_download_enables_run_and_keeps_the_thresholds(plugin: Any, absent: KnownModel, server: Loopback) -> None:
    widget, box = plugin.widget, plugin.widget.model_box.download_box
    assert box.button.isVisible()
    assert box.button.text() == "Download (410 kB)"
    assert not box.bar.isVisible()
    assert not widget.run_button.isEnabled()
    assert widget.message.text() == "Model: 'vit_b_lm' is not on this computer: press Download"
    assert widget.form.parameters().pred_iou_thresh == 0.65
    plugin.choose(stability_score_thresh=0.5)
    assert server.requests == []

    server.pause = 0.02
    box.button.click()
    assert widget.message.text() == "Model: 'vit_b_lm' is being downloaded"
    assert not widget.run_button.isEnabled()
    assert box.cancel_button.isVisible()
    assert not box.button.isVisible()
    plugin.qtbot.waitUntil(lambda: 0 < box.bar.value() < box.bar.maximum() == 409, timeout=TIMEOUT)
    assert box.bar.text().endswith(" of 410 kB")
    wait(plugin)
    assert absent.path.read_bytes() == CONTENT
    assert not box.isVisible()
    assert not widget.message.isVisible()
    assert widget.run_button.isEnabled()
    parameters = widget.form.parameters()
    assert (parameters.pred_iou_thresh, parameters.stability_score_thresh) == (0.65, 0.5)
    assert parameters.min_mask_region_area == 100
    assert plugin.messages == []


def test_size_that_is_not_known_is_not_shown(plugin: Any, absent: KnownModel) -> None:
    plugin.widget.model_box.model.setCurrentText("vit_l")
    assert plugin.widget.model_box.download_box.button.text() == "Download"


def test_cancel_then_go_on(plugin: Any, absent: KnownModel, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_REPORT_EVERY", 0.0)
    box = plugin.widget.model_box.download_box
    server.pause = 0.05
    box.button.click()
    plugin.qtbot.waitUntil(lambda: box.bar.value() > 0, timeout=TIMEOUT)
    box.cancel_button.click()
    plugin.widget.model_box.enterEvent(None)
    assert not box.cancel_button.isEnabled()
    wait(plugin)
    assert not absent.path.exists()
    assert box.button.isVisible()
    assert not box.message.isVisible()
    assert plugin.messages == []
    assert not plugin.widget.run_button.isEnabled()

    server.pause = 0
    box.button.click()
    wait(plugin)
    assert plugin.widget.run_button.isEnabled()
    assert server.requests[1].headers["Range"].startswith("bytes=")
    assert server.requests[1].sent < len(CONTENT)


def test_failure_is_said_where_it_happened_and_as_a_notification(
    plugin: Any, absent: KnownModel, server: Loopback
) -> None:
    box = plugin.widget.model_box.download_box
    server.status = 404
    box.button.click()
    wait(plugin)
    (message,) = plugin.messages
    assert box.message.isVisible()
    assert box.message.text() == message.message
    assert message.message.startswith("Model 'vit_b_lm' could not be downloaded: 127.0.0.1:")
    assert message.message.endswith(f"download {absent.url} and save it as {absent.path}")
    assert box.button.isVisible()
    plugin.widget.model_box.model.setCurrentText("vit_t")
    assert not box.message.isVisible()


def test_the_failure_of_a_model_is_not_said_below_another_one(
    plugin: Any, absent: KnownModel, server: Loopback
) -> None:
    box = plugin.widget.model_box.download_box
    server.status = 404
    box.button.click()
    plugin.widget.model_box.model.setCurrentText("vit_t")
    wait(plugin)
    assert [message.severity.value for message in plugin.messages] == ["error"]
    assert box.button.isVisible()
    assert not box.message.isVisible()
    plugin.messages.clear()


def test_a_long_word_does_not_crush_the_image(plugin: Any, absent: KnownModel, publish: Publish) -> None:
    """Such as the hash of a file that is another one."""
    publish("vit_b_lm", CONTENT, f"sha256:{'0' * 64}")
    plugin.widget.model_box.model.setCurrentText("vit_l")
    plugin.widget.model_box.model.setCurrentText("vit_b_lm")
    plugin.viewer.window._qt_window.resize(1280, 800)
    box, canvas = plugin.widget.model_box.download_box, plugin.viewer.window._qt_viewer
    plugin.qtbot.wait(100)
    assert not box.message.is_cut_off
    box.button.click()
    wait(plugin)
    assert "0" * 64 in box.message.text()
    plugin.qtbot.wait(100)
    assert canvas.width() > 400
    assert box.message.is_cut_off  # and whole in the tooltip
    place = box.message.rect().center()
    QApplication.sendEvent(box.message, QHelpEvent(QEvent.Type.ToolTip, place, box.message.mapToGlobal(place)))
    plugin.qtbot.waitUntil(lambda: QToolTip.text() == box.message.text())
    plugin.messages.clear()


def test_another_model_can_be_chosen_meanwhile(plugin: Any, absent: KnownModel, server: Loopback) -> None:
    widget, box = plugin.widget, plugin.widget.model_box.download_box
    server.pause = 0.02
    box.button.click()
    widget.model_box.model.setCurrentText("embedded")
    assert box.cancel_button.isVisible()
    assert widget.run_button.isEnabled()
    wait(plugin)
    assert absent.path.exists()
    assert not box.isVisible()


def test_closing_the_widget_stops_the_download(plugin: Any, absent: KnownModel, server: Loopback) -> None:
    server.pause = 0.05
    plugin.widget.model_box.download_box.button.click()
    plugin.qtbot.waitUntil(lambda: any(request.sent for request in server.requests), timeout=TIMEOUT)
    plugin.viewer.window.remove_dock_widget(plugin.docked.native)
    wait(plugin)
    assert not absent.path.exists()


def test_file_put_there_by_hand_is_found(plugin: Any, absent: KnownModel) -> None:
    absent.path.parent.mkdir()
    absent.path.write_bytes(CONTENT)
    plugin.widget.model_box.enterEvent(None)
    assert plugin.widget.run_button.isEnabled()
    assert not plugin.widget.model_box.download_box.isVisible()


def test_offline_says_where_to_put_the_file(plugin: Any, absent: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SAM_AMG_OFFLINE", "1")
    plugin.widget.model_box.model.setCurrentText("vit_t")
    assert not plugin.widget.model_box.download_box.isVisible()
    assert "and save it as " in plugin.widget.message.text()
    assert not plugin.widget.run_button.isEnabled()


def test_models_folder_is_made_and_opened(plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[Path] = []
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path / "a" / "models"))
    monkeypatch.setattr(folders.QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile())) or True)
    plugin.widget.model_box.folder_button.click()
    assert opened == [tmp_path / "a" / "models"]
    assert opened[0].is_dir()
    assert "NAPARI_SAM_AMG_MODELS" in plugin.widget.model_box.folder_button.toolTip()
