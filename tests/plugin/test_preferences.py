"""napari's Preferences: what the widget begins with, and the keys that it lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import settings
from napari.components import ViewerModel
from napari.utils.action_manager import action_manager

from napari_sam_amg.plugin import preferences as module
from napari_sam_amg.plugin.choices.model_box import ModelBox
from napari_sam_amg.plugin.choices.results_box import IN_MEMORY
from napari_sam_amg.plugin.preferences import Preferences, preferences
from napari_sam_amg.plugin.shortcuts import CANCEL, NOT_OPEN, RUN, cancel, run
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel

has_page = pytest.mark.skipif(not hasattr(settings, "get_plugin_settings"), reason="napari before 0.9")


@pytest.fixture
def chosen(tmp_path: Path) -> Iterator[Any]:
    """The page of the Preferences, kept in a folder of this test."""
    settings._clear_plugin_settings_cache()
    yield settings.get_plugin_settings(module.PLUGIN, path_dir=tmp_path).defaults
    settings._clear_plugin_settings_cache()


@has_page
def test_the_page_and_the_defaults_of_the_code_agree(chosen: Any) -> None:
    assert {name: getattr(chosen, name) for name in Preferences.__slots__} == {
        name: getattr(Preferences(), name) for name in Preferences.__slots__
    }
    assert preferences() == Preferences()
    chosen.memory = 2.5
    assert (preferences().memory_bytes, preferences().candidate_bytes) == (2_500_000_000, 625_000_000)


@has_page
def test_the_widget_begins_with_what_was_chosen(chosen: Any, make_napari_viewer: Any, tmp_path: Path) -> None:
    chosen.model, chosen.device, chosen.results_folder = "vit_b_lm", "cpu", str(tmp_path / "out")
    chosen.memory = 1e-6  # a thousand bytes
    viewer = make_napari_viewer(show=True)
    _, docked = viewer.window.add_plugin_dock_widget("napari-sam-amg", "Segment everything")
    panel = docked.panel
    assert (panel.model_box.chosen, panel.model_box.device.currentText()) == ("vit_b_lm", "cpu")
    assert panel.form.parameters().pred_iou_thresh == 0.65
    assert str(docked.batch_tab.choices.folder) == panel.results_box.folder.text() == str(tmp_path / "out")
    viewer.add_image(np.zeros((64, 80), np.uint8), contrast_limits=(0, 1))
    assert panel.results_box.where.currentText() == IN_MEMORY
    assert "allowed in the Preferences: write them to a folder" in panel.message.text()
    chosen.memory = 8
    assert panel.chosen.job().memory == 2 * 10**9  # as it is when the run is started


def test_without_a_page_there_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(settings, "get_plugin_settings", raising=False)
    assert preferences() == Preferences()


def test_a_model_or_device_that_is_not_there_is_said(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_sam_amg.plugin.choices.model_box.show_warning", said.append)
    box = ModelBox(Preferences(model="gone", device="cuda:7"))
    qtbot.addWidget(box)
    assert (box.chosen, box.device.currentText()) == ("embedded", "auto")
    assert ["'gone'" in said[0], "'cuda:7'" in said[1], len(said)] == [True, True, 2]


def test_run_and_cancel_are_listed_among_the_shortcuts_and_act(plugin: Any, model: HeldModel) -> None:
    for name, words in ((RUN, "Segment everything"), (CANCEL, "Cancel the segmentation")):
        assert words in action_manager._actions[name].description
        assert action_manager._shortcuts[name]
    listed = [action.description for action in action_manager._get_provider_actions(ViewerModel).values()]
    assert any("(SAM)" in words for words in listed)
    plugin.viewer.add_image(disc_image([(15, 15)]))
    model.hold_after = 1
    action_manager.trigger(RUN)
    assert plugin.widget.runner is not None
    action_manager.trigger(CANCEL)
    model.release.set()
    plugin.wait()
    assert plugin.widget.status.text() == "Cancelled."


def test_the_key_is_heard_where_the_image_has_the_focus(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image([(15, 15)]))
    keymap = {str(key): act for key, act in ViewerModel.class_keymap.items()}
    assert "Ctrl+Shift+R" in keymap
    keymap["Ctrl+Shift+R"](plugin.viewer)
    assert plugin.widget.runner is not None
    plugin.wait()


def test_run_says_why_it_does_not(plugin: Any, make_napari_viewer: Any) -> None:
    run(plugin.viewer)
    assert "Open an image" in plugin.messages.pop().message
    plugin.viewer.window.remove_dock_widget(plugin.docked.native)
    run(plugin.viewer)
    assert plugin.messages.pop().message == NOT_OPEN
    cancel(plugin.viewer)
