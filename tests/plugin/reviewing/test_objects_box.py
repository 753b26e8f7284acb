"""Objects of results: found, chosen, gone to, deleted, kept, merged, measured, with the real table beside them."""

import threading
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.layers._layer_actions import _duplicate_layer
from napari.settings import get_settings
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.action_manager import action_manager
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from qtpy.QtCore import QItemSelectionModel, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QTableView
from skimage.measure import regionprops_table

from napari_sam_amg.plugin.reviewing import measuring
from napari_sam_amg.plugin.reviewing.features_table import ROW
from napari_sam_amg.plugin.reviewing.measuring import Asked
from napari_sam_amg.plugin.reviewing.objects_box import ObjectsBox
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.review.measures import shapes
from tests.disc_model import disc_image
from tests.plugin.meanwhile import HeldWork
from tests.plugin.reviewing.agreement import agree, settle, table

CENTRES = [(15, 15), (15, 50), (45, 30), (50, 65)]


@pytest.fixture
def layer(plugin: Any) -> Any:
    """Objects 1 to 4, the table beside them."""
    image = disc_image(CENTRES)
    image[45:48, 30:33] = 0  # object 3, or 4, is dented
    plugin.viewer.add_image(image, name="cells")
    layer = plugin.run()
    plugin.widget.table_button.click()
    plugin.docked.tabs.setCurrentIndex(1)
    settle(plugin)
    return layer


@pytest.fixture
def box(plugin: Any) -> ObjectsBox:
    found: ObjectsBox = plugin.docked.objects_box
    return found


def view_of(plugin: Any) -> QTableView:
    found = plugin.viewer.window._qt_window.findChild(QTableView)
    assert isinstance(found, QTableView)
    return found


def shown_rows(plugin: Any) -> list[int]:
    model = view_of(plugin).model()
    assert model is not None
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def selected_rows(plugin: Any) -> set[int]:
    return {cell.siblingAtColumn(0).data() for cell in view_of(plugin).selectedIndexes()}


def select_rows(plugin: Any, *labels: int) -> None:
    view = view_of(plugin)
    view.clearSelection()
    for label in labels:
        cell = view.model().index(shown_rows(plugin).index(label), 0)  # type: ignore[union-attr]
        view.selectionModel().select(  # type: ignore[union-attr]
            cell, QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        )


def look_for(box: ObjectsBox, text: str) -> None:
    box.filter.setText(text)
    box.filter.returnPressed.emit()


class Mouse:
    """What napari hands to a layer for an event of the mouse."""

    def __init__(self, kind: str, place: tuple[float, ...], modifiers: tuple[str, ...] = ()) -> None:
        self.type, self.position, self.modifiers, self.button, self.handled = kind, place, modifiers, 1, False
        self.view_direction, self.dims_displayed, self.is_dragging = None, [0, 1], False
        self.pos = np.array(place)


def click(layer: Labels, place: tuple[float, float], *modifiers: str, drag: bool = False) -> None:
    # napari hands one event to a callback, and changes what is in it
    mouse_press_callbacks(layer, ReadOnlyWrapper(Mouse("mouse_press", place, modifiers)))
    if drag:
        mouse_move_callbacks(layer, Mouse("mouse_move", (place[0] + 9, place[1]), modifiers))
    mouse_release_callbacks(layer, Mouse("mouse_release", place, modifiers))


def test_the_table_shows_objects_alone_and_one_index(plugin: Any, layer: Any) -> None:
    view = view_of(plugin)
    assert shown_rows(plugin) == [1, 2, 3, 4], "no row for the background"
    names = [str(view.model().headerData(c, Qt.Orientation.Horizontal)) for c in range(view.model().columnCount())]
    seen = [name for column, name in enumerate(names) if not view.isColumnHidden(column)]
    assert seen[:2] == ["Index", "area"]
    assert "index" not in seen
    assert seen[-2:] == ["point_y", "point_x"], "the prompt comes last"
    plugin.viewer.layers.selection.active = plugin.viewer.add_labels(np.eye(4, dtype=int), features={"index": [0, 1]})
    assert not view.isColumnHidden(1), "of other layers the table is napari's"
    assert shown_rows(plugin) == [0, 1]


