"""What the widget shows and allows, and how runs end."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from napari.settings import get_settings
from napari.utils.progress import progress
from qtpy.QtWidgets import QLabel, QSpinBox

from napari_sam_amg.models.defaults import missing_reason
from napari_sam_amg.models.registry import known_models
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.choices import model_box
from napari_sam_amg.plugin.choices.field_scroll import FieldScroll
from napari_sam_amg.plugin.choices.rows import RowLabel
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.running import work
from napari_sam_amg.plugin.running.outcome import duration
from tests.disc_model import disc_image
from tests.plugin.held_model import MICRO_BATCH, HeldModel

STACK = np.stack([disc_image([(15, 15 + 5 * plane), (45, 40)]) for plane in range(6)])


def test_without_an_image_nothing_runs(plugin: Any) -> None:
    assert not plugin.widget.run_button.isEnabled()
    assert "Open an image" in plugin.widget.message.text()


def test_the_list_of_images_follows_the_viewer(plugin: Any) -> None:
    box, layers = plugin.widget.image_box, plugin.viewer.layers
    first = plugin.viewer.add_image(disc_image([(15, 15)]), name="first")
    assert plugin.widget.run_button.isEnabled()
    second = plugin.viewer.add_image(disc_image([(15, 15)]), name="second")
    assert box.layer is second
    labels = plugin.viewer.add_labels(np.zeros((64, 80), int))
    assert [box.image.itemText(row) for row in range(box.image.count())] == ["second", "first"]
    assert box.layer is second  # labels are active, and change nothing
    layers.selection.active = first
    assert box.layer is first
    layers.selection.active = labels
    assert box.layer is first
    first.name = "renamed"
    assert box.image.currentText() == "renamed"
    layers.remove(first)
    assert box.image.currentText() == "second"
    layers.clear()
    assert box.layer is None


def test_rows_for_stacks_are_shown_for_stacks(plugin: Any) -> None:
    box = plugin.widget.image_box
    for shape, shown in (((64, 80), (False, False)), ((1, 64, 80), (True, False)), ((3, 64, 80), (True, True))):
        plugin.viewer.add_image(np.zeros(shape), contrast_limits=(0, 1))
        assert (box.channel_axis.isVisible(), box.planes.isVisible()) == shown


def test_the_axis_of_channels_is_no_stack_axis(plugin: Any) -> None:
    plugin.viewer.add_image(np.zeros((3, 64, 80)), contrast_limits=(0, 1))
    box = plugin.widget.image_box
    box.channel_axis.setCurrentIndex(1)
    assert box.channel.isVisible()
    assert box.channel.maximum() == 2
    assert not box.planes.isVisible()


def test_an_image_that_cannot_be_segmented_is_marked(plugin: Any) -> None:
    plugin.viewer.add_image(np.zeros((4, 80)), contrast_limits=(0, 1))
    assert not plugin.widget.run_button.isEnabled()
    assert "4 x 80 pixels" in plugin.widget.message.text()
    assert plugin.widget.image_box.image.styleSheet()


@pytest.fixture
def half_way(plugin: Any, model: HeldModel) -> Any:
    """A run of six planes of four batches that waits in the third plane's second batch; go on with ``release``."""
    plugin.viewer.add_image(STACK, name="mine", scale=(3, 2, 2))
    plugin.viewer.dims.set_current_step(0, 0)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 9)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: runner.layer is not None and runner.layer.data[1].any(), timeout=30_000)
    return runner


def test_while_it_runs_only_cancel_is_offered(plugin: Any, model: HeldModel, half_way: Any) -> None:
    assert plugin.widget.cancel_button.isEnabled()
    assert not plugin.widget.run_button.isEnabled()
    plugin.qtbot.waitUntil(lambda: plugin.widget.status.text().startswith("Plane 3 of 6, 37 %"), timeout=10_000)
    (bar,) = progress._all_instances
    assert bar.desc.startswith("Segmenting mine")
    assert (bar.n, bar.total) == (9, 24)
    model.release.set()
    plugin.wait()
    assert not progress._all_instances


def test_cancel_keeps_finished_planes_and_takes_less_than_a_batch(plugin: Any, model: HeldModel, half_way: Any) -> None:
    plugin.widget.cancel_button.click()
    assert plugin.widget.status.text() == "Cancelling..."
    model.release.set()
    plugin.wait()
    record = half_way.layer.metadata[METADATA_KEY]
    assert model.decoded == 9 * 64 + MICRO_BATCH
    assert (record["state"], record["planes_done"], record["planes"]) == ("cancelled", 2, 6)
    assert [plane.any() for plane in half_way.layer.data] == [True] * 2 + [False] * 4
    assert list(half_way.layer.features["index"]) == [0, 1, 2, 3, 4]
    assert plugin.widget.status.text() == "Cancelled: 2 of 6 planes finished, they stay in the layer."
    assert plugin.widget.run_button.isEnabled()


def test_cancel_before_the_first_plane_leaves_no_layer(plugin: Any, model: HeldModel) -> None:
    plugin.viewer.add_image(STACK, name="mine")
    plugin.click_run_and_hold(model, 1)
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    assert [layer.name for layer in plugin.viewer.layers] == ["mine"]
    assert plugin.widget.status.text() == "Cancelled."


def test_results_belong_to_the_image_chosen_at_the_start(plugin: Any, model: HeldModel, half_way: Any) -> None:
    """Whatever is selected, renamed or removed meanwhile."""
    image = plugin.viewer.layers["mine"]
    plugin.viewer.add_image(disc_image([(20, 20)]), name="other")
    plugin.widget.image_box.image.setCurrentText("other")
    image.name = "renamed"
    plugin.viewer.layers.remove(image)
    model.release.set()
    plugin.wait()
    assert half_way.layer.name == "mine masks"
    assert tuple(half_way.layer.scale) == (3, 2, 2)
    assert all(plane.any() for plane in half_way.layer.data)


