"""A large plane in the widget: its layer grows band by band, and is that of the plane as a whole."""

from typing import Any

import numpy as np
import pytest

from napari_sam_amg.amg import tiled_plane
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from tests.disc_model import blobs
from tests.plugin.held_model import HeldModel

PLANE = blobs((300, 128), [(x, y, 9) for x in (30, 64, 100) for y in (20, 64, 100, 150, 210, 260)])
TILES = {"tile_size": 64, "tile_halo": 16}


@pytest.fixture
def in_parts(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_plane, "WHOLE_PIXELS", 1000)
    plugin.viewer.add_image(PLANE, name="mine")
    plugin.choose(**TILES)


def test_the_layer_and_its_table_are_whole_at_the_end(plugin: Any, in_parts: None) -> None:
    layer = plugin.run()
    assert layer.data.shape == PLANE.shape
    assert np.unique(layer.data).tolist() == list(range(19))
    assert layer.features["index"].tolist() == list(range(19))
    record = layer.metadata[METADATA_KEY]
    assert (record["state"], record["planes_done"], record["planes"]) == ("finished", 1, 1)
    assert record["parameters_used"]["tile_size"] == 64


def test_cancel_keeps_the_bands_that_are_finished(plugin: Any, model: HeldModel, in_parts: None) -> None:
    plugin.click_run_and_hold(model, 4 * 8)  # the last row of tiles
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: runner.layer is not None and runner.layer in plugin.viewer.layers, timeout=30_000)
    runner.cancel()
    model.release.set()
    plugin.wait()
    layer = runner.layer
    assert layer.metadata[METADATA_KEY]["state"] == "cancelled"
    assert 0 < layer.data.max() < 18
    assert layer.features["index"].tolist() == list(range(len(layer.features)))
    assert not plugin.messages
    assert "What is finished of the plane stays in the layer." in plugin.widget.status.text()
