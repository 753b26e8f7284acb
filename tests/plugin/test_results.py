"""What a run leaves in the viewer."""

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari_sam_amg.plugin.live import METADATA_KEY

from tests.plugin.discs import disc_image

CENTRES = [(15, 15), (15, 50), (45, 30)]


def test_a_plane_becomes_labels_with_one_row_each(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(CENTRES), name="cells")
    layer = plugin.run()
    assert layer.name == "cells masks"
    assert layer in plugin.viewer.layers
    assert sorted(np.unique(layer.data)) == [0, 1, 2, 3]
    assert list(layer.features["index"]) == [0, 1, 2, 3]
    for y, x in CENTRES:
        row = layer.features.loc[layer.data[y, x]]
        assert (row["centroid_y"], row["centroid_x"]) == pytest.approx((y, x), abs=0.5)


def test_metadata_say_how_to_repeat_the_run(plugin: Any) -> None:
    plugin.viewer.add_image(disc_image(CENTRES), name="cells")
    record = plugin.run().metadata[METADATA_KEY]
    assert json.loads(json.dumps(record)) == record
    assert record["state"] == "finished"
    assert plugin.widget.status.text().startswith("3 masks found")