def test_the_filter_keeps_rows_and_says_how_many(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    assert box.count.text() == "4 objects"
    look_for(box, "centroid_x > 40 and area > 5")
    assert box.count.text() == "2 of 4 objects"
    assert shown_rows(plugin) == [2, 4]
    look_for(box, "aera > 5")
    assert box.count.text().startswith("There is no column 'aera'. Did you mean area? The columns are index, area")
    assert shown_rows(plugin) == [1, 2, 3, 4], "what cannot be read hides nothing"
    look_for(box, "solidity < 0.8")  # of the example
    assert box.count.text() == "There is no column 'solidity' yet: tick it under More columns."
    box.filter.clear()
    settle(plugin)
    assert box.count.text() == "4 objects"


def test_a_filter_is_tried_while_it_is_typed(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    plugin.qtbot.keyClicks(box.filter, "index in (1, 3)")
    plugin.qtbot.waitUntil(lambda: box.count.text() == "2 of 4 objects", timeout=2000)


def test_a_filter_that_is_typed_is_that_of_the_layer_in_focus(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    layers = plugin.viewer.layers
    layers.selection = {layer}
    _duplicate_layer(layers)
    layers.selection.active = layer
    plugin.qtbot.keyClicks(box.filter, "index in (1, 3)")
    layers.selection.active = layers[-1]
    settle(plugin)
    assert box.filter.text() == ""
    assert box.count.text() == "4 objects"
    layers.selection.active = layer
    settle(plugin)
    assert box.filter.text() == "index in (1, 3)"
    assert shown_rows(plugin) == [1, 3]


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_what_matches_can_be_shown_alone_and_nothing_is_lost(
    plugin: Any, layer: Any, box: ObjectsBox, ndisplay: int
) -> None:
    plugin.viewer.dims.ndisplay = ndisplay
    data, colours = layer.data.copy(), layer.colormap
    look_for(box, "index in (1, 4)")
    box.alone.setChecked(True)
    view = np.asarray(layer._slice.image.view)
    for label, is_seen in ((1, True), (2, False), (3, False), (4, True)):
        assert view[np.asarray(layer._slice.image.raw) == label].any() == is_seen
    np.testing.assert_array_equal(layer.get_color(1), colours.map(1))
    np.testing.assert_array_equal(layer.data, data)
    layer.new_colormap(seed=3)
    view = np.asarray(layer._slice.image.view)
    assert not view[np.asarray(layer._slice.image.raw) == 2].any(), "with other colours, too"
    box.alone.setChecked(False)
    assert np.asarray(layer._slice.image.view)[np.asarray(layer._slice.image.raw) == 2].any()
    box.filter.clear()


def test_what_is_drawn_is_seen_though_others_are_hidden(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    look_for(box, "index == 1")
    box.alone.setChecked(True)
    layer.paint((40, 50), 9)
    assert layer._slice.image.view[40, 50], "at once"


def test_saved_colours_are_those_of_the_layer(plugin: Any, layer: Any, box: ObjectsBox, tmp_path: Any) -> None:
    look_for(box, "index == 1")
    box.alone.setChecked(True)
    assert layer.save(str(tmp_path / "cells.tif"), plugin="napari-sam-amg")
    (opened,) = plugin.viewer.open(tmp_path / "cells.json", plugin="napari-sam-amg")
    np.testing.assert_array_equal(opened.get_color(2), layer.colormap.plain.map(2))


def test_rows_that_are_selected_are_chosen_and_outlined(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    select_rows(plugin, 2, 4)
    assert set(reviewed_chosen(layer)) == {2, 4}
    assert box.chosen.text() == "Chosen: 2, 4 (2)"
    settle(plugin)
    expected = sum(np.abs(np.diff(np.pad(layer.data == label, 1).astype(int), axis=axis)).sum()
                   for label in (2, 4) for axis in (0, 1))  # fmt: skip
    assert len(box._outline.segments) == 2 * expected  # type: ignore[union-attr]
    assert len(plugin.viewer.layers) == 2, "no layer of its own"
    lines = box._outline._lines  # type: ignore[union-attr]
    assert all(line.visible and line.parent is not None for line in lines)
    layer.visible = False
    settle(plugin)
    assert not any(line.visible for line in lines)
    layer.visible = True
    select_rows(plugin)
    plugin.viewer.layers.remove(layer)
    settle(plugin)
    assert all(line.parent is None for line in lines)


def reviewed_chosen(layer: Labels) -> tuple[int, ...]:
    from napari_sam_amg.plugin.reviewing.layer_objects import layer_objects

    return layer_objects(layer).chosen


@pytest.mark.parametrize("how", ["table", "image", "box"])
def test_what_is_chosen_stays_so_when_the_table_changes(plugin: Any, layer: Any, box: ObjectsBox, how: str) -> None:
    """napari then selects the row of the selected label, the last of them, alone."""
    if how == "table":
        select_rows(plugin, 1, 2, 4)
    elif how == "image":
        for label in (1, 2, 4):
            click(layer, tuple(table(layer).loc[label, ["centroid_y", "centroid_x"]]), "Shift")
    else:
        look_for(box, "index in (1, 2, 4)")
        box.choose_button.click()
    settle(plugin)
    box._measure(Asked(shapes=frozenset({"solidity"})))
    plugin.qtbot.waitUntil(lambda: "solidity" in layer.features, timeout=10_000)
    settle(plugin)
    assert set(reviewed_chosen(layer)) == selected_rows(plugin) == {1, 2, 4}
    assert box.chosen.text() == "Chosen: 1, 2, 4 (3)"
    look_for(box, "")
    layer.selected_label = 3  # by hand, in napari's own controls
    settle(plugin)
    assert set(reviewed_chosen(layer)) == selected_rows(plugin) == {3}


def test_what_is_chosen_stays_so_under_a_filter_and_with_other_colours(
    plugin: Any, layer: Any, box: ObjectsBox
) -> None:
    select_rows(plugin, 1, 2, 4)
    look_for(box, "index in (1, 4)")
    settle(plugin)
    assert set(reviewed_chosen(layer)) == {1, 2, 4}
    assert selected_rows(plugin) == {1, 4}
    look_for(box, "")
    settle(plugin)
    assert selected_rows(plugin) == {1, 2, 4}
    layer.new_colormap(seed=3)  # of which napari says that a label was chosen
    settle(plugin)
    assert set(reviewed_chosen(layer)) == selected_rows(plugin) == {1, 2, 4}


def test_what_is_gone_is_not_chosen_and_is_again_when_it_comes_back(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    select_rows(plugin, 1, 2, 4)
    layer.fill((15, 50), 0)
    settle(plugin)
    assert set(reviewed_chosen(layer)) == selected_rows(plugin) == {1, 4}
    assert box.chosen.text() == "Chosen: 1, 4 (2)"
    box.delete_button.click()
    settle(plugin)
    assert table(layer).index.tolist() == [3]
    assert not reviewed_chosen(layer)
    for expected in ({1, 4}, {1, 2, 4}):
        box.undo_button.click()
        settle(plugin)
        assert set(reviewed_chosen(layer)) == selected_rows(plugin) == expected


def test_each_layer_has_its_own_chosen_rows(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    select_rows(plugin, 1, 2, 4)
    layers = plugin.viewer.layers
    layers.selection = {layer}
    _duplicate_layer(layers)
    for selected, expected in (({layers[-1]}, set()), (set(layers[-2:]), None), ({layers[-1]}, set()),
                               ({layer}, {1, 2, 4})):  # fmt: skip
        layers.selection = selected
        settle(plugin)
        assert set(reviewed_chosen(layer)) == {1, 2, 4}
        assert expected is None or selected_rows(plugin) == expected


def test_keep_alone_deletes_what_was_drawn_in_this_very_moment(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    select_rows(plugin, 2)
    layer.paint((40, 50), 9)
    box.keep_button.click()
    settle(plugin)
    agree(layer)
    assert table(layer).index.tolist() == [2]


def test_the_outline_is_seen_where_the_object_is(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    layer.scale, layer.translate = (3, 3), (10, -20)
    layer.opacity = 0.01
    plugin.viewer.layers["cells"].visible = False
    camera = getattr(plugin.viewer, "scene", plugin.viewer).camera
    camera.center, camera.zoom = tuple(layer.data_to_world((15, 50))), 2
    select_rows(plugin, 2)
    settle(plugin)
    picture = plugin.viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(axis=-1) > 200
    rows, columns = np.nonzero(picture)
    middle = np.array(picture.shape) / 2
    assert np.abs([rows.mean(), columns.mean()] - middle).max() < 6
    where = np.argwhere(layer.data == 2)
    assert np.abs([np.ptp(rows), np.ptp(columns)] - 6 * (np.ptp(where, axis=0) + 1)).max() < 6


def test_an_object_is_outlined_by_a_box_in_3d(plugin: Any, box: ObjectsBox) -> None:
    plugin.viewer.add_image(np.stack([disc_image(CENTRES[:1])] * 3), scale=(2, 1, 1))
    plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = plugin.run()
    plugin.viewer.dims.ndisplay = 3
    layer.selected_label = 2
    row = table(layer).loc[2]
    first = row["plane"] - 0.5
    plugin.qtbot.waitUntil(lambda: len(box._outline.segments) == 24, timeout=10_000)  # type: ignore[union-attr]
    segments = box._outline.segments  # type: ignore[union-attr]
    assert segments.shape == (24, 3)
    np.testing.assert_allclose(segments.min(axis=0), [first, row["bbox_y0"] - 0.5, row["bbox_x0"] - 0.5])
    np.testing.assert_allclose(segments.max(axis=0), [first + 1, row["bbox_y1"] - 0.5, row["bbox_x1"] - 0.5])


def test_the_row_of_what_is_chosen_in_the_image_is_in_sight(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    view = view_of(plugin)
    view.setFixedHeight(3 * ROW)  # its head, and one row
    aside = view.horizontalScrollBar()
    assert aside is not None
    settle(plugin)
    aside.setValue(aside.maximum())

    def in_sight() -> list[int]:
        height = view.viewport().height()  # type: ignore[union-attr]
        seen = [row for row in range(4) if -ROW < view.rowViewportPosition(row) < height]
        return [shown_rows(plugin)[row] for row in seen]

    assert 4 not in in_sight()
    click(layer, tuple(table(layer).loc[4, ["centroid_y", "centroid_x"]]))
    assert 4 in in_sight()
    assert aside.value() == aside.maximum() > 0
    box.next_button.click()  # after the last one the first
    assert in_sight()[0] == 1


def test_a_click_on_an_object_selects_its_row_and_a_drag_does_not(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    one, other = int(layer.data[15, 50]), int(layer.data[15, 15])
    click(layer, (15, 50))
    assert selected_rows(plugin) == {one}
    assert layer.selected_label == one
    click(layer, (15, 15), drag=True)
    assert selected_rows(plugin) == {one}
    click(layer, (15, 15), "Shift")
    assert selected_rows(plugin) == {one, other}
    assert box.chosen.text().endswith("(2)")
    click(layer, (15, 50), "Shift")
    assert selected_rows(plugin) == {other}
    click(layer, (0, 0))
    assert selected_rows(plugin) == set()
    layer.mode = "pick"
    click(layer, (50, 65))
    assert selected_rows(plugin) == {int(layer.data[50, 65])}, "napari's own"


def test_next_and_previous_go_through_what_matches(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    plugin.viewer.layers.selection.active = layer
    camera = getattr(plugin.viewer, "scene", plugin.viewer).camera
    seen = []
    for key in ("N", "N", "Shift-N", "N", "N", "N"):
        press(plugin, key)
        seen.append(layer.selected_label)
        centre = table(layer).loc[layer.selected_label, ["centroid_y", "centroid_x"]]
        np.testing.assert_allclose(camera.center[-2:], centre.astype(float), atol=0.5)
    assert seen == [1, 2, 1, 2, 3, 4], "from the first one, since none is chosen"
    look_for(box, "index in (2, 4)")
    box.next_button.click()
    box.next_button.click()
    assert layer.selected_label == 4
    plugin.viewer.layers.selection.active = plugin.viewer.layers["cells"]
    press(plugin, "N")
    assert layer.selected_label == 4, "keys are for the layer that is active"


def press(plugin: Any, key: str) -> None:
    plugin.viewer.window._qt_viewer.canvas._key_map_handler.press_key(key)


def test_keys_are_in_naparis_preferences_and_can_be_changed(plugin: Any, layer: Any) -> None:
    names = ["next_object", "previous_object", "delete_objects"]
    for name in (f"napari-sam-amg:{name}" for name in names):
        assert "SAM" in action_manager._actions[name].description
        assert action_manager._shortcuts[name]
        assert name not in get_settings().shortcuts.shortcuts


def test_deleted_and_back_again(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    before, pixels = layer.features.copy(), layer.data.copy()
    assert not box.delete_button.isEnabled() or reviewed_chosen(layer)
    select_rows(plugin, 2, 3)
    press(plugin, "Delete")
    settle(plugin)
    agree(layer)
    assert shown_rows(plugin) == [1, 4]
    assert box.count.text() == "2 objects"
    assert box.told.text() == "Deleted 2 objects."
    assert reviewed_chosen(layer) == ()
    plugin.viewer.layers.selection.active = layer
    press(plugin, "Control-Z")
    settle(plugin)
    np.testing.assert_array_equal(layer.data, pixels)
    assert table(layer)[[n for n in before.columns if n != "index"]].equals(before.iloc[1:].drop(columns="index"))
    assert box.told.text() == "Undone: delete 2 objects."
    box.redo_button.click()
    settle(plugin)
    agree(layer)
    assert shown_rows(plugin) == [1, 4]


def test_kept_alone_and_merged(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    select_rows(plugin, 1, 2)
    box.merge_button.click()
    settle(plugin)
    agree(layer)
    row = table(layer).loc[1]
    assert row["origin"] == "merged by hand"
    assert np.isnan(row["predicted_iou"])
    select_rows(plugin, 1, 3)
    box.keep_button.click()
    settle(plugin)
    agree(layer)
    assert shown_rows(plugin) == [1, 3]
    assert box.redo_button.isEnabled() is False
    for _ in range(2):
        box.undo_button.click()
        settle(plugin)
    agree(layer)
    assert table(layer)["origin"].tolist() == ["model"] * 4
    assert not box.undo_button.isEnabled()


def test_strokes_and_deletions_are_undone_in_their_order(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    states = [layer.data.copy()]
    layer.paint((45, 5), 9)
    states.append(layer.data.copy())
    settle(plugin)
    select_rows(plugin, 1)
    box.delete_button.click()
    settle(plugin)
    states.append(layer.data.copy())
    layer.paint((30, 60), 1)  # a new one, under the number of the other
    settle(plugin)
    assert table(layer).loc[1, "origin"] == "drawn by hand"
    plugin.viewer.layers.selection.active = layer
    for state in states[::-1]:
        press(plugin, "Control-Z")
        settle(plugin)
        np.testing.assert_array_equal(layer.data, state)
        agree(layer)
    press(plugin, "Control-Z")
    for _ in range(3):
        press(plugin, "Control-Shift-Z")
        settle(plugin)
        agree(layer)
    assert table(layer).loc[1, "origin"] == "drawn by hand"


def test_all_that_match_can_be_chosen_and_deleted(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    look_for(box, "centroid_y < 20")
    box.choose_button.click()
    assert selected_rows(plugin) == {1, 2}
    box.delete_button.click()
    settle(plugin)
    agree(layer)
    assert box.count.text() == "0 of 2 objects"
    assert not box.choose_button.isEnabled()


def test_edits_stay_when_a_slider_moves(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    layer.paint((30, 5), 9)
    settle(plugin)
    select_rows(plugin, 2)
    box.delete_button.click()
    settle(plugin)
    review = reviewed(layer)
    assert review.kept is not None
    refiltered = review.kept.plane((), review.params)
    labels = review.edits.apply((), refiltered.labels)  # type: ignore[union-attr]
    review.show((), labels, refiltered.features[refiltered.features["index"] != 2])
    settle(plugin)
    agree(layer)
    assert table(layer)["origin"].to_dict() == {1: "model", 3: "model", 4: "model", 9: "drawn by hand"}


def test_columns_on_demand(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    before = layer.features.columns.tolist()
    menu = box.columns.menu_of_columns
    menu.popup(box.mapToGlobal(box.rect().topLeft()))
    head = next(label for label in menu.findChildren(QLabel) if label.text() == "Shape")
    text = head.mapTo(menu, head.contentsRect().topLeft()).x()
    solidity = box.columns.boxes["", "solidity"]
    assert solidity.mapTo(menu, solidity.rect().topLeft()).x() > text, "a box stands below the head of its group"
    QTest.mouseClick(solidity, Qt.MouseButton.LeftButton, pos=QPoint(8, solidity.height() // 2))
    assert solidity.isChecked()
    box.columns.boxes["cells", "mean"].setChecked(True)
    menu.close()
    plugin.qtbot.waitUntil(lambda: "mean_cells" in layer.features, timeout=10_000)
    assert set(layer.features.columns) - set(before) == {"solidity", "mean_cells"}
    rows, image = table(layer), plugin.viewer.layers["cells"].data
    for label in rows.index:
        assert rows.loc[label, "mean_cells"] == pytest.approx(image[layer.data == label].mean())
    look_for(box, "solidity > 0.9")
    assert box.count.text().endswith("of 4 objects")
    layer.paint((45, 5), 9)
    layer.paint((15, 20), 0)
    settle(plugin)
    plugin.qtbot.waitUntil(lambda: bool(table(layer)["mean_cells"].notna().all()), timeout=10_000)
    for label in (1, 9):
        assert table(layer).loc[label, "mean_cells"] == pytest.approx(image[layer.data == label].mean())
    box.filter.clear()
    another = plugin.run()
    plugin.qtbot.waitUntil(lambda: "solidity" in another.features, timeout=10_000)
    box.columns.asked.emit(Asked())
    plugin.qtbot.waitUntil(lambda: "solidity" not in another.features, timeout=10_000)


@pytest.mark.parametrize("change", ["paint", "thresholds"])
def test_what_changes_while_it_is_measured_first_is_measured_again(
    plugin: Any, layer: Any, box: ObjectsBox, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, may_end = list[int](), threading.Event()

    def held_shapes(*of: Any) -> Any:
        found = [*shapes(*of)]
        looked.append(len(found))
        assert may_end.wait(30)
        return found

    monkeypatch.setattr(measuring, "shapes", held_shapes)
    box._measure(Asked(shapes=frozenset({"perimeter"})))
    plugin.qtbot.waitUntil(lambda: bool(looked), timeout=10_000)
    if change == "paint":
        layer.paint((15, 20), 1)
    else:  # other labels come from elsewhere than hands
        labels, rows = layer.data.copy(), reviewed(layer).table
        labels[14:17, 14:17] = 0
        reviewed(layer).show((), labels, rows)
    settle(plugin)
    may_end.set()
    work = box._worked.measuring  # type: ignore[union-attr]
    plugin.qtbot.waitUntil(lambda: len(looked) > 1 and not work._is_busy, timeout=10_000)
    settle(plugin)
    expected = regionprops_table(layer.data, properties=("perimeter",))["perimeter"]
    np.testing.assert_allclose(table(layer)["perimeter"], expected)


def test_what_is_measured_while_a_run_begins_is_measured_when_it_is_over(
    plugin: Any, layer: Any, box: ObjectsBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    review, work = reviewed(layer), HeldWork()
    work.replace(monkeypatch, measuring, "shapes")
    box._measure(Asked(shapes=frozenset({"perimeter"})))
    plugin.qtbot.waitUntil(lambda: work.begun == 1, timeout=10_000)
    review.is_running = True
    work.may_go_on.set()
    worked = box._worked
    plugin.qtbot.waitUntil(lambda: not worked.measuring._is_busy, timeout=10_000)  # type: ignore[union-attr]
    assert box.told.text() != "Measuring..."
    review.is_running = False
    review.ended.emit()
    plugin.qtbot.waitUntil(lambda: "perimeter" in layer.features, timeout=10_000)


def test_an_image_of_other_pixels_cannot_be_measured(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    plugin.viewer.add_image(np.zeros((10, 10)), name="small")
    box._measure(Asked(statistics=frozenset({("small", "mean")})))
    plugin.qtbot.waitUntil(lambda: "small" in box.told.text(), timeout=5000)
    assert box.told.text() == "'small' does not reach as far as the labels."


def test_labels_on_the_disk_can_be_looked_at_only(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    import dask.array

    stored = Labels(
        dask.array.from_array(layer.data),
        features=layer.features,
        name="stored",
        metadata={METADATA_KEY: {"started": "3000"}},
    )
    plugin.viewer.add_layer(stored)
    assert not stored.editable
    stored.selected_label = 2
    look_for(box, "index == 2")
    assert box.count.text() == "1 of 4 objects"
    assert box.told.text().startswith("These labels lie on the disk")
    assert not box.delete_button.isEnabled()
    box._worked.actions.delete([2])  # type: ignore[union-attr]
    assert (np.asarray(stored.data) == 2).any()


def test_everything_may_go_at_any_time(plugin: Any, layer: Any, box: ObjectsBox) -> None:
    look_for(box, "index == 1")
    select_rows(plugin, 1)
    layer.paint((45, 5), 9)
    plugin.viewer.layers.clear()
    settle(plugin)
    assert not box.isEnabled()
    for button in (box.next_button, box.delete_button, box.undo_button, box.table_button):
        button.clicked.emit()
    assert not [message for message in plugin.messages if message.severity > "info"]


def test_nobody_is_told_to_wait_for_a_run_that_is_over(plugin: Any, model: Any, box: ObjectsBox) -> None:
    plugin.viewer.add_image(np.stack([disc_image(CENTRES)] * 3))
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.run()
    settle(plugin)
    assert box.told.text() == ""
