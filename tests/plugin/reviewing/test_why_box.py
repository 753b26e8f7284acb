"""Why is nothing here? By the mouse on the canvas, and the buttons of the box."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QScrollArea

from napari_sam_amg.plugin.reviewing import why_box
from napari_sam_amg.plugin.reviewing.results import METADATA_KEY
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.reviewing.why_work import all_outlines
from napari_sam_amg.plugin.reviewing.worked_layers import worked_layer
from tests.disc_model import disc_image
from tests.plugin.turns import Turns

CENTRES = [(15, 15), (15, 50), (45, 30)]
PLANES = [[(15, 15)], [(15, 50), (45, 30)], [(40, 60)]]
TIMEOUT = 30_000


@dataclass
class Box:
    """The box of a plugin in the tab of results, used by hand."""

    plugin: Any

    @property
    def box(self) -> Any:
        return self.plugin.docked.why_box

    @property
    def viewer(self) -> Any:
        return self.plugin.viewer

    @property
    def answer(self) -> str:
        return str(self.box.answer.text())

    @property
    def problem(self) -> str:
        return str(self.box.message.text()) if not self.box.message.isHidden() else ""

    def show_tab(self) -> None:
        self.plugin.docked.tabs.setCurrentWidget(self.plugin.docked.results_tab)
        self.plugin.qtbot.wait(50)

    def until(self, holds: Any) -> None:
        self.plugin.qtbot.waitUntil(holds, timeout=TIMEOUT)

    def click(self, world: Any, dragged_by: int = 0) -> None:
        """With the mouse on the canvas, where a place of the world is seen."""
        canvas = self.viewer.window._qt_viewer.canvas.native
        camera = getattr(self.viewer, "scene", self.viewer).camera
        shown = np.asarray(world, float)[list(self.viewer.dims.displayed)][-2:]
        middle = np.array([canvas.height(), canvas.width()]) / 2
        down, right = np.round((shown - np.array(camera.center[-2:])) * camera.zoom + middle).astype(int).tolist()
        place = QPoint(right, down)
        self.plugin.qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=place)
        if dragged_by:
            place = QPoint(right + dragged_by, down)
            self.plugin.qtbot.mouseMove(canvas, place)
        self.plugin.qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=place)

    def look_at(self, layer: Any, *position: float) -> str:
        """Click on a pixel of a layer; what is said of it."""
        self.click(layer.data_to_world(position))
        self.until(lambda: not self.answer.endswith("..."))
        return self.answer

    def press(self, button: str) -> None:
        """A button, until what it does is done."""
        getattr(self.box, f"{button}_button").click()
        self.until(lambda: self.box._asking is None)

    def layer_called(self, words: str) -> Any:
        self.until(lambda: any(words in layer.name for layer in self.viewer.layers))
        self.plugin.qtbot.wait(100)
        (layer,) = [layer for layer in self.viewer.layers if words in layer.name]
        return layer


@pytest.fixture
def why(plugin: Any) -> Box:
    plugin.choose(pred_iou_thresh=0.65, stability_score_thresh=0.5, points_per_side=8)
    return Box(plugin)


def segment(why: Box, image: Any, all_planes: bool = False, **options: Any) -> Any:
    why.viewer.add_image(image, name="cells", **options)
    if all_planes:
        why.plugin.widget.image_box.planes.setCurrentText("All planes")
    layer = why.plugin.run()
    why.show_tab()
    why.box.pick_button.click()
    return layer


def test_a_click_says_what_was_proposed_there_and_what_became_of_it(why: Box) -> None:
    layer = segment(why, disc_image(CENTRES))
    said = why.look_at(layer, 15, 50)
    label = int(layer.data[15, 50])
    assert said.startswith(f"<b>Row 15, column 50: label {label}.</b>")
    row = layer.features.loc[label]
    assert (
        f"{row['predicted_iou']:.2f} / {row['stability_score']:.2f}, {int(row['mask_area'])} px: label {label}" in said
    )
    assert "0.70 / " in said  # the smaller mask of the same disc, a double
    assert f": a double of label {label}</li>" in said
    assert "0.60 / " in said  # below the run's threshold, kept down to .2 below
    assert "predicted IoU 0.60 is not above 0.65" in said
    said = why.look_at(layer, 60, 75)
    assert "no label" in said
    floor = reviewed(layer).kept.floor
    assert f"No mask here has a predicted IoU above {floor.pred_iou_thresh:g} and a stability of" in said
    assert "The nearest point that was asked is 1 px away." in said  # of a grid of 8 x 10 px
    assert (layer.data > 0).any()


def test_what_is_said_is_seen_without_scrolling(why: Box) -> None:
    why.viewer.window._qt_window.resize(1280, 800)
    layer = segment(why, disc_image(CENTRES))
    tab = why.plugin.docked.results_tab
    fields = tab.findChild(QScrollArea)
    for place in ((15, 50), (60, 75)):
        fields.verticalScrollBar().setValue(0)
        why.look_at(layer, *place)
        why.until(lambda: not why.box.answer.visibleRegion().isEmpty())
        why.plugin.qtbot.wait(100)
        assert why.box.answer.visibleRegion().boundingRect() == why.box.answer.rect()


def test_a_drag_moves_the_view_and_without_the_button_nothing_is_said(why: Box) -> None:
    layer = segment(why, disc_image(CENTRES))
    why.click(layer.data_to_world((15, 50)), dragged_by=40)
    assert why.answer == "Click on a place in the image."
    why.box.pick_button.click()
    why.click(layer.data_to_world((15, 50)))
    assert why.answer == ""
    why.box.pick_button.click()
    why.plugin.docked.tabs.setCurrentIndex(0)  # who leaves the tab clicks for other reasons
    assert not why.box.pick_button.isChecked()
    why.click(layer.data_to_world((15, 50)))
    assert why.answer == ""


def test_while_it_is_on_a_click_paints_nothing(why: Box) -> None:
    layer = segment(why, disc_image(CENTRES))
    why.box.pick_button.click()
    why.viewer.layers.selection.active = layer
    layer.mode, before = "erase", layer.data.copy()
    why.box.pick_button.click()
    why.look_at(layer, 15, 50)
    np.testing.assert_array_equal(layer.data, before)


TURNED = {"scale": (3, 0.5, 0.25), "translate": (5, -7, 9), "rotate": [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]}


@pytest.mark.parametrize("options", [{}, TURNED | {"units": ("um",) * 3}])
def test_in_a_stack_the_plane_in_sight_is_meant(why: Box, options: dict[str, Any]) -> None:
    stack = np.stack([disc_image(centres) for centres in PLANES])
    layer = segment(why, stack, all_planes=True, **options)
    for plane, y, x in ((1, 45, 30), (2, 40, 60), (0, 45, 30)):
        why.viewer.dims.set_current_step(0, plane)
        said = why.look_at(layer, plane, y, x)
        label = int(layer.data[plane, y, x])
        assert said.startswith(f"<b>Row {y}, column {x} of plane {plane}: {f'label {label}' if label else 'no label'}")
        assert (f": label {label}</li>" in said) == bool(label)
    why.look_at(layer, 0, -5, 10)
    assert why.problem == "This place is not in the image of these results."
    why.viewer.dims.ndisplay = 3
    why.click(layer.data_to_world((0, 15, 15)))
    assert why.problem == "Show the image in 2D to click on a place."


def test_one_plane_of_a_stack_is_no_other(why: Box) -> None:
    why.viewer.add_image(np.stack([disc_image(centres) for centres in PLANES]), name="cells")
    why.viewer.dims.set_current_step(0, 1)
    layer = why.plugin.run()
    why.show_tab()
    why.box.pick_button.click()
    assert f"label {layer.data[1, 45, 30]}" in why.look_at(layer, 1, 45, 30)
    why.viewer.dims.set_current_step(0, 2)
    assert why.look_at(layer, 2, 40, 60).endswith("no label.</b><br>This plane was not segmented.")
    why.press("masks")
    why.until(lambda: why.problem == "This plane was not segmented.")


def test_a_point_is_asked_where_there_is_nothing_and_becomes_an_object(why: Box) -> None:
    """A disc that the grid has missed."""
    image = disc_image(CENTRES)
    image[58:62, 71:74] = 200  # between the points of the grid
    layer = segment(why, image)
    before, rows = layer.data.copy(), len(layer.features)
    assert "no label" in why.look_at(layer, 60, 72)
    why.press("ask")
    new = int(layer.data[60, 72])
    assert new == before.max() + 1
    assert why.answer.startswith(f"Added as label {new}: predicted IoU 0.95, stability ")
    np.testing.assert_array_equal(np.where(layer.data == new, 0, layer.data), before)
    assert len(layer.features) == rows + 1
    row = layer.features.loc[new]
    assert (row["point_y"], row["point_x"]) == (60.5, 72.5)
    assert row["predicted_iou"] == pytest.approx(0.95)
    assert row["area"] == (layer.data == new).sum()
    assert layer.selected_label == new
    assert why.look_at(layer, 60, 72).startswith(f"<b>Row 60, column 72: label {new}")
    thresholds = why.plugin.docked.thresholds_box
    shown = layer.data.copy()
    why.plugin.docked.objects_box.undo_button.click()
    why.until(lambda: layer.data[60, 72] == 0)
    np.testing.assert_array_equal(layer.data, before)
    why.until(lambda: new not in set(layer.features["index"]) or layer.features.loc[new].drop("index").isna().all())
    why.plugin.docked.objects_box.redo_button.click()
    why.until(lambda: layer.data[60, 72] == new)
    np.testing.assert_array_equal(layer.data, shown)
    thresholds.reset()  # to other thresholds, and what was asked for stays
    why.until(lambda: reviewed(layer).refilter.is_idle)
    assert layer.data[60, 72] == new


def test_asking_where_an_object_is_adds_nothing_and_says_so(why: Box) -> None:
    layer = segment(why, disc_image(CENTRES))
    before, table = layer.data.copy(), layer.features.copy()
    why.look_at(layer, 15, 50)
    why.press("ask")
    label = int(layer.data[15, 50])
    assert why.problem.startswith(f"what the model draws here is label {label} already: 0% of it is free".capitalize())
    assert why.problem.endswith("Nothing was added.")
    why.look_at(layer, 60, 76)
    why.press("ask")
    assert why.problem == "The model draws nothing at this place. Nothing was added."
    np.testing.assert_array_equal(layer.data, before)
    assert layer.features.equals(table)


def test_a_question_waits_for_a_run_and_can_be_taken_back(why: Box, model: Any) -> None:
    layer = segment(why, disc_image(CENTRES))
    why.look_at(layer, 60, 76)
    asked = model.decoded
    model.hold_after = model.batches
    why.plugin.click_run()
    why.until(lambda: model.batches == model.hold_after + 1)
    why.box.ask_button.click()
    assert why.box.ask_button.text() == "Cancel"
    why.box.ask_button.click()
    why.until(lambda: why.box._asking is None)
    assert not why.problem
    assert model.decoded == asked
    model.hold_after = None
    model.release.set()
    why.plugin.wait()


def test_the_image_that_the_model_sees_lies_where_the_image_is(why: Box) -> None:
    stack = np.stack([disc_image(centres) for centres in PLANES]).astype(np.uint16) * 20
    layer = segment(why, stack, all_planes=True, **TURNED)
    why.viewer.dims.set_current_step(0, 1)
    why.press("seen")
    seen = why.layer_called("what the model sees")
    assert seen.name == "cells: what the model sees"
    assert (seen.data.shape, seen.data.dtype) == ((1, 64, 80), np.uint8)
    np.testing.assert_array_equal(seen.data[0], reviewed(layer).kept.candidates((1,)).image[..., 0])
    np.testing.assert_allclose(seen.data_to_world((0, 4, 5)), layer.data_to_world((1, 4, 5)))
    layers = list(why.viewer.layers)
    assert layers.index(seen) < layers.index(layer)
    why.viewer.dims.set_current_step(0, 2)
    why.press("seen")
    why.until(lambda: seen not in why.viewer.layers)
    again = why.layer_called("what the model sees")  # one of them
    np.testing.assert_allclose(again.data_to_world((0, 4, 5)), layer.data_to_world((2, 4, 5)))


def test_colours_are_seen_as_colours(why: Box) -> None:
    image = np.zeros((64, 80, 3), np.uint8)
    image[..., 0] = disc_image(CENTRES)
    segment(why, image)
    why.press("seen")
    seen = why.layer_called("what the model sees")
    assert seen.rgb
    assert seen.data.shape == (64, 80, 3)
    assert (seen.data[15, 50] > 0).tolist() == [True, False, False]


def test_saved_results_find_their_image_by_its_name(why: Box) -> None:
    layer = segment(why, disc_image(CENTRES))
    record = layer.metadata[METADATA_KEY]
    opened = why.viewer.add_labels(layer.data.copy(), metadata={METADATA_KEY: record}, features=layer.features)
    why.viewer.layers.selection.active = opened
    assert "it is kept with results until napari is closed" in why.look_at(opened, 60, 76)
    why.press("masks")
    assert "until napari is closed" in why.problem
    why.press("seen")
    assert why.layer_called("what the model sees").data.max() == 255
    why.look_at(opened, 60, 76)
    why.press("ask")
    assert why.problem == "The model draws nothing at this place. Nothing was added."
    why.viewer.layers.remove("cells")
    why.press("ask")
    assert why.problem == "The image 'cells' of these results is not open."


def test_all_masks_are_outlines_and_those_without_a_label_say_why(why: Box) -> None:
    why.plugin.choose(box_nms_thresh=1.0)  # doubles are left to overlaps
    stack = np.stack([disc_image(centres) for centres in PLANES])
    layer = segment(why, stack, all_planes=True, **TURNED)
    why.viewer.dims.set_current_step(0, 1)
    plane = reviewed(layer).kept.plane((1,), reviewed(layer).params)
    why.press("masks")
    outlines = why.layer_called("all masks")
    hidden = len(plane.masks) - 2
    assert hidden > 0
    assert why.answer == (
        f"{len(plane.masks)} masks before overlaps were resolved, {hidden} of them without a label (orange)."
    )
    assert outlines.nshapes == len(plane.masks)
    table = outlines.features
    assert sorted(table["label"])[-2:] == sorted(plane.features["index"])
    assert all("of it free" in words for words in table.loc[table["label"] == 0, "why"])
    colours = {tuple(colour) for colour in outlines.edge_color[(table["label"] == 0).to_numpy()]}
    assert len(colours) == 1
    assert not colours & {tuple(colour) for colour in outlines.edge_color[(table["label"] > 0).to_numpy()]}
    for corners in outlines.data:
        assert (corners[:, 0] == 1).all()
        middle = corners[:, 1:].mean(axis=0).round().astype(int)
        assert layer.data[(1, *middle)] > 0
    np.testing.assert_allclose(outlines.data_to_world((1, 4, 5)), layer.data_to_world((1, 4, 5)))


def test_the_masks_that_were_asked_for_last_are_shown(why: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another plane are late."""
    segment(why, np.stack([disc_image(centres) for centres in PLANES]), all_planes=True)
    may_end, ended = threading.Event(), list[int]()

    def late(asked: Any) -> Any:
        found = all_outlines(asked)
        assert asked.index == (1,) or may_end.wait(30)
        ended.append(asked.index[0])
        return found

    monkeypatch.setattr(why_box, "all_outlines", late)
    for z in (0, 1):
        why.viewer.dims.set_current_step(0, z)
        why.box.masks_button.click()
    why.layer_called("all masks")
    said = why.answer
    may_end.set()
    why.until(lambda: ended == [1, 0])
    why.plugin.qtbot.wait(100)
    assert {corners[0, 0] for corners in why.layer_called("all masks").data} == {1}
    assert why.answer == said


