"""Hands and sliders by turns: what lies beneath an edit moves, and comes back as it is now."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sam_amg.plugin.reviewing import filtered, survey
from napari_sam_amg.plugin.reviewing.worked_layers import WorkedLayer, worked_layer
from tests.plugin.conftest import TIMEOUT
from tests.plugin.graded_model import assert_as_fresh, assert_table_agrees, fresh_run, plane
from tests.plugin.meanwhile import HeldEdit, HeldWork
from tests.plugin.reviewing.thresholds.moving import segment

STRICT, LOOSE = 0.9, 0.6  # predicted IoU


def settle(plugin: Any, review: Any) -> None:
    worked = worked_layer(plugin.viewer, review.layer)

    def is_over() -> bool:
        hands = worked.edits.is_waiting or worked.actions.is_busy
        return not hands and review.refilter.waiting == 0 and review.refilter.is_idle

    plugin.qtbot.wait(20)
    plugin.qtbot.waitUntil(is_over, timeout=TIMEOUT)


@pytest.fixture
def moved(plugin: Any, box: Any) -> Any:
    """Results, what belongs to them, and a way to move the first threshold."""
    review = segment(plugin, plane(8))

    def move(value: float) -> None:
        box.form.iou.field.setValue(value)
        settle(plugin, review)
        assert_table_agrees(review)

    return review, worked_layer(plugin.viewer, review.layer), move


def hidden_ids(before: np.ndarray, after: np.ndarray) -> list[int]:
    return sorted({*np.unique(before).tolist()} - {*np.unique(after).tolist()})


def place_of(labels: np.ndarray, label: int) -> tuple[int, int]:
    y, x = np.argwhere(labels == label)[0]
    return int(y), int(x)


def undo(plugin: Any, review: Any, worked: WorkedLayer, again: bool = False) -> None:
    worked.actions.redo() if again else worked.actions.undo()
    settle(plugin, review)
    assert_table_agrees(review)


def test_undo_brings_back_what_the_thresholds_show_now(plugin: Any, moved: Any) -> None:
    """And not what lay there when it was drawn."""
    review, worked, move = moved
    layer, shown = review.layer, review.layer.data.copy()
    move(STRICT)
    strict = layer.data.copy()
    gone = hidden_ids(shown, strict)[0]
    move(0.75)
    layer.brush_size = 5
    layer.paint(place_of(shown, gone), 900)
    worked.actions.delete([int(np.unique(strict)[1])])
    settle(plugin, review)
    move(STRICT)
    undo(plugin, review, worked)
    assert (layer.data == 900).any()
    undo(plugin, review, worked)
    np.testing.assert_array_equal(layer.data, strict)
    assert_as_fresh(review, fresh_run(plane(8), review.params))
    assert set(review.table.get("origin", ["model"])) == {"model"}
    move(0.75)
    np.testing.assert_array_equal(layer.data, shown)
    undo(plugin, review, worked, again=True)
    undo(plugin, review, worked, again=True)
    assert (layer.data == 900).sum() == 21
    assert int(np.unique(strict)[1]) not in layer.data
    assert review.table.set_index("index").loc[900, "origin"] == "drawn by hand"


def test_naparis_own_undo_does_not_bring_back_pixels_of_before(plugin: Any, moved: Any) -> None:
    """Neither after thresholds have moved, nor after objects were deleted."""
    review, worked, move = moved
    layer, shown = review.layer, review.layer.data.copy()
    layer.paint(place_of(shown, 1), 900)
    settle(plugin, review)
    for change in (lambda: move(STRICT), lambda: worked.actions.delete([900])):
        change()
        settle(plugin, review)
        after = layer.data.copy()
        layer.undo()
        layer.redo()
        settle(plugin, review)
        np.testing.assert_array_equal(layer.data, after)
        assert_table_agrees(review)
        layer.paint((90, 5), 901)
        settle(plugin, review)


def test_what_is_hidden_comes_back_beside_what_was_drawn_under_its_number(plugin: Any, moved: Any) -> None:
    review, _, move = moved
    layer, shown = review.layer, review.layer.data.copy()
    move(STRICT)
    taken = hidden_ids(shown, layer.data)[0]
    layer.brush_size = 3
    layer.paint((90, 5), taken)
    settle(plugin, review)
    drawn = layer.data == taken
    move(0.75)
    assert set(np.unique(layer.data[drawn])) == {taken}
    assert (layer.data == taken).sum() == drawn.sum(), "and nothing else has the number"
    came_back = np.unique(layer.data[(shown == taken) & ~drawn])
    assert len(came_back) == 1
    assert came_back[0] > max(shown.max(), taken)
    np.testing.assert_array_equal((layer.data == came_back[0]), (shown == taken) & ~drawn)
    assert review.table.set_index("index").loc[taken, "origin"] == "drawn by hand"
    move(LOOSE)
    move(0.75)
    assert came_back[0] in layer.data


def test_what_was_deleted_stays_so_when_its_number_is_drawn_again(plugin: Any, moved: Any) -> None:
    review, worked, move = moved
    layer, shown = review.layer, review.layer.data.copy()
    move(STRICT)
    label = int(np.unique(layer.data)[1])
    worked.actions.delete([label])
    settle(plugin, review)
    layer.brush_size = 1
    layer.paint((90, 5), label)
    settle(plugin, review)
    move(0.75)
    assert (layer.data == label).sum() == 1
    np.testing.assert_array_equal(layer.data[shown == label], 0)
    undo(plugin, review, worked)
    undo(plugin, review, worked)
    assert (layer.data[shown == label] > 0).all()


def test_a_stroke_that_goes_on_while_thresholds_move_is_kept(plugin: Any, moved: Any) -> None:
    review, _, move = moved
    layer = review.layer
    layer.brush_size = 3
    layer._begin_stroke() if hasattr(layer, "_begin_stroke") else setattr(layer, "_block_history", True)
    layer.paint((88, 5), 900)
    move(STRICT)
    assert (layer.data == 900).sum() == 9
    layer.paint((88, 15), 900)
    layer._commit_stroke() if hasattr(layer, "_commit_stroke") else layer._commit_staged_history()
    settle(plugin, review)
    assert_table_agrees(review)
    move(LOOSE)
    assert (layer.data == 900).sum() == 18


def test_what_comes_up_beneath_a_drawing_is_measured_as_it_is_seen(plugin: Any, moved: Any) -> None:
    review, _, move = moved
    layer, shown = review.layer, review.layer.data.copy()
    move(STRICT)
    gone = hidden_ids(shown, layer.data)[0]
    layer.brush_size = 5
    layer.paint(place_of(shown, gone), 900)
    settle(plugin, review)
    move(0.75)  # which holds labels and areas together
    row = review.table.set_index("index").loc[gone]
    assert 0 < row["area"] < (shown == gone).sum()
    assert row["origin"] == "edited by hand" or row["origin"] == "model"


@pytest.mark.parametrize("are_asked", ["before", "meanwhile"])
def test_planes_come_while_objects_are_deleted(
    plugin: Any,
    box: Any,
    moved: Any,
    are_asked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    review, worked, _ = moved
    work = HeldWork()
    work.replace(monkeypatch, filtered, "_planes")
    labels = sorted(worked.objects.ids())[:3]
    if are_asked == "before":
        box.form.iou.field.setValue(LOOSE)
        plugin.qtbot.waitUntil(lambda: work.begun == 1, timeout=TIMEOUT)
    with monkeypatch.context() as patch:
        edit = HeldEdit(patch)
        worked.actions.delete(labels)
        edit.turn()  # one of them is gone
        if are_asked == "meanwhile":
            box.form.iou.field.setValue(LOOSE)
        work.may_go_on.set()
        plugin.qtbot.waitUntil(lambda: review.refilter.is_idle, timeout=TIMEOUT)
        edit.end()
    settle(plugin, review)
    assert review.params.pred_iou_thresh == LOOSE
    assert not np.isin(review.layer.data, labels).any()
    assert_table_agrees(review)
    undo(plugin, review, worked)
    assert_as_fresh(review, fresh_run(plane(8), review.params))


def test_a_number_is_drawn_in_the_turn_in_which_its_own_object_comes_back(plugin: Any, moved: Any) -> None:
    review, _, move = moved
    layer, shown = review.layer, review.layer.data.copy()
    move(STRICT)
    taken = hidden_ids(shown, layer.data)[0]
    take = review.refilter._take

    def draw_and_take(item: Any) -> None:
        if taken not in layer.data:
            layer.brush_size = 3
            layer.paint((90, 5), taken)
        take(item)

    review.refilter._take = draw_and_take
    move(0.75)
    drawn = layer.data == taken
    assert drawn.sum() == 9
    came_back = np.unique(layer.data[(shown == taken) & ~drawn])
    assert len(came_back) == 1
    assert came_back[0] > shown.max()


def test_a_stroke_while_objects_through_planes_are_about_to_be_shown(
    plugin: Any,
    box: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    review = segment(plugin, np.stack([plane(8)] * 3), link="through z")
    layer, worked, shown = review.layer, worked_layer(plugin.viewer, review.layer), review.layer.data.copy()
    box.form.iou.field.setValue(STRICT)
    settle(plugin, review)
    gone = hidden_ids(shown, layer.data)[0]
    box.form.iou.field.setValue(0.75)
    settle(plugin, review)
    layer._block_history = True  # the button is down
    layer.brush_size = 1

    def one_step() -> bool:
        """And a stroke before the next turn, where an object is about to go."""
        goes_on = next(review.refilter._steps, "none") != "none"
        if goes_on and 900 not in layer.data:
            layer.paint((0, *place_of(shown[0], gone)), 900)
        return goes_on

    monkeypatch.setattr(review.refilter, "_goes_on", one_step)
    box.form.iou.field.setValue(STRICT)
    settle(plugin, review)
    assert (layer.data == 900).sum() == 1
    layer._block_history = False
    layer._commit_staged_history()
    settle(plugin, review)
    assert 900 in layer.data
    np.testing.assert_array_equal(worked.edits.hand.apply((0,), layer.data[0]), layer.data[0])


def test_thresholds_move_before_other_data_were_looked_at(
    plugin: Any,
    box: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = np.stack([plane(8 + z) for z in range(3)])
    review = segment(plugin, data)
    layer, worked, work = review.layer, worked_layer(plugin.viewer, review.layer), HeldWork()
    settle(plugin, review)
    box.form.iou.field.setValue(STRICT)
    settle(plugin, review)
    label = int(layer.data[layer.data > 0][0])
    monkeypatch.setattr(survey, "AT_ONCE", 0)
    work.replace(monkeypatch, survey, "rows_of_all")
    layer.data = np.where(layer.data == label, 0, layer.data)
    box.form.iou.field.setValue(LOOSE)
    plugin.qtbot.waitUntil(lambda: work.begun == 1 and review.refilter.is_idle, timeout=TIMEOUT)
    work.may_go_on.set()
    plugin.qtbot.waitUntil(lambda: bool(worked.edits.hand), timeout=TIMEOUT)
    settle(plugin, review)
    assert review.refilter.waiting == 0
    assert label not in layer.data
    assert_table_agrees(review)
    undo(plugin, review, worked)
    assert_as_fresh(review, fresh_run(data, replace(review.params)))


def test_an_object_in_a_plane_that_nobody_told_of_keeps_its_row(plugin: Any, box: Any) -> None:
    """When what hands have drawn of it in another plane is taken back."""
    review = segment(plugin, np.stack([plane(8 + z) for z in range(3)]))
    layer, worked = review.layer, worked_layer(plugin.viewer, review.layer)
    plugin.viewer.dims.set_point(0, 0)
    layer.paint((0, 90, 5), 900)
    settle(plugin, review)
    box.form.iou.field.setValue(STRICT)
    settle(plugin, review)
    layer.data[1, 88:92, 3:7] = 900  # by a script, out of sight
    layer.refresh()
    settle(plugin, review)
    assert_table_agrees(review)
    undo(plugin, review, worked)
    assert (layer.data == 900).sum() == 16
    assert_table_agrees(review)
