"""Labels and table of a result layer never disagree, whoever paints, undoes or replaces."""

import threading
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.layers._layer_actions import _duplicate_layer

from napari_sam_amg.plugin.reviewing import survey
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.reviewing.worked_layers import worked_layer
from napari_sam_amg.review.remeasure import rows_of_all
from tests.disc_model import disc_image
from tests.plugin.meanwhile import HeldEdit, HeldWork
from tests.plugin.reviewing.agreement import agree, settle, table

CENTRES = [(15, 15), (15, 50), (45, 30)]


@pytest.fixture
def layer(plugin: Any) -> Any:
    plugin.viewer.add_image(disc_image(CENTRES), name="cells", scale=(0.5, 0.5), units=("um", "um"))
    layer = plugin.run()
    agree(layer)
    assert "origin" not in layer.features, "nothing was touched"
    return layer


@pytest.fixture
def stack(plugin: Any) -> Any:
    data = np.stack([disc_image(CENTRES[:2]), disc_image(CENTRES[1:]), disc_image(CENTRES)])
    plugin.viewer.add_image(data, name="stack")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    return plugin.run


def paint(layer: Labels, place: tuple[float, ...], label: int, size: int = 5) -> None:
    layer.brush_size = size
    layer.paint(place, label)


def test_painting_over_the_edge_of_an_object(plugin: Any, layer: Any) -> None:
    before = table(layer)
    paint(layer, (15, 24), 1, 9)
    settle(plugin)
    agree(layer)
    rows = table(layer)
    assert rows.loc[1, "area"] > before.loc[1, "area"]
    assert rows.loc[1, "area_um2"] == pytest.approx(rows.loc[1, "area"] / 4)
    assert rows["origin"].tolist() == ["edited by hand", "model", "model"]
    assert rows.loc[1, "predicted_iou"] == before.loc[1, "predicted_iou"]
    assert rows.loc[2, list(before.columns)].equals(before.loc[2])


def test_a_new_object_has_a_row_that_says_it_was_drawn(plugin: Any, layer: Any) -> None:
    paint(layer, (45, 60), 9)
    settle(plugin)
    agree(layer)
    row = table(layer).loc[9]
    assert row["origin"] == "drawn by hand"
    assert np.isnan(row["predicted_iou"])
    assert np.isnan(row["point_y"])
    assert layer.get_status((22.5, 30), world=True)["value"].startswith("9; area: 21")


def test_erasing_a_whole_object_and_part_of_another(plugin: Any, layer: Any) -> None:
    paint(layer, (15, 15), 0, 30)
    paint(layer, (45, 30), 0, 3)
    settle(plugin)
    agree(layer)
    assert table(layer).index.tolist() == [2, 3]


def test_filling_gives_the_pixels_to_another_object(plugin: Any, layer: Any) -> None:
    layer.fill((15, 15), 2)
    settle(plugin)
    agree(layer)
    assert table(layer).loc[2, "origin"] == "edited by hand"
    layer.fill((60, 79), 4)  # the background becomes an object
    settle(plugin)
    agree(layer)


def test_a_stroke_of_the_mouse_is_one_step(plugin: Any, layer: Any) -> None:
    """Many places, told when the button is let go."""
    layer.brush_size = 3
    with layer.block_history():
        for x in range(20, 46):
            layer.paint((30, x), 5, refresh=False)
    layer.refresh()
    settle(plugin)
    agree(layer)
    edits = worked_layer(plugin.viewer, layer).edits
    assert edits.hand.drawn == {5}
    edits.hand.undo()
    assert edits.hand.last is None


def test_a_polygon_and_pixels_set_by_index(plugin: Any, layer: Any) -> None:
    layer.paint_polygon([[35, 50], [35, 70], [55, 70]], 6)
    layer.data_setitem((np.array([0, 0, 1]), np.array([0, 1, 0])), [7, 7, 8])
    settle(plugin)
    agree(layer)
    assert {6, 7, 8} <= set(table(layer).index)


def test_naparis_own_undo_and_redo(plugin: Any, layer: Any) -> None:
    before, pixels = layer.features.copy(), layer.data.copy()
    paint(layer, (15, 15), 0, 30)
    paint(layer, (45, 60), 9)
    settle(plugin)
    after = table(layer)
    layer.undo()
    settle(plugin)
    agree(layer)
    layer.undo()
    settle(plugin)
    np.testing.assert_array_equal(layer.data, pixels)
    assert table(layer)["origin"].tolist() == ["model"] * 3
    columns = [name for name in before.columns if name != "index"]
    np.testing.assert_array_equal(table(layer)[columns], before[columns][1:])
    layer.redo()
    layer.redo()
    settle(plugin)
    agree(layer)
    assert table(layer).equals(after)
    assert [step.words for step in worked_layer(plugin.viewer, layer).edits.hand._steps] == ["draw", "draw"]


