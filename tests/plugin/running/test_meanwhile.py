"""What is done to the image and to earlier results between Run and the end: nothing is lost, nothing is mixed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sam_amg.plugin.batch.batch_choices import LAYERS
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from tests.plugin.choices.test_again import STACK, check_rows_and_labels, names, run_planes
from tests.plugin.held_model import HeldModel

LONG = 30_000  # ms
BATCHES = 4  # of a plane


@pytest.fixture
def cells(plugin: Any) -> Any:
    plugin.viewer.add_image(STACK.copy(), name="cells")
    return plugin


def run_on(plugin: Any, model: HeldModel) -> Any:
    """To the end, what is held."""
    runner = plugin.widget.runner
    model.hold_after = None
    model.release.set()
    plugin.wait()
    return runner.layer


def run_to_the_second_plane(plugin: Any, model: HeldModel) -> Any:
    """A run of all planes that waits there; its layer, which is in the viewer."""
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.viewer.dims.set_current_step(0, 0)
    plugin.click_run_and_hold(model, model.batches + BATCHES + 1)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: runner.layer in plugin.viewer.layers, timeout=LONG)
    return runner.layer


def cancel_after_a_plane(plugin: Any, model: HeldModel) -> Any:
    """A run of all planes of which the first is done."""
    run_to_the_second_plane(plugin, model)
    plugin.widget.cancel_button.click()
    layer = run_on(plugin, model)
    model.release.clear()
    assert plugin.widget.run_button.text() == "Continue"
    return layer


@pytest.mark.parametrize("change", ["paint", "rename"])
def test_results_that_a_run_was_to_replace_stay_if_they_are_changed_meanwhile(
    cells: Any, model: HeldModel, change: str
) -> None:
    first = run_planes(cells, "All planes")
    cells.choose(min_mask_region_area=10)
    cells.click_run_and_hold(model, model.batches + 1)
    if change == "paint":
        first.paint((0, 5, 5), 9)
    else:
        first.name = "good ones"
    run_on(cells, model)
    kept = "cells masks" if change == "paint" else "good ones"
    assert first in cells.viewer.layers
    assert names(cells) == ["cells", kept, "cells masks [1]" if change == "paint" else "cells masks"]
    assert "so it stays" in cells.widget.status.text()


def test_a_plane_that_is_edited_while_its_run_waits_stays(cells: Any, model: HeldModel, tmp_path: Path) -> None:
    first = run_planes(cells, "This plane", 1)
    batch = cells.docked.batch_tab
    batch.choices.what.setCurrentText(LAYERS)
    batch.choices.output.setText(str(tmp_path))
    model.hold_after = model.batches
    batch.run_button.click()
    cells.qtbot.waitUntil(lambda: model.batches == model.hold_after + 1, timeout=LONG)
    cells.click_run()
    assert cells.widget.status.text() == "Waiting for another run..."
    first.paint((1, 5, 5), 9)
    second = run_on(cells, model)
    assert second is not first
    assert (first.data[1] == 9).any()
    assert "was edited by hand, so it stays" in cells.widget.status.text()


@pytest.mark.parametrize("change", ["data", "scale", "labels"])
def test_continue_is_for_the_image_as_it_was(cells: Any, model: HeldModel, change: str) -> None:
    cancel_after_a_plane(cells, model)
    image = cells.viewer.layers["cells"]
    if change == "data":
        image.data = image.data.copy()
    elif change == "scale":
        image.scale = (1, 2, 2)
    else:
        image.axis_labels = ("z", "y", "x")
    cells.widget._check()
    assert cells.widget.run_button.text() == "Run"


def test_continue_is_for_the_pixels_that_the_run_began_with(cells: Any, model: HeldModel) -> None:
    """Not for those that the image was given before the first plane was there."""
    image = cells.viewer.layers["cells"]
    image.events.data.connect(lambda _: setattr(model, "hold_after", BATCHES + 1))
    cells.widget.image_box.planes.setCurrentText("All planes")
    cells.click_run()
    image.data = image.data[::-1].copy()
    runner = cells.widget.runner
    cells.qtbot.waitUntil(lambda: runner.layer in cells.viewer.layers, timeout=LONG)
    cells.widget.cancel_button.click()
    run_on(cells, model)
    assert runner.layer.metadata[METADATA_KEY]["planes_done"] == 1
    assert cells.widget.run_button.text() == "Run"


def test_continue_is_for_the_same_file_of_the_model(cells: Any, model: HeldModel, tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"

    def write(weight: float) -> None:
        torch.save({"format": "napari-sam-amg/1", "amg": {}, "model": {"w": torch.full((3,), weight)}}, file)

    write(1)
    with cells.qtbot.waitSignal(cells.widget.model_box.suited, timeout=LONG):
        cells.widget.model_box.choose(str(file))
    cancel_after_a_plane(cells, model)
    write(2)
    cells.widget.model_box._look()
    assert cells.widget.run_button.text() == "Run"


@pytest.mark.parametrize("change", ["data", "scale"])
def test_a_plane_of_other_pixels_goes_into_no_earlier_results(cells: Any, change: str) -> None:
    first = run_planes(cells, "This plane", 1)
    image = cells.viewer.layers["cells"]
    if change == "data":
        image.data = image.data[::-1].copy()
    else:
        image.scale = (1, 2, 2)
    second = run_planes(cells, "This plane", 2)
    assert first is not second
    np.testing.assert_array_equal(second.scale, image.scale)


@pytest.mark.parametrize("how", ["type", "copy", "smaller"])
def test_the_layer_is_given_other_data_meanwhile(cells: Any, model: HeldModel, how: str) -> None:
    layer = run_to_the_second_plane(cells, model)
    layer.data = {"type": layer.data.astype(np.uint16), "copy": layer.data.copy(), "smaller": layer.data[:, :30]}[how]
    run_on(cells, model)
    if how == "smaller":
        assert cells.widget.status.text() == "Stopped: the layer of the results was given data of another size."
    else:
        assert [plane.any() for plane in layer.data] == [True] * 4
        check_rows_and_labels(layer)
    assert reviewed(layer).is_complete


@pytest.mark.parametrize("where", ["new", "earlier"])
def test_nobody_paints_while_a_run_writes(cells: Any, model: HeldModel, where: str) -> None:
    """The next label that napari gives a brush is the next one of the run, too."""
    if where == "earlier":
        run_planes(cells, "This plane", 1)
    run_to_the_second_plane(cells, model) if where == "new" else cells.click_run_and_hold(model, model.batches + 1)
    layer = cells.viewer.layers["cells masks"]
    cells.viewer.dims.ndisplay = 3
    cells.viewer.dims.ndisplay = 2
    layer.mode = "paint"
    assert (layer.editable, layer.mode) == (False, "pan_zoom")
    run_on(cells, model)
    layer.mode = "paint"
    assert (layer.editable, layer.mode) == (True, "paint")
    check_rows_and_labels(layer)


def test_a_layer_removed_and_put_back_is_not_running_for_ever(cells: Any, model: HeldModel) -> None:
    layer = run_to_the_second_plane(cells, model)
    cells.viewer.layers.remove(layer)
    run_on(cells, model)
    cells.viewer.add_layer(layer)
    assert reviewed(layer).is_complete


def test_cancel_stays_off_while_it_is_being_cancelled(cells: Any, model: HeldModel) -> None:
    cells.click_run_and_hold(model, 1)
    cells.widget.cancel_button.click()
    cells.choose(min_mask_region_area=10)
    assert not cells.widget.cancel_button.isEnabled()
    run_on(cells, model)
    assert cells.widget.run_button.isEnabled()
