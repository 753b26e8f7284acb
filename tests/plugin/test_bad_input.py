"""Whatever is opened, chosen, removed or closed: words, and neither a traceback nor a hang."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sam_amg.models.defaults import missing_reason
from napari_sam_amg.plugin.choices import model_box
from napari_sam_amg.plugin.running import work
from napari_sam_amg.plugin.running.live import LiveLabels
from napari_sam_amg.plugin.running.runner import _running
from napari_sam_amg.plugin.window import is_open
from tests.disc_model import disc_image
from tests.plugin.conftest import LOADED_MODEL
from tests.plugin.held_model import HeldModel

IMAGE = disc_image([(15, 15), (45, 60)])
STACK = np.stack([IMAGE] * 3)


# A viewer takes a second to open: one for all inputs of a kind. Their layers are not removed in between: napari 0.9
# alone, with labels over an image, crashes in Mesa 22.3 when it draws new ones after `layers.clear()`.

EMPTY = {
    "zero": (np.zeros((64, 80), np.uint8), "every pixel is 0"),
    "zero stack": (np.zeros((3, 64, 80), np.float32), "every pixel is 0"),
    "NaN": (np.full((64, 80), np.nan), "no pixel is finite"),
    "white RGBA": (np.full((64, 80, 4), 255, np.uint8), "every pixel is 255"),
}


def test_an_image_with_nothing_in_it_is_a_result(plugin: Any) -> None:
    for name, (image, words) in EMPTY.items():
        plugin.viewer.add_image(image, name=name, contrast_limits=(0, 1), rgb=image.shape[-1] == 4)
        assert plugin.run().data.max() == 0, name
        assert plugin.messages == []
        assert words in plugin.widget.status.text(), name
        assert plugin.widget.run_button.isEnabled()


REFUSED = {
    "1x1": (np.zeros((1, 1)), "1 x 1 pixels"),
    "3x20000": (np.zeros((3, 20_000)), "3 x 20000 pixels"),
    "Y, X, 1": (
        np.zeros((64, 80, 1)),
        "80 x 1 pixels: each side must have at least 8. If the last axis holds channels",
    ),
}


def test_an_image_that_cannot_be_segmented_keeps_run_off(plugin: Any) -> None:
    """Complex images are refused by napari itself."""
    for name, (image, words) in REFUSED.items():
        plugin.viewer.add_image(image, name=name, contrast_limits=(0, 1))
        assert words in plugin.widget.message.text(), name
        assert not plugin.widget.run_button.isEnabled()
    assert plugin.messages == []


def test_rare_types_of_pixels_are_segmented(plugin: Any) -> None:
    for dtype in (bool, np.int8, np.int64, np.uint64, np.float16):
        plugin.viewer.add_image((IMAGE > 100).astype(dtype))
        assert plugin.run().data.max() == 2, dtype
    assert plugin.messages == []


def test_a_checkpoint_that_is_none_is_a_notification(
    plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(work, "loaded_model", LOADED_MODEL)
    monkeypatch.setattr(model_box, "missing_reason", missing_reason)
    (tmp_path / "no_bytes.pth").touch()
    (tmp_path / "damaged.pth").write_bytes(b"PK\x03\x04 and so on")
    torch.save({"conv1.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "foreign.pth")
    plugin.viewer.add_image(IMAGE)
    plugin.widget.model_box.model.setCurrentText(model_box.FROM_FILE)
    for name, words in (("no_bytes", "empty"), ("damaged", "damaged"), ("foreign", "keys")):
        plugin.widget.model_box.path.setText(str(tmp_path / f"{name}.pth"))
        plugin.click_run()
        plugin.wait()
        (message,) = (message.message for message in plugin.messages)
        plugin.messages.clear()
        assert f"{name}.pth" in message
        assert words in message
        assert "\n" not in message, message
        assert len(plugin.viewer.layers) == 1


@pytest.fixture
def second_plane(plugin: Any, model: HeldModel) -> Any:
    """A run of three planes of four batches that waits in the second plane."""
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 5)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: "mine masks" in plugin.viewer.layers, timeout=30_000)
    return runner


def test_a_renamed_result_is_filled_all_the_same(plugin: Any, model: HeldModel, second_plane: Any) -> None:
    second_plane.layer.name = "other"
    model.release.set()
    plugin.wait()
    assert [layer.name for layer in plugin.viewer.layers] == ["mine", "other"]
    assert second_plane.layer.data.max() == 6


def test_a_result_given_other_data_and_metadata_is_no_error(plugin: Any, model: HeldModel, second_plane: Any) -> None:
    second_plane.layer.data = np.zeros((2, 5, 5), int)
    second_plane.layer.metadata.clear()
    model.release.set()
    plugin.wait()
    assert plugin.messages == []


def test_removing_all_layers_stops_the_run(plugin: Any, model: HeldModel, second_plane: Any) -> None:
    plugin.viewer.layers.clear()
    model.release.set()
    plugin.wait()
    assert "removed" in plugin.widget.status.text()
    assert plugin.messages == []
    assert len(plugin.viewer.layers) == 0


def test_a_plane_that_was_under_way_when_all_layers_went_is_no_error(
    plugin: Any, model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The viewer has two axes then, the plane's stack three."""
    results: list[Any] = []
    add = LiveLabels.add
    monkeypatch.setattr(LiveLabels, "add", lambda live, result: (results.append(result), add(live, result)))
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 5)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: "mine masks" in plugin.viewer.layers and not runner._live.is_adding, timeout=30_000)
    plugin.viewer.layers.clear()
    runner._live.add(results[0])
    model.release.set()
    plugin.wait()
    assert "removed" in plugin.widget.status.text()
    assert plugin.messages == []


def test_removing_the_source_before_the_first_plane_is_no_error(plugin: Any, model: HeldModel) -> None:
    plugin.viewer.add_image(STACK, name="mine")
    plugin.click_run_and_hold(model, 1)
    plugin.viewer.layers.clear()
    model.release.set()
    plugin.wait()
    assert [layer.name for layer in plugin.viewer.layers] == ["mine masks"]
    assert plugin.messages == []


@pytest.mark.parametrize("hold_after", [1, 5])
def test_closing_the_viewer_stops_the_run(plugin: Any, model: HeldModel, hold_after: int) -> None:
    """Before the first plane is finished, and after."""
    plugin.viewer.add_image(STACK, name="mine")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, hold_after)
    assert is_open(plugin.viewer)
    plugin.viewer.close()
    assert not is_open(plugin.viewer)
    model.release.set()
    plugin.qtbot.waitUntil(lambda: not _running, timeout=30_000)
    assert model.decoded < STACK.shape[0] * 256
    assert plugin.messages == []


def test_closing_the_widget_right_after_the_click_is_no_error(plugin: Any) -> None:
    plugin.viewer.add_image(STACK, name="mine")
    plugin.click_run()
    plugin.viewer.window.remove_dock_widget(plugin.docked.native)
    plugin.qtbot.waitUntil(lambda: not _running, timeout=30_000)
    assert [layer.name for layer in plugin.viewer.layers] == ["mine"]
    assert plugin.messages == []