def test_other_data_for_the_layer(plugin: Any, layer: Any) -> None:
    other = np.where(layer.data == 2, 0, layer.data)
    other[50:60, 60:70] = 12
    layer.data = other
    settle(plugin)
    agree(layer)
    assert table(layer)["origin"].to_dict() == {1: "model", 3: "model", 12: "drawn by hand"}
    hand = worked_layer(plugin.viewer, layer).edits.hand
    np.testing.assert_array_equal(hand.apply((), np.where(other == 12, 0, other)), other)


def test_other_data_of_another_size(plugin: Any, layer: Any) -> None:
    layer.data = np.pad(layer.data, 8)
    settle(plugin)
    agree(layer)
    assert not worked_layer(plugin.viewer, layer).edits.hand


def test_pixels_that_a_script_sets(plugin: Any, layer: Any) -> None:
    layer.data[10:20, 10:20] = 0
    layer.data[50:, 70:] = 20
    layer.refresh()
    settle(plugin)
    agree(layer)
    assert table(layer)["origin"].to_dict() == {
        1: "edited by hand", 2: "model", 3: "model", 20: "drawn by hand",
    }  # fmt: skip


def test_the_last_object_may_go_and_others_come(plugin: Any, layer: Any) -> None:
    layer.data[:] = 0
    layer.refresh()
    settle(plugin)
    agree(layer)
    paint(layer, (20, 20), 1)
    settle(plugin)
    agree(layer)


def test_in_a_stack(plugin: Any, stack: Any) -> None:
    layer = stack()
    agree(layer)
    plugin.viewer.dims.set_point(0, 1)
    paint(layer, (1, 55, 70), 30)
    paint(layer, (1, 45, 30), 0, 3)
    settle(plugin)
    agree(layer)
    assert table(layer).loc[30, "plane"] == 1
    paint(layer, (2, 55, 70), 30, 9)
    settle(plugin)
    agree(layer)
    assert table(layer).loc[30, "plane"] == 2, "the plane that holds most"
    layer.undo()
    settle(plugin)
    agree(layer)


def test_in_all_planes_at_once_and_out_of_sight(plugin: Any, stack: Any) -> None:
    layer = stack()
    layer.n_edit_dimensions = 3
    paint(layer, (1, 55, 70), 31, 3)
    layer.undo()
    layer.redo()
    settle(plugin)
    agree(layer)
    layer.data[2, :24, :24] = 0  # by a script, while plane 0 is in sight
    layer.refresh()
    plugin.qtbot.waitUntil(lambda: 5 not in table(layer).index, timeout=5000)
    agree(layer)