def test_who_has_gone_on_to_another_layer_stays_there(why: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    first = segment(why, disc_image(CENTRES))
    may_end = threading.Event()

    def late(asked: Any) -> Any:
        assert may_end.wait(30)
        return all_outlines(asked)

    monkeypatch.setattr(why_box, "all_outlines", late)
    why.box.masks_button.click()
    why.viewer.layers.selection = {first}
    _duplicate_layer(why.viewer.layers)
    other = why.viewer.layers[-1]
    why.viewer.layers.selection.active = other
    said = why.answer
    may_end.set()
    assert why.layer_called("all masks").ndim == 2
    assert why.viewer.layers.selection.active is other
    assert why.answer == said


def test_what_was_changed_just_now_is_a_step_of_its_own(why: Box) -> None:
    """By a script, in the turn in which the model answers."""
    image = disc_image(CENTRES)
    image[58:62, 71:74] = 200  # between the points of the grid
    layer = segment(why, image)
    why.look_at(layer, 60, 72)
    take = why.box._take

    def change_and_take(*of: Any) -> None:
        layer.data[:4, :4] = 77
        layer.refresh()
        take(*of)

    why.box._take = change_and_take
    why.press("ask")
    why.plugin.qtbot.wait(50)
    hand = worked_layer(why.viewer, layer).edits.hand
    assert [step.words.split()[0] for step in hand._steps] == ["change", "ask"]
    assert 77 in layer.features.dropna(subset="area")["index"].tolist()


def test_layers_that_go_and_windows_that_close_break_nothing(why: Box) -> None:
    layer = segment(why, disc_image(CENTRES))
    why.look_at(layer, 60, 76)
    for button in (why.box.seen_button, why.box.masks_button, why.box.ask_button):
        button.click()
    why.viewer.layers.remove(layer)
    why.until(lambda: why.box._asking is None)
    why.plugin.qtbot.wait(300)
    assert not why.box.seen_button.isEnabled()
    why.click((15, 50))
    assert why.answer == ""
    assert not why.plugin.messages


def test_the_window_goes_on_while_a_place_is_looked_up(why: Box) -> None:
    rng = np.random.default_rng(1)
    places = rng.integers(10, 502, (120, 2))
    why.plugin.choose(points_per_side=32)
    layer = segment(why, disc_image([tuple(place) for place in places], radius=6, shape=(512, 512)))
    turns = Turns(why.viewer)
    why.look_at(layer, 256, 256)
    rest, _ = turns.stop()
    assert rest.cpu < 0.1, str(rest)
