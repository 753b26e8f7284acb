"""Thresholds move without the model: what is shown is what a fresh run at these settings gives."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from qtpy.QtCore import QLocale

from napari_sam_amg.plugin.reviewing import filtered, refilter
from napari_sam_amg.plugin.reviewing import thresholds_box as module
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.settings import settings_of
from tests.plugin.conftest import TIMEOUT
from tests.plugin.graded_model import (
    assert_as_fresh,
    assert_table_agrees,
    fresh_run,
    plane,
)
from tests.plugin.meanwhile import HeldWork
from tests.plugin.reviewing.thresholds.moving import growing, segment, settle

MOVES: list[Any] = [
    lambda box: box.form.iou.slider.setValue(700),
    lambda box: box.form.iou.field.setValue(0.62),  # below what was shown
    lambda box: box.form.stability.field.setValue(0.78),
    lambda box: box.form.area.slider.setValue((800, 985)),
    lambda box: box.form.nms.field.setValue(1),
    lambda box: box.form.overlap.setCurrentIndex(1),
    lambda box: box.form.area.most.setValue(0),
    lambda box: box.form.piece.setValue(300),
    lambda box: box.form.iou.field.setValue(0.9),
]


def test_whatever_is_moved_it_is_as_a_fresh_run(plugin: Any, box: Any, model: Any) -> None:
    data = plane(11)
    review = segment(plugin, data)
    asked, seen = model.decoded, [review.layer.data.copy()]
    for move in MOVES:
        move(box)
        settle(plugin, review)
        assert review.params == review.refilter.params
        assert_as_fresh(review, fresh_run(data, review.params))
        assert_table_agrees(review)
        seen.append(review.layer.data.copy())
    assert review.params.pred_iou_thresh == 0.9
    assert review.params.min_area > 0
    assert review.params.box_nms_thresh == 1
    assert review.params.overlap == "small"
    assert review.params.min_label_region_area == 300
    assert sum(not np.array_equal(*pair) for pair in pairwise(seen)) >= 6
    assert model.decoded == asked
    assert not plugin.messages


def test_what_is_hidden_comes_back_under_its_own_number(plugin: Any, box: Any) -> None:
    review = segment(plugin, plane(2))
    layer, before, table = review.layer, review.layer.data.copy(), review.layer.features.copy()
    box.form.iou.field.setValue(0.6)
    settle(plugin, review)
    more = layer.data.copy()
    assert len(np.unique(more)) > len(np.unique(before))
    same = before > 0
    np.testing.assert_array_equal(more[same & (more > 0)] <= before.max(), True)
    box.form.iou.field.setValue(0.92)
    settle(plugin, review)
    fewer = layer.data.copy()
    assert {*np.unique(fewer)} < {*np.unique(before)}
    np.testing.assert_array_equal(fewer[fewer > 0], before[fewer > 0])
    box.form.iou.field.setValue(0.6)
    settle(plugin, review)
    np.testing.assert_array_equal(layer.data, more)
    box.form.iou.field.setValue(0.75)
    settle(plugin, review)
    np.testing.assert_array_equal(layer.data, before)
    assert layer.features.equals(table)


def test_counts_and_the_range_are_said(plugin: Any, box: Any) -> None:
    review = segment(plugin, plane(3))
    total = len(review.kept.columns()["area"])
    first = box.summary.text()
    assert box.form.area.scale.high == review.kept.columns()["area"].max()  # before anything was counted
    assert f" of {total:,} candidates are kept" in first
    plugin.qtbot.waitUntil(lambda: box.form.iou.histogram.counts.sum() == total, timeout=TIMEOUT)
    assert box.form.area.histogram.counts.sum() == total
    assert box.form.nms.histogram.counts.sum() == total
    assert box.form.area.scale.high == review.kept.columns()["area"].max()
    assert box.form.iou.scale.low == review.kept.floor.pred_iou_thresh
    box.form.overlap.setCurrentIndex(2)
    box.form.nms.field.setValue(1)
    settle(plugin, review)
    result = fresh_run(plane(3), review.params)[()]
    hidden = len(result.masks) - len(result.features)
    assert hidden > 0
    assert (
        box.summary.text()
        == f"{len(result.masks)} of {total} candidates are kept, {hidden} of them hidden by overlaps."
    )
    low, high = box.form.iou.histogram.kept
    assert low == pytest.approx((0.75 - box.form.iou.scale.low) / (1 - box.form.iou.scale.low), abs=1e-3)
    assert high == 1
    assert box.form.nms.histogram.kept == (0, 1)
    assert not box.form.crop_nms.isVisible()


def test_candidates_that_are_counted_late_are_not_shown_for_another_layer(
    plugin: Any, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, work = list[int](), HeldWork()
    work.replace(monkeypatch, module, "look_at")
    monkeypatch.setattr(box.form, "show_candidates", lambda columns: shown.append(len(columns["area"])))
    first = segment(plugin, plane(3))
    plugin.qtbot.waitUntil(lambda: work.begun == 1, timeout=TIMEOUT)
    second = segment(plugin, plane(4)[:60])
    work.may_go_on.set()
    plugin.qtbot.waitUntil(lambda: box._looking is None, timeout=TIMEOUT)
    first, second = (len(review.kept.columns()["area"]) for review in (first, second))
    assert first != second
    assert shown == [second]


def test_reset_and_the_next_run(plugin: Any, box: Any) -> None:
    review = segment(plugin, plane(4))
    box.form.iou.slider.setValue(800)
    box.form.overlap.setCurrentIndex(2)
    settle(plugin, review)
    moved = review.params
    box.take_button.click()
    form = plugin.widget.form.parameters()
    assert form == replace(moved, crop_layers=form.crop_layers)
    plugin.widget.form.apply_model({"pred_iou_thresh": 0.3})  # a look at another model
    assert plugin.widget.form.parameters() == form
    box.reset_button.click()
    settle(plugin, review)
    own = review.kept.own
    assert own.pred_iou_thresh == 0.88
    assert review.params == own
    assert (box.form.iou.value, box.form.overlap.currentData()) == (0.88, "score")
    assert_as_fresh(review, fresh_run(plane(4), own))


def test_the_record_says_what_is_shown(plugin: Any, box: Any) -> None:
    review = segment(plugin, plane(5))
    record = review.layer.metadata["napari-sam-amg"]
    assert "of_the_run" not in record
    assert record["masks"] - record["hidden_by_overlap"] == len(review.table)
    box.form.iou.field.setValue(0.9)
    box.form.area.least.setValue(40)
    settle(plugin, review)
    assert settings_of(review.layer.metadata).params() == review.params
    assert record["parameters_used"]["pred_iou_thresh"] == 0.9
    assert record["of_the_run"] == {"pred_iou_thresh": 0.75, "min_area": 0}
    assert record["masks"] - record["hidden_by_overlap"] == len(review.table)
    plugin.widget.take_settings()
    assert plugin.widget.form.fields["min_area"].value() == 40
    box.form.iou.field.setValue(0.75)
    box.form.area.least.setValue(0)
    settle(plugin, review)
    assert "of_the_run" not in record
    assert "planes_at_other_thresholds" not in record


def test_planes_of_a_stack_follow_the_one_in_sight_first(plugin: Any, box: Any) -> None:
    data = np.stack([plane(seed) for seed in range(8)])
    review = segment(plugin, data)
    plugin.viewer.dims.set_point(0, 5)
    shown: list[list[int]] = []

    def note() -> None:
        record = review.layer.metadata["napari-sam-amg"]
        left = {tuple(index) for index in record.get("planes_at_other_thresholds", [])}
        shown.append([at for at in range(8) if (at,) not in left])
        assert_table_agrees(review)

    box.form.iou.slider.setValue(870)
    review.refilter.progressed.connect(note)
    settle(plugin, review)
    assert shown[0] == [5]
    assert shown[-1] == list(range(8))
    assert_as_fresh(review, fresh_run(data, review.params))
    assert "planes follow" not in box.summary.text()


@pytest.mark.parametrize(("link", "letter"), [("through z", "z"), ("through time", "t")])
def test_linked_objects_are_linked_again(plugin: Any, box: Any, link: str, letter: str) -> None:
    data = growing(7)
    review = segment(plugin, data, link, axis_labels=(letter, "y", "x"))
    before, table = review.layer.data.copy(), review.layer.features.copy()
    tracks = plugin.viewer.layers[-1] if letter == "t" else None
    for value in (0.82, 0.66, 0.75):
        box.form.iou.field.setValue(value)
        settle(plugin, review)
        fresh = fresh_run(data, review.params, axes=(letter,))
        assert_as_fresh(review, fresh)
        assert {*np.unique(review.layer.data)} - {0} == {*review.table["index"]}
        objects = pd.concat([result.objects for result in fresh.values()])
        names = [name for name in objects.columns if name not in ("index", "parent")]
        ours, theirs = (one.sort_values(names)[names].to_numpy(float) for one in (review.table, objects))
        np.testing.assert_array_equal(ours, theirs)
        if tracks is not None:
            assert {*tracks.data[:, 0].astype(int)} == {*review.table["index"]}
    np.testing.assert_array_equal(review.layer.data, before)
    assert review.layer.features.equals(table)
    assert not plugin.messages


def test_linked_objects_of_large_stacks_are_shown_after_several_turns(
    plugin: Any, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is changed before the last one, in which labels and table change together."""
    monkeypatch.setattr(refilter, "TURN", 0)
    data = growing(7)
    review = segment(plugin, data, "through z", axis_labels=("z", "y", "x"))
    shown = [review.layer.data.copy()]
    review.refilter.progressed.connect(lambda: shown.append(review.layer.data.copy()))
    between, goes_on = [], review.refilter._goes_on  # seen at every turn: a look now and then may miss them all

    def watched() -> bool:
        is_more = goes_on()
        if is_more:
            between.append(review.layer.data.copy())
        return is_more

    monkeypatch.setattr(review.refilter, "_goes_on", watched)
    box.form.iou.field.setValue(0.82)
    settle(plugin, review)
    assert between
    for data_then in between:
        np.testing.assert_array_equal(data_then, shown[0])
    np.testing.assert_array_equal(shown[1], review.layer.data)
    assert_as_fresh(review, fresh_run(data, review.params, axes=("z",)))