def test_a_look_through_the_planes_while_an_object_is_away(
    plugin: Any, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted and back again while the worker looks: the table is as before, and what was seen is not so any more."""
    layer = stack()
    worked, begun, looked = worked_layer(plugin.viewer, layer), list[int](), list[int]()
    may_look, may_end = threading.Event(), threading.Event()

    def held_look(*of: Any) -> Any:
        begun.append(1)
        assert may_look.wait(30)
        found = rows_of_all(*of)
        looked.append(len(found))
        assert may_end.wait(30)
        return found

    monkeypatch.setattr(survey, "AT_ONCE", 0)
    monkeypatch.setattr(survey, "rows_of_all", held_look)
    for act in (lambda: worked.actions.delete([1]), worked.actions.undo):  # from now on the table tells origins
        act()
        settle(plugin)
    before = table(layer)
    worked.edits._survey.start()
    plugin.qtbot.waitUntil(lambda: bool(begun), timeout=30_000)
    worked.actions.delete([1])
    settle(plugin)
    may_look.set()
    plugin.qtbot.waitUntil(lambda: bool(looked), timeout=30_000)
    worked.actions.undo()
    settle(plugin)
    may_end.set()
    plugin.qtbot.waitUntil(lambda: len(looked) == 2 and not worked.edits._survey._is_busy, timeout=30_000)
    agree(layer)
    assert looked == [len(before) - 1, len(before)]
    assert table(layer).index.tolist() == before.index.tolist()


def test_objects_through_planes(plugin: Any, stack: Any) -> None:
    plugin.choose(min_planes=1)
    plugin.widget.form.fields["link"].widget.value = "z"
    layer = stack()
    agree(layer)
    volume = table(layer).loc[2, "volume"]
    paint(layer, (1, 15, 60), 2, 5)
    paint(layer, (0, 55, 70), 40)
    settle(plugin)
    agree(layer)
    rows = table(layer)
    assert rows.loc[2, "volume"] > volume
    assert rows.loc[40, "origin"] == "drawn by hand"
    assert np.isnan(rows.loc[40, "weakest_link"])
    paint(layer, (2, 15, 50), 0, 30)
    settle(plugin)
    agree(layer)
    assert table(layer).loc[2, "last_plane"] == 1


def test_a_layer_that_is_removed_while_a_stroke_waits(plugin: Any, layer: Any) -> None:
    paint(layer, (45, 60), 9)
    plugin.viewer.layers.remove(layer)
    settle(plugin)
    paint(layer, (45, 60), 8)
    settle(plugin)
    assert not [message for message in plugin.messages if message.severity > "info"]


def test_a_layer_that_has_moved_to_another_viewer(plugin: Any, layer: Any, make_napari_viewer: Any) -> None:
    """And the first one is closed."""
    viewer = make_napari_viewer()  # not shown: vispy draws with what the first window had
    viewer.window.add_plugin_dock_widget("napari-sam-amg", "Segment everything")
    plugin.viewer.layers.remove(layer)
    viewer.add_layer(layer)
    plugin.viewer.close()
    paint(layer, (45, 60), 9)
    plugin.qtbot.waitUntil(lambda: 9 in table(layer).index, timeout=30_000)
    agree(layer)
    worked_layer(viewer, layer).actions.delete([9])
    plugin.qtbot.waitUntil(lambda: 9 not in table(layer).index, timeout=30_000)
    agree(layer)


def test_painting_while_objects_are_deleted(plugin: Any, layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several turns of the event loop, the mouse's among them."""
    worked, before = worked_layer(plugin.viewer, layer), layer.data.copy()
    with monkeypatch.context() as patch:
        edit = HeldEdit(patch)
        worked.actions.delete([1, 2])
        edit.turn()
        paint(layer, (55, 70), 9)
        layer.data[40:44, 30] = 0  # by a script
        layer.refresh()
        worked.actions.undo()  # nobody listens now, and the step before the last one is none of it
        edit.end()
    settle(plugin)
    agree(layer)
    assert table(layer).index.tolist() == [3, 9]
    assert [step.words for step in worked.edits.hand._steps] == ["delete 2 objects", "draw", "change"]
    for _ in range(3):
        worked.actions.undo()
        settle(plugin)
        agree(layer)
    np.testing.assert_array_equal(layer.data, before)


def test_a_copy_of_a_layer_that_is_edited(plugin: Any, layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While objects are deleted, and before a stroke has come into the table."""
    with monkeypatch.context() as patch:
        edit = HeldEdit(patch)
        worked_layer(plugin.viewer, layer).actions.delete([1, 2])
        edit.turn()
        paint(layer, (55, 70), 9)
        plugin.viewer.layers.selection = {layer}
        _duplicate_layer(plugin.viewer.layers)
        edit.end()
    settle(plugin)
    agree(layer)
    copy = plugin.viewer.layers[-1]
    assert 2 in copy.data
    agree(copy)


@pytest.mark.parametrize("size", ["same", "another"])
def test_other_data_while_objects_are_deleted(
    plugin: Any, layer: Any, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked, other = worked_layer(plugin.viewer, layer), np.where(layer.data == 3, 7, layer.data)
    other = other if size == "same" else np.pad(other, 9)
    with monkeypatch.context() as patch:
        edit = HeldEdit(patch)
        worked.actions.delete([1, 2])
        edit.turn()
        layer.data = other.copy()
        edit.end()
    settle(plugin)
    np.testing.assert_array_equal(layer.data, other)
    agree(layer)
    assert [message.message for message in plugin.messages if message.severity > "info"] == [
        "The layer was given other data meanwhile: nothing was changed in these"
    ]


def test_a_stroke_and_a_script_in_one_turn(plugin: Any, layer: Any) -> None:
    before = layer.data.copy()
    paint(layer, (45, 60), 9)
    layer.data[10:20, 10:20] = 0
    layer.refresh()
    settle(plugin)
    agree(layer)
    hand = worked_layer(plugin.viewer, layer).edits.hand
    np.testing.assert_array_equal(hand.apply((), before), layer.data)


def test_a_stroke_that_napari_undoes_in_the_same_turn(plugin: Any, layer: Any) -> None:
    paint(layer, (45, 60), 9)
    layer.undo()
    settle(plugin)
    agree(layer)
    hand = worked_layer(plugin.viewer, layer).edits.hand
    assert hand.last is None
    assert [patch.ids for patch in hand.next.patches] == [{9}]  # type: ignore[union-attr]


def test_a_stroke_and_other_data_in_one_turn(plugin: Any, layer: Any) -> None:
    before = layer.data.copy()
    paint(layer, (45, 60), 9)
    layer.data = np.where(layer.data == 9, 0, layer.data)
    settle(plugin)
    agree(layer)
    hand = worked_layer(plugin.viewer, layer).edits.hand
    np.testing.assert_array_equal(hand.apply((), before), layer.data)


def test_a_script_and_a_new_table_in_one_turn(plugin: Any, layer: Any) -> None:
    """As of columns that a worker has measured."""
    layer.data[10:20, 10:20] = 0
    layer.refresh()
    worked_layer(plugin.viewer, layer).edits.show_table(reviewed(layer).table)
    settle(plugin)
    agree(layer)


def test_places_are_those_of_the_labels_that_are_there(plugin: Any, stack: Any) -> None:
    """And not where hands have last drawn an object."""
    layer = stack()
    paint(layer, (0, 55, 70), 30)
    settle(plugin)
    layer.data[1, 50:60, 70:80] = 30  # out of sight
    layer.refresh()
    settle(plugin)
    agree(layer)
    paint(layer, (0, 55, 74), 30)
    settle(plugin)
    agree(layer)
    layer.data = np.pad(layer.data, ((0, 0), (20, 0), (20, 0)))
    settle(plugin)
    agree(layer)
    paint(layer, (0, 75, 90), 0, 1)
    settle(plugin)
    agree(layer)


def test_other_data_twice_before_the_first_were_looked_at(
    plugin: Any, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, work = stack(), HeldWork()
    worked, before = worked_layer(plugin.viewer, layer), layer.data.copy()
    monkeypatch.setattr(survey, "AT_ONCE", 0)
    work.replace(monkeypatch, survey, "rows_of_all")
    layer.data = np.where(before == 1, 0, before)
    plugin.qtbot.waitUntil(lambda: work.begun == 1, timeout=30_000)
    layer.data = np.where(layer.data == 2, 0, layer.data)
    worked.actions.delete([3])
    settle(plugin)
    work.may_go_on.set()
    plugin.qtbot.waitUntil(lambda: len(worked.edits.hand._steps) == 2, timeout=30_000)
    settle(plugin)
    agree(layer)
    for _ in range(2):
        worked.actions.undo()
        settle(plugin)
        agree(layer)
    np.testing.assert_array_equal(layer.data, before)


def test_painting_while_the_run_goes_on(plugin: Any, model: Any) -> None:
    plugin.viewer.add_image(np.stack([disc_image(CENTRES[:2]), disc_image(CENTRES[1:])]), name="stack")
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 4)
    runner = plugin.widget.runner
    plugin.qtbot.waitUntil(lambda: runner.layer is not None and len(runner.layer.features) > 1, timeout=30_000)
    layer = runner.layer
    paint(layer, (0, 55, 70), 90)
    model.release.set()
    plugin.wait()
    settle(plugin)
    agree(layer)


def test_a_run_that_begins_before_other_data_were_looked_at(
    plugin: Any, layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same layer, whose other rows it leaves as it has found them."""
    worked, review = worked_layer(plugin.viewer, layer), reviewed(layer)
    monkeypatch.setattr(survey, "AT_ONCE", 0)
    layer.data = np.where(layer.data == 2, 0, layer.data)
    review.is_running = True
    plugin.qtbot.waitUntil(lambda: not worked.edits._survey._timer.isActive(), timeout=30_000)
    settle(plugin)
    review.is_running = False
    review.ended.emit()
    plugin.qtbot.waitUntil(lambda: table(layer).index.tolist() == [1, 3], timeout=30_000)
    agree(layer)
    assert not review.is_held
