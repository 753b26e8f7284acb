"""Table, filter, edits and outlines leave the window alive: 2,000 objects of a plane, and a hundred planes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_sam_amg.plugin.reviewing.features_table import tables
from napari_sam_amg.plugin.reviewing.layer_table import layer_features
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.reviewing.worked_layers import WorkedLayer, worked_layer
from napari_sam_amg.review.remeasure import Grid, places_of_all, rows_of_all
from napari_sam_amg.settings import METADATA_KEY
from tests.plugin.turns import Turns

LONGEST = 0.1  # s of computing in one turn of the event loop
MOST_DELETED = 5000  # objects, or a test takes a minute
ATTEMPTS = 3  # whatever else happens can only lengthen a turn, so the best attempt counts


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
    places = places_of_all(lambda index: data[index], planes)
    rows = rows_of_all(lambda index: data[index], places, Grid())
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


class Watched:
    """Actions, and the longest turn of the event loop that each of them took."""

    def __init__(self, plugin: Any) -> None:
        self._plugin, self.times = plugin, dict[str, float]()

    def do(self, name: str, act: Callable[[], Any], is_over: Callable[[], bool]) -> None:
        turns = Turns(self._plugin.viewer)
        act()
        self._plugin.qtbot.waitUntil(is_over, timeout=60_000)
        self._plugin.qtbot.wait(100)
        worst, _ = turns.stop()
        self.times[name] = min(worst.cpu, self.times.get(name, np.inf))

    @property
    def too_long(self) -> dict[str, str]:
        return {name: f"{1000 * time:.0f} ms" for name, time in self.times.items() if time >= LONGEST}


class Objects:
    """The controls for objects, driven as a person does."""

    def __init__(self, plugin: Any, layer: Labels, worked: WorkedLayer) -> None:
        self.plugin, self.layer, self.worked = plugin, layer, worked
        self.box, self.watched = plugin.docked.objects_box, Watched(plugin)

    def ids(self) -> set[int]:
        return set(reviewed(self.layer).table["index"].tolist())

    def is_at(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.ids()) == count and not self.worked.actions.is_busy

    def edit(self, count: int, total: int) -> None:
        """Delete, merge and keep so many of the objects, and take it back."""
        box, chosen = self.box, sorted(self.ids())[100 : 100 + count]
        after = {"delete": total - count, "merge": total - count + 1, "keep": count}
        skipped = {"merge" if count == 1 else "", "keep" if total > MOST_DELETED else ""}
        for name, left in after.items():
            if name in skipped:
                continue
            button = getattr(box, f"{name}_button")
            self.watched.do(f"choose {count}", lambda: self.worked.objects.choose(chosen), button.isEnabled)
            self.watched.do(f"{name} {count}", button.click, self.is_at(left))
            self.watched.do(f"undo {name} {count}", box.undo_button.click, self.is_at(total))
            self.watched.do(f"redo {name} {count}", box.redo_button.click, self.is_at(left))
            self.watched.do(f"undo {name} {count}", box.undo_button.click, self.is_at(total))

    def look(self, place: tuple[int, ...], new: int) -> None:
        """Paint, filter, hide and choose, and come back from another layer."""
        box, objects, watched, selection = (
            self.box,
            self.worked.objects,
            self.watched,
            self.plugin.viewer.layers.selection,
        )
        for one, name in ((self.plugin.viewer.layers[0], "image"), (self.layer, "labels")):
            watched.do(name, lambda one=one: setattr(selection, "active", one), lambda: True)
        watched.do("paint", lambda: self.layer.paint(place, new), lambda: new in objects.ids())
        watched.do("erase", lambda: self.layer.paint(place, 0), lambda: new not in objects.ids())
        watched.do("filter", lambda: self._look_for("area > 30 and index > 900"), lambda: " of " in box.count.text())
        watched.do("alone", lambda: box.alone.setChecked(True), lambda: objects.is_alone)
        watched.do("choose all", box.choose_button.click, lambda: len(objects.chosen) > 900)
        watched.do("all", lambda: (box.alone.setChecked(False), self._look_for("")), lambda: not objects.text)
        watched.do("next", box.next_button.click, lambda: len(objects.chosen) == 1)

    def _look_for(self, text: str) -> None:
        self.box.filter.setText(text)
        self.box._look_for()

    def sort(self) -> None:
        (table,) = tables(self.plugin.viewer)
        names = [
            str(table.model().headerData(at, Qt.Orientation.Horizontal)) for at in range(table.model().columnCount())
        ]

        for order in (Qt.SortOrder.DescendingOrder, Qt.SortOrder.AscendingOrder):
            self.watched.do(
                "sort", lambda order=order: table.sortByColumn(names.index("centroid_x"), order), lambda: True
            )

    def export(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from napari._app_model import get_app_model

        command = get_app_model().commands.execute_command

        for what, ending in (("table", "csv"), ("rois", "zip"), ("coco", "json")):
            path = folder / f"a.{ending}"
            monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, path=path: (str(path), ""))
            path.unlink(missing_ok=True)
            self.watched.do(f"export {what}", lambda what=what: command(f"napari-sam-amg.export_{what}"), path.is_file)


@pytest.mark.parametrize("act", ["paint", "delete"])
def test_a_copy_with_drawn_objects_leaves_the_window_alive(plugin: Any, act: str) -> None:
    """They may be in any plane of a stack, which is looked through for them: .2 s on an idle machine."""
    layer, worked = results(plugin, grid_of_objects(100, 512, 170))
    new, objects, watched = int(layer.data.max()) + 1, Objects(plugin, layer, worked), Watched(plugin)
    through = np.mgrid[:100, 498:503, 498:503].reshape(3, -1)
    layer.data_setitem(tuple(through), new)
    plugin.qtbot.waitUntil(lambda: new in objects.ids(), timeout=60_000)
    copies = [layer.as_layer_data_tuple() for _ in range(ATTEMPTS)]
    for data, attributes, _ in copies:
        _touch_copy(plugin, watched, act, plugin.viewer.add_layer(Labels(data.copy(), **attributes)), new)
    assert not watched.too_long


def _touch_copy(plugin: Any, watched: Watched, act: str, copy: Labels, drawn: int) -> None:
    actions = worked_layer(plugin.viewer, copy).actions

    def area() -> float:
        return float(reviewed(copy).table.set_index("index")["area"].get(drawn, 0))

    def pixels() -> int:
        return int(np.count_nonzero(copy.data == drawn))

    copy.brush_size, before = 5, pixels()
    if act == "paint":
        watched.do(act, lambda: copy.paint((60, 500, 490), drawn), lambda: area() > before)
        assert pixels() > before
    else:
        watched.do(act, lambda: actions.delete([drawn]), lambda: not actions.is_busy)
        assert pixels() == 0
    assert area() == pixels()
    plugin.viewer.layers.remove(copy)


def repeated(watched: Watched, act: Callable[[], None]) -> None:
    for _ in range(ATTEMPTS):
        act()
        if not watched.too_long:
            return


@pytest.mark.parametrize(
    ("planes", "side", "pitch"), [(0, 1024, 22), (100, 256, 25)], ids=["2,000 objects", "100 planes of 100 objects"]
)
def test_edits_and_filters_leave_the_window_alive(
    plugin: Any, planes: int, side: int, pitch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = grid_of_objects(max(planes, 1), side, pitch)
    plugin.viewer.add_image(np.zeros((side, side), np.uint8))  # while it is selected napari hides its table
    layer, worked = results(plugin, data if planes else data[0])
    objects, total = Objects(plugin, layer, worked), len(worked.objects.ids())
    assert total >= (10_000 if planes else 2000)
    place = (*[0] * (layer.ndim - 2), side - 2, side - 2)
    layer.brush_size = 3
    repeated(objects.watched, lambda: objects.look(place, total + 1))
    for count in (1, 10, 1100):
        repeated(objects.watched, lambda count=count: objects.edit(count, total))  # type: ignore[misc]
    repeated(objects.watched, objects.sort)
    repeated(objects.watched, lambda: objects.export(tmp_path, monkeypatch))
    print({name: f"{1000 * time:.0f}" for name, time in objects.watched.times.items()})
    assert not objects.watched.too_long