def test_who_moves_on_gets_the_latest(plugin: Any, box: Any) -> None:
    data = np.stack([plane(seed) for seed in range(6)])
    review = segment(plugin, data)
    for step in (950, 900, 0, 700, 850):
        box.form.iou.slider.setValue(step)
        plugin.qtbot.wait(15)
    settle(plugin, review)
    assert review.params.pred_iou_thresh == box.form.iou.value
    assert_as_fresh(review, fresh_run(data, review.params))
    assert_table_agrees(review)


def test_another_plane_that_comes_into_sight_is_next(plugin: Any, box: Any) -> None:
    from napari_sam_amg.plugin.reviewing.refilter import Order

    order = Order([(at,) for at in range(5)], (3,))
    assert order.take() == (3,)
    assert order.take() == (0,)
    order.first = (4,)
    assert order.take() == (4,)
    order.first = None
    assert [order.take(), order.take(), order.take()] == [(1,), (2,), None]
    order = Order([(0,)], None)
    order.is_over = True
    assert order.take() is None


def test_planes_done_before_cancel_can_be_moved(plugin: Any, box: Any, model: Any) -> None:
    data = np.stack([plane(seed) for seed in range(4)])
    plugin.viewer.add_image(data)
    plugin.widget.image_box.planes.setCurrentText("All planes")
    plugin.click_run_and_hold(model, 9)  # batches: in the third plane
    plugin.qtbot.waitUntil(lambda: plugin.widget.runner.layer is not None, timeout=TIMEOUT)
    assert "when the run is over" in box.summary.text()
    plugin.widget.cancel_button.click()
    model.release.set()
    plugin.wait()
    review = reviewed(plugin.viewer.layers[-1])
    done = sorted(review.kept.indices)
    assert len(done) == 2
    box.form.iou.slider.setValue(870)
    settle(plugin, review)
    fresh = fresh_run(data, review.params)
    assert_as_fresh(review, {index: fresh[index] for index in done})
    assert sum(bool(labels.any()) for labels in review.layer.data) == 2
    assert_table_agrees(review)