def test_removing_the_result_stops_the_run(plugin: Any, model: HeldModel, half_way: Any) -> None:
    plugin.viewer.layers.remove(half_way.layer)
    model.hold_after = 11
    model.release.set()
    plugin.wait()
    assert model.batches < 24
    assert "removed" in plugin.widget.status.text()


def test_closing_the_widget_stops_the_run(plugin: Any, model: HeldModel, half_way: Any) -> None:
    plugin.viewer.window.remove_dock_widget(plugin.docked.native)
    model.release.set()
    plugin.wait()
    assert model.batches == 10


def test_errors_come_as_notifications_in_words(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin.viewer.add_image(disc_image([(15, 15)]))
    for error, words in (
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory"),
        (ValueError("the image is constant"), "The image is constant"),
        (KeyError("x"), "stopped unexpectedly"),
    ):
        monkeypatch.setattr(work, "loaded_model", Mock(side_effect=error))
        plugin.click_run()
        plugin.wait()
        assert [words in message.message for message in plugin.messages] == [True]
        assert "Traceback" not in plugin.messages.pop().message
        assert words in plugin.widget.status.text()
        assert plugin.widget.run_button.isEnabled()


def test_known_models_and_a_file_can_be_chosen(plugin: Any) -> None:
    box = plugin.widget.model_box
    names = [box.model.itemData(row) for row in range(box.model.count())]
    assert names == [*known_models(), model_box.FROM_FILE]
    assert not box.path.isVisible()
    plugin.choose(pred_iou_thresh=0.56)  # the embedded model's own: what is typed stays with every model
    box.model.setCurrentText("vit_b_lm")
    assert plugin.widget.form.parameters().pred_iou_thresh == 0.65
    assert plugin.widget.form.parameters().min_mask_region_area == 100


def test_a_missing_model_says_how_to_get_it(plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_box, "missing_reason", missing_reason)
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    plugin.viewer.add_image(disc_image([(15, 15)]))
    plugin.widget.model_box.model.setCurrentText("vit_h")
    assert "sam_vit_h_4b8939.pth" in plugin.widget.message.text()
    assert not plugin.widget.run_button.isEnabled()


def test_a_checkpoint_file_brings_its_thresholds(plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_box, "missing_reason", missing_reason)
    plugin.viewer.add_image(disc_image([(15, 15)]))
    box, path = plugin.widget.model_box, tmp_path / "mine.pt"
    torch.save({"format": "napari-sam-amg/1", "amg": {"pred_iou_thresh": 0.42}, "model": {"w": torch.ones(3)}}, path)
    plugin.choose(pred_iou_thresh=0.56)  # the embedded model's own: what is typed stays with every model
    box.model.setCurrentText(model_box.FROM_FILE)
    assert box.path.isVisible()
    assert "choose a checkpoint file" in plugin.widget.message.text()
    box.path.setText(str(path))
    assert plugin.widget.run_button.isEnabled()
    plugin.qtbot.waitUntil(lambda: plugin.widget.form.parameters().pred_iou_thresh == 0.42, timeout=10_000)
    box.path.setText(str(tmp_path / "absent.pt"))
    assert "there is no file" in plugin.widget.message.text()
    assert plugin.widget.form.parameters() != AmgParameters()


@pytest.mark.parametrize(("seconds", "words"), [(7.6, "8 s"), (125, "2 min 05 s"), (4320, "1 h 12 min")])
def test_durations_as_one_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_status_is_of_the_image_that_is_chosen(plugin: Any, model: HeldModel) -> None:
    first = plugin.viewer.add_image(disc_image([(15, 15), (45, 40)]), name="first")
    second = plugin.viewer.add_image(disc_image([(15, 15)]), name="second")
    layers = plugin.viewer.layers
    layers.selection.active = first
    plugin.run()
    ended = plugin.widget.status.text()
    assert ended.startswith("2 masks")
    layers.selection.active = second
    assert (plugin.widget.status.text(), plugin.widget.bar.value()) == ("", -1)
    layers.selection.active = first
    assert plugin.widget.status.text() == ended
    plugin.click_run_and_hold(model, 5)
    layers.selection.active = second
    model.release.set()
    plugin.wait()
    assert plugin.widget.status.text().startswith("first: 2 masks")  # not as if they were of this image
    layers.selection.active = first
    layers.selection.active = second
    assert plugin.widget.status.text() == ""


def test_everything_fits_into_the_dock_at_every_size_of_the_font(plugin: Any) -> None:
    plugin.viewer.add_image(STACK, name="cells")
    plugin.widget.image_box.planes.setCurrentText("A range")
    for size in (9, 16):
        get_settings().appearance.font_size = size
        for place in range(plugin.docked.tabs.count()):
            plugin.docked.tabs.setCurrentIndex(place)
            (scroll,) = plugin.docked.tabs.widget(place).findChildren(FieldScroll)
            fits = lambda: scroll.widget().minimumSizeHint().width() <= scroll.viewport().width()  # noqa: B023, E731
            plugin.qtbot.waitUntil(fits, timeout=5000)
            for part in scroll.widget().findChildren(QSpinBox):
                right = part.mapTo(scroll.widget(), part.rect().topRight()).x()
                assert not part.isVisible() or right <= scroll.viewport().width(), part.text()
            for label in scroll.widget().findChildren(RowLabel):
                words = QLabel.minimumSizeHint(label).width()  # of the longest word
                plugin.qtbot.waitUntil(lambda: words <= label.width(), timeout=5000)  # noqa: B023
