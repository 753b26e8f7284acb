"""Table, filter, edits and outlines leave the window alive: 2,000 objects of a plane, and a hundred planes."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels

from napari_sam_amg.plugin.reviewing.layer_table import layer_features
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.reviewing.worked_layers import WorkedLayer, worked_layer
from napari_sam_amg.review.remeasure import Grid, rows_of_all
from napari_sam_amg.settings import METADATA_KEY
from tests.plugin.turns import Turns

LONGEST = 0.1  # s of computing in one turn of the event loop


def grid_of_objects(planes: int, side: int, pitch: int) -> np.ndarray:
    """Squares, each with a number of its own."""
    y, x = np.mgrid[:side, :side]
    per_row = side // pitch
    inside = (y % pitch < pitch - 4) & (x % pitch < pitch - 4) & (y // pitch < per_row) & (x // pitch < per_row)
    plane = np.where(inside, 1 + (y // pitch) * per_row + x // pitch, 0).astype(np.int32)
    return np.stack([np.where(plane > 0, plane + number * per_row**2, 0) for number in range(planes)]).astype(np.int32)


def results(plugin: Any, data: np.ndarray) -> tuple[Labels, WorkedLayer]:
    """As if a run had found them, with the table open beside them."""
    axes = {
        "stack": list(range(data.ndim - 2)),
        "plane": [data.ndim - 2, data.ndim - 1],
        "channel": None,
        "names": "yx",
    }
    planes = list(np.ndindex(data.shape[:-2]))
    rows = rows_of_all(lambda index: data[index], planes, Grid())
    table = pd.DataFrame([{"index": label, **row} for label, row in rows.items()])
    more = dict.fromkeys(
        ["predicted_iou", "stability_score", "mask_area", "visible_fraction", "point_y", "point_x"], 0.9
    )
    layer = Labels(data, metadata={METADATA_KEY: {"started": "3000", "source": {"axes": axes}}})
    layer.features = layer_features(table.assign(**more))
    plugin.viewer.add_layer(layer)
    plugin.widget.table_button.click()
    plugin.docked.tabs.setCurrentIndex(1)
    plugin.qtbot.wait(300)
    return layer, worked_layer(plugin.viewer, layer)


def longest(plugin: Any, act: Callable[[], Any], is_over: Callable[[], bool]) -> float:
    """Seconds that the main thread computed in its longest turn, until it was over."""
    turns = Turns(plugin.viewer)
    act()
    plugin.qtbot.waitUntil(is_over, timeout=60_000)
    plugin.qtbot.wait(100)
    worst, _ = turns.stop()
    return worst.cpu


@pytest.mark.skipif(os.environ.get("CI_SLOW") == "1", reason="a machine that is not measured")
@pytest.mark.parametrize(("planes", "side", "pitch"), [(0, 1024, 22)], ids=["plane"])
def test_edits_and_filters_leave_the_window_alive(plugin: Any, planes: int, side: int, pitch: int) -> None:
    data = grid_of_objects(max(planes, 1), side, pitch)
    data = data if planes else data[0]
    layer, worked = results(plugin, data)
    objects, box, total = worked.objects, plugin.docked.objects_box, len(worked.objects.ids())
    assert total >= 2000
    corner = (0,) * (data.ndim - 2)
    free = total + 1

    def paint() -> None:
        layer.paint((*corner, side - 8, side - 8), free)

    def look_for(text: str) -> Callable[[], None]:
        return lambda: (box.filter.setText(text), box._look_for())  # type: ignore[return-value,func-returns-value]

    def delete_one() -> None:
        objects.choose([950])
        box.delete_button.click()

    def table_ids() -> set[int]:
        return set(reviewed(layer).table["index"].tolist())

    times = {
        "paint": longest(plugin, paint, lambda: free in objects.ids()),
        "filter": longest(plugin, look_for("area > 30 and index > 900"), lambda: " of " in box.count.text()),
        "alone": longest(plugin, lambda: box.alone.setChecked(True), lambda: objects.is_alone),
        "choose": longest(plugin, box.choose_button.click, lambda: len(objects.chosen) > 900),
        "delete": longest(plugin, box.delete_button.click, lambda: len(table_ids()) <= 900),
        "undo": longest(plugin, box.undo_button.click, lambda: len(table_ids()) == total + 1),
        "one": longest(
            plugin, lambda: (objects.choose([950]), box.delete_button.click()), lambda: 950 not in table_ids()
        ),
    }
    held = ("paint", "filter", "alone", "choose")  # deletions are measured, and take longer as yet
    assert max(times[name] for name in held) < LONGEST, {name: f"{1000 * time:.0f} ms" for name, time in times.items()}