def test_thresholds_that_a_run_overtakes_follow_when_it_is_over(
    plugin: Any, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on with the planes of the layer."""
    work, review = HeldWork(), segment(plugin, plane(6))
    work.replace(monkeypatch, filtered, "_planes")
    box.form.iou.field.setValue(0.9)
    plugin.qtbot.waitUntil(lambda: work.begun == 1, timeout=TIMEOUT)
    review.is_running = True
    work.may_go_on.set()
    plugin.qtbot.waitUntil(lambda: review.refilter.is_idle, timeout=TIMEOUT)
    assert review.refilter.waiting == 1
    assert not box.message.text()
    review.is_running = False
    review.ended.emit()
    settle(plugin, review)
    assert_as_fresh(review, fresh_run(plane(6), review.params))


def test_a_layer_that_is_removed_meanwhile(plugin: Any, box: Any) -> None:
    """Nothing is told, and its candidates are not held."""
    data = np.stack([plane(seed) for seed in range(8)])
    review = segment(plugin, data)
    box.form.iou.slider.setValue(870)
    plugin.viewer.layers.remove(review.layer)
    assert box.summary.text() == "Choose a layer of results."
    assert not box.controls.isVisible()
    plugin.qtbot.waitUntil(lambda: review.refilter.is_idle, timeout=TIMEOUT)
    assert box._heard is None
    assert not plugin.messages


def test_a_layer_that_comes_back_follows_on(plugin: Any, box: Any) -> None:
    data = np.stack([plane(seed) for seed in range(8)])
    review = segment(plugin, data)
    layer = review.layer
    box.form.iou.slider.setValue(870)
    plugin.viewer.layers.remove(layer)
    plugin.qtbot.waitUntil(lambda: review.refilter.is_idle, timeout=TIMEOUT)
    assert review.refilter.waiting
    plugin.viewer.layers.append(layer)
    settle(plugin, review)
    assert_as_fresh(review, fresh_run(data, review.params))


def test_a_window_that_is_closed_meanwhile(plugin: Any, box: Any) -> None:
    review = segment(plugin, np.stack([plane(seed) for seed in range(8)]))
    box.form.iou.slider.setValue(870)
    plugin.viewer.close()
    plugin.qtbot.waitUntil(lambda: review.refilter.is_idle, timeout=TIMEOUT)


def test_two_layers_each_have_their_own(plugin: Any, box: Any) -> None:
    first = segment(plugin, plane(6))
    plugin.viewer.layers.selection.active = plugin.viewer.layers[0]
    second = segment(plugin, plane(7))
    box.form.iou.slider.setValue(870)
    moved = box.form.iou.value
    plugin.viewer.layers.selection.active = first.layer
    assert box.form.iou.value == 0.75
    settle(plugin, second)
    assert first.params.pred_iou_thresh == 0.75
    plugin.viewer.layers.selection.active = second.layer
    assert box.form.iou.value == moved
    assert second.params.pred_iou_thresh == moved


def test_what_was_done_by_hand_stays_on_top(plugin: Any, box: Any) -> None:
    from napari_sam_amg.review.edits import HandEdits, Patch

    review = segment(plugin, plane(8))
    before = review.layer.data.copy()
    after = before.copy()
    after[40:50, 40:50] = 900
    review.edits = HandEdits()
    review.edits.draw([Patch.of((), before, after)], new=[900])
    box.form.iou.slider.setValue(870)
    settle(plugin, review)
    assert (review.layer.data[40:50, 40:50] == 900).all()
    assert len(np.unique(review.layer.data)) < len(np.unique(after))


def test_layers_without_candidates_say_why(plugin: Any, box: Any) -> None:
    metadata = {"napari-sam-amg": {"started": "2026"}}
    plugin.viewer.add_layer(Labels(np.zeros((20, 20), np.int32), metadata=metadata))
    assert box.summary.text() == (
        "What the model proposed is not there, as of results from a file or of a copy of the layer: run again to move "
        "thresholds."
    )
    assert not box.controls.isVisible()


@pytest.mark.parametrize(
    ("locale", "text"), [("de_DE", "0,655"), ("de_DE", "0.655"), ("en_US", "0.655"), ("en_US", "0,655")]
)
def test_numbers_are_typed_with_either_sign(qtbot: Any, locale: str, text: str) -> None:
    from napari_sam_amg.plugin.reviewing.threshold_rows import ThresholdRow

    row = ThresholdRow("Predicted IoU", "help")
    qtbot.addWidget(row)
    row.field.setLocale(QLocale(locale))
    row.allow(0.25, 1)
    row.set(0.5)
    assert row.field.text() == ("0,500" if locale == "de_DE" else "0.500")
    with qtbot.waitSignal(row.moved):
        row.field.selectAll()
        qtbot.keyClicks(row.field, text)
        qtbot.keyClick(row.field, "\r")
    assert row.value == 0.655
    assert row.slider.value() == round(1000 * (0.655 - 0.25) / 0.75)


def test_an_area_typed_beyond_the_other_bound_takes_it_along(plugin: Any, box: Any) -> None:
    review = segment(plugin, plane(5))
    area = box.form.area
    area.most.setValue(300)
    area.least.setValue(500)
    assert area.value == (500, 500)
    area.most.setValue(100)
    assert area.value == (100, 100)
    settle(plugin, review)
    assert (review.params.min_area, review.params.max_area) == (100, 100)
    area.most.setValue(0)  # any
    area.least.setValue(50)
    assert area.value == (50, 0)
    settle(plugin, review)
    assert_as_fresh(review, fresh_run(plane(5), review.params))
