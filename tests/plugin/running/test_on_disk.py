"""Results that grow in a folder: the same as in memory, cancelled and continued, opened again."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg.plugin.files.label_reader import read
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from tests.disc_model import disc_image
from tests.plugin.held_model import HeldModel

PLANES = [[(15, 15)], [(15, 50), (45, 30)], [(40, 60)]]  # centres of discs


@pytest.fixture
def stack() -> np.ndarray:
    """(3, 64, 80) uint8 with 1, 2 and 1 discs."""
    return np.stack([disc_image(centres) for centres in PLANES])


def to_folder(plugin: Any, folder: Path) -> None:
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.widget.results_box.where.setCurrentText("in a folder")
    plugin.widget.results_box.folder.setText(str(folder))


def test_on_disk_is_what_is_in_memory(plugin: Any, stack: np.ndarray, tmp_path: Path) -> None:
    plugin.viewer.add_image(stack, name="cells", scale=(2, 0.5, 0.25), units=("um",) * 3, axis_labels=("z", "y", "x"))
    plugin.viewer.dims.set_current_step(0, 0)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    expected = plugin.run()
    to_folder(plugin, tmp_path / "new")
    layer = plugin.run()
    np.testing.assert_array_equal(np.asarray(layer.data), expected.data)
    pd.testing.assert_frame_equal(layer.features, expected.features)
    np.testing.assert_allclose(layer.scale, expected.scale)
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["cells_candidates", "cells_features.csv", "cells_labels.ome.zarr", "cells_run.json"]
    # and it is opened again as it was
    data, arguments, kind = read(tmp_path / "new" / "cells_labels.ome.zarr")
    assert kind == "labels"
    np.testing.assert_array_equal(np.asarray(data), expected.data)
    np.testing.assert_allclose(arguments["scale"], expected.scale)
    assert arguments["units"] == ("micrometer",) * 3
    assert arguments["features"]["area"][1:].tolist() == expected.features["area"][1:].tolist()
    assert arguments["metadata"][METADATA_KEY]["source"]["axes"]["plane"] == [1, 2]


def test_cancel_keeps_and_run_continues(
    plugin: Any, model: HeldModel, stack: np.ndarray, tmp_path: Path, make_napari_viewer: Any
) -> None:
    plugin.viewer.add_image(stack, name="cells")
    plugin.viewer.dims.set_current_step(0, 0)
    to_folder(plugin, tmp_path)
    plugin.click_run_and_hold(model, 5)  # 4 batches a plane
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    assert "Run continues there" in plugin.widget.status.text()
    assert (tmp_path / ".cells.work").exists()
    model.hold_after, batches = None, model.batches
    plugin.viewer.dims.set_current_step(0, 2)  # another plane in sight is the same run
    layer = plugin.run()
    assert [sorted(np.unique(plane))[1:] for plane in np.asarray(layer.data)] == [[1], [2, 3], [4]]
    assert model.batches - batches == 8  # the first plane was done
    assert list(layer.features["index"]) == [0, 1, 2, 3, 4]
    assert not (tmp_path / ".cells.work").exists()
    assert pd.read_csv(tmp_path / "cells_features.csv")["index"].tolist() == [1, 2, 3, 4]


def test_labels_that_are_deleted_meanwhile(plugin: Any, model: HeldModel, stack: np.ndarray, tmp_path: Path) -> None:
    plugin.viewer.add_image(stack, name="cells")
    to_folder(plugin, tmp_path)
    plugin.click_run_and_hold(model, 5)
    layer = plugin.widget.runner.layer
    shutil.rmtree(tmp_path / "cells_labels.ome.zarr")
    model.release.set()
    plugin.wait()
    assert "No group found" in plugin.widget.status.text()
    assert reviewed(layer).is_complete  # its run is over, however it ended
    plugin.messages.clear()
    again = np.asarray(plugin.run().data)
    assert [len(np.unique(plane)) - 1 for plane in again] == [1, 2, 1]


def test_other_results_are_not_replaced(plugin: Any, stack: np.ndarray, tmp_path: Path) -> None:
    plugin.viewer.add_image(stack, name="a/b: c")
    to_folder(plugin, tmp_path)
    plugin.run()
    before = (tmp_path / "a_b_ c_features.csv").read_bytes()
    plugin.click_run()
    plugin.wait()
    assert "is there already" in plugin.widget.status.text()
    assert (tmp_path / "a_b_ c_features.csv").read_bytes() == before


def test_a_table_of_others_is_not_replaced(plugin: Any, stack: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "cells_features.csv").write_text("mine")
    plugin.viewer.add_image(stack, name="cells")
    to_folder(plugin, tmp_path)
    plugin.click_run()
    plugin.wait()
    assert "cells_features.csv is there already" in plugin.widget.status.text()
    assert (tmp_path / "cells_features.csv").read_text() == "mine"


def test_another_image_does_not_continue_the_run(
    plugin: Any, model: HeldModel, stack: np.ndarray, tmp_path: Path
) -> None:
    plugin.viewer.add_image(stack, name="cells")
    to_folder(plugin, tmp_path)
    plugin.click_run_and_hold(model, 5)
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    model.hold_after = None
    plugin.viewer.layers.clear()
    plugin.viewer.add_image(stack[::-1], name="cells")
    to_folder(plugin, tmp_path)
    plugin.click_run()
    plugin.wait()
    assert "another run" in plugin.widget.status.text()


def test_what_cannot_be_is_said_before_run(plugin: Any, stack: np.ndarray, tmp_path: Path) -> None:
    plugin.viewer.add_image(stack[0], name="plane")
    assert plugin.widget.results_box.isHidden()
    plugin.viewer.layers.clear()
    plugin.viewer.add_image(np.tile(stack, (4, 1, 1)), name="cells")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    assert not plugin.widget.results_box.isHidden()
    plugin.widget.results_box.where.setCurrentText("in a folder")
    assert "choose one" in plugin.widget.message.text()
    (tmp_path / "file").write_text("")
    plugin.widget.results_box.folder.setText(str(tmp_path / "file"))
    assert "is a file" in plugin.widget.message.text()
    plugin.widget.results_box.folder.setText(str(tmp_path))
    assert plugin.widget.run_button.isEnabled()
    plugin.viewer.dims.order = (1, 0, 2)
    assert "from the side" in plugin.widget.message.text()


def test_labels_larger_than_memory_need_a_folder(
    plugin: Any, stack: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam_amg.plugin.choices.results_box.memory_limit", lambda: 4 * stack.size)
    plugin.viewer.add_image(stack)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    assert "write them to a folder" in plugin.widget.message.text()
    assert not plugin.widget.run_button.isEnabled()


def test_a_failed_run_that_did_nothing_leaves_nothing(
    plugin: Any, model: HeldModel, stack: np.ndarray, tmp_path: Path
) -> None:
    plugin.viewer.add_image(stack, name="cells")
    to_folder(plugin, tmp_path)
    plugin.click_run_and_hold(model, 1)
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    assert list(tmp_path.iterdir()) == []
