"""Labels and table of a result layer, when all that follows an edit is over."""

from typing import Any

import numpy as np
from napari.layers import Labels
from skimage.measure import regionprops_table

from napari_sam_amg.plugin.reviewing.results import is_result
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.reviewing.worked_layers import worked_layer
from tests.plugin.conftest import TIMEOUT


def settle(plugin: Any) -> None:
    """Until what was begun is over, however busy the machine is."""

    def is_over() -> bool:
        worked = [worked_layer(plugin.viewer, layer) for layer in plugin.viewer.layers if is_result(layer)]
        return not any(one.edits.is_waiting or one.actions.is_busy for one in worked)

    plugin.qtbot.wait(20)
    plugin.qtbot.waitUntil(is_over, timeout=TIMEOUT)
    plugin.qtbot.wait(20)


def table(layer: Labels) -> Any:
    return reviewed(layer).table.set_index("index")


def agree(layer: Labels) -> None:
    """Every row is what scikit-image measures, every object has a row, and napari finds it at its number."""
    rows, data = table(layer), layer.data
    assert sorted(rows.index) == sorted(set(np.unique(data).tolist()) - {0})
    assert layer.features["index"].tolist() == list(range(len(layer.features)))
    if not len(rows):
        return
    expected = regionprops_table(data, properties=("area", "centroid", "bbox"))
    linked, stack = "volume" in rows, data.ndim == 3
    np.testing.assert_array_equal(rows["volume" if linked else "area"], expected["area"])
    for axis, name in enumerate("zyx" if stack else "yx"):
        if f"centroid_{name}" in rows:
            np.testing.assert_allclose(rows[f"centroid_{name}"], expected[f"centroid-{axis}"])
    for name, place in (("y0", 0), ("x0", 1), ("y1", 2), ("x1", 3)):
        number = place if not stack else (1, 2, 4, 5)[place]
        np.testing.assert_array_equal(rows[f"bbox_{name}"], expected[f"bbox-{number}"])
    if linked:
        np.testing.assert_array_equal(rows["first_plane"], expected["bbox-0"])
        np.testing.assert_array_equal(rows["last_plane"], expected["bbox-3"] - 1)
