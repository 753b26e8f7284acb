"""Whatever is done in whatever order: after each act labels and table agree, and nothing has failed.

``NAPARI_SAM_AMG_STRESS=20`` tries as many seeds, each with ten times as many acts.
"""

import os
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.layers._layer_actions import _convert_to_image, _duplicate_layer

from napari_sam_amg.plugin.reviewing.results import is_result
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.reviewing.worked_layers import worked_layer
from tests.plugin.conftest import TIMEOUT
from tests.plugin.graded_model import plane
from tests.plugin.reviewing.agreement import agree
from tests.plugin.reviewing.thresholds.moving import segment

TIMES = int(os.environ.get("NAPARI_SAM_AMG_STRESS", "0"))
ACTS = 400 if TIMES else 40
SHAPE = (3, 96, 112)


def is_settled(viewer: Any, layer: Labels) -> bool:
    worked = worked_layer(viewer, layer)
    edits, refilter = worked.edits, reviewed(layer).refilter
    survey = edits._survey._is_busy or edits._survey._timer.isActive()
    moves = refilter is not None and not (refilter.is_idle and refilter.waiting == 0)
    return not (edits.is_waiting or worked.actions.is_busy or survey or moves)


class Hand:
    """Does things at random, as far as they can be done now."""

    def __init__(self, plugin: Any, thresholds: Any, seed: int) -> None:
        self.plugin, self.viewer, self.thresholds = plugin, plugin.viewer, thresholds
        self.random, self.done = np.random.default_rng(seed), list[str]()
        self.away: list[Labels] = []  # layers that were removed

    @property
    def layers(self) -> list[Labels]:
        return [layer for layer in self.viewer.layers if is_result(layer)]

    def act(self) -> None:
        names = [name for name in dir(self) if name.startswith("do_")]
        name = str(self.random.choice(names))
        layer = self.layers[self.random.integers(len(self.layers))] if self.layers else None
        self.done.append(name)
        if layer is not None or name == "do_bring_back":
            getattr(self, name)(layer)

    def settle(self) -> None:
        self.plugin.qtbot.wait(20)
        seen = [layer for layer in self.layers if layer.visible]
        self.plugin.qtbot.waitUntil(lambda: all(is_settled(self.viewer, one) for one in seen), timeout=TIMEOUT)
        self.plugin.qtbot.wait(20)

    def check(self) -> None:
        for layer in self.layers:
            agree(layer)
        problems = [message.message for message in self.plugin.messages if message.severity > "info"]
        assert not problems

    def place(self, layer: Labels) -> tuple[int, ...]:
        return tuple(int(self.random.integers(length)) for length in layer.data.shape)

    def label(self, layer: Labels) -> int:
        """Of the background, an object, one that is hidden or was deleted, or a new one."""
        ids = sorted(worked_layer(self.viewer, layer).objects.ids())
        highest = max(ids, default=0) + 3
        known = int(self.random.choice(ids)) if ids else 1
        return int(self.random.choice([0, known, self.random.integers(1, highest), highest]))

    def chosen(self, layer: Labels) -> list[int]:
        ids = sorted(worked_layer(self.viewer, layer).objects.ids())
        return [int(label) for label in self.random.choice(ids, min(len(ids), 3), replace=False)] if ids else []

    def do_paint(self, layer: Labels) -> None:
        layer.brush_size = int(self.random.integers(1, 20))
        layer.preserve_labels = bool(self.random.random() < 0.3)
        layer.n_edit_dimensions = int(self.random.integers(2, layer.ndim + 1))
        for _ in range(int(self.random.integers(1, 4))):
            layer.paint(self.place(layer), self.label(layer))

    do_paint_more = do_paint

    def do_stroke(self, layer: Labels) -> None:
        """Thresholds move while the button is down."""
        layer.n_edit_dimensions = 2
        layer._block_history = True
        layer.paint(self.place(layer), self.label(layer), refresh=False)
        self.do_move(layer)
        self.settle()
        layer.paint(self.place(layer), self.label(layer))
        layer._block_history = False
        layer._commit_staged_history()

    def do_fill(self, layer: Labels) -> None:
        layer.n_edit_dimensions = 2
        layer.contiguous = bool(self.random.random() < 0.5)
        layer.fill(self.place(layer), self.label(layer))

    def do_polygon(self, layer: Labels) -> None:
        if self.viewer.dims.ndisplay != 2:
            return
        layer.n_edit_dimensions = 2
        corners = np.array([self.place(layer) for _ in range(4)], float)
        corners[:, 0] = self.viewer.dims.current_step[0]
        layer.paint_polygon(corners.tolist(), self.label(layer))

    def do_set_pixels(self, layer: Labels) -> None:
        places = np.array([self.place(layer) for _ in range(5)])
        layer.data_setitem(tuple(places.T), self.label(layer))

    def do_script(self, layer: Labels) -> None:
        """Without telling anybody."""
        z, y, x = self.place(layer)
        layer.data[z, y : y + 9, x : x + 9] = self.label(layer)
        layer.refresh()

    def do_naparis_undo(self, layer: Labels) -> None:
        layer.undo()

    def do_naparis_redo(self, layer: Labels) -> None:
        layer.redo()

    def do_undo(self, layer: Labels) -> None:
        worked_layer(self.viewer, layer).actions.undo()

    do_undo_more = do_undo

    def do_redo(self, layer: Labels) -> None:
        worked_layer(self.viewer, layer).actions.redo()

    def do_delete(self, layer: Labels) -> None:
        worked_layer(self.viewer, layer).actions.delete(self.chosen(layer))

    def do_merge(self, layer: Labels) -> None:
        if len(chosen := self.chosen(layer)) > 1:
            worked_layer(self.viewer, layer).actions.merge(chosen)

    def do_move(self, layer: Labels) -> None:
        self.viewer.layers.selection.active = layer
        if self.thresholds.refilter is not None:
            self.thresholds.form.iou.field.setValue(float(self.random.choice([0.6, 0.75, 0.85, 0.9])))

    do_move_more = do_move

    def do_move_area(self, layer: Labels) -> None:
        self.viewer.layers.selection.active = layer
        if self.thresholds.refilter is not None:
            self.thresholds.form.area.least.setValue(float(self.random.choice([0, 40, 100])))

    def do_go(self, layer: Labels) -> None:
        self.viewer.dims.set_point(0, int(self.random.integers(SHAPE[0])))

    def do_turn(self, layer: Labels) -> None:
        self.viewer.dims.ndisplay = 5 - self.viewer.dims.ndisplay

    def do_contour(self, layer: Labels) -> None:
        layer.contour = 0 if layer.contour else 1

    def do_rename(self, layer: Labels) -> None:
        layer.name = f"named {len(self.done)}"

    def do_replace(self, layer: Labels) -> None:
        kind = [np.int32, np.int64, np.uint16][self.random.integers(3)]
        other = layer.data.astype(kind)
        other[other == self.label(layer)] = 0
        layer.data = other

    def do_remove(self, layer: Labels) -> None:
        if self.random.random() < 0.5:
            self.do_move(layer)
        if len(self.layers) > 1 or self.random.random() < 0.5:
            self.viewer.layers.remove(layer)
            self.away.append(layer)

    def do_bring_back(self, _: Any) -> None:
        if self.away:
            self.viewer.layers.append(self.away.pop())

    do_bring_back_more = do_bring_back

    def do_duplicate(self, layer: Labels) -> None:
        if len(self.layers) < 3:
            self.viewer.layers.selection = {layer}
            _duplicate_layer(self.viewer.layers)

    def do_convert(self, layer: Labels) -> None:
        """Into an image, which is not a result any more."""
        if len(self.layers) > 1:
            self.viewer.layers.selection = {layer}
            _convert_to_image(self.viewer.layers)


@pytest.mark.parametrize("seed", range(TIMES or 2))
def test_labels_and_table_agree_whatever_is_done(plugin: Any, box: Any, seed: int) -> None:
    review = segment(plugin, np.stack([plane(seed + at, SHAPE[1:]) for at in range(SHAPE[0])]))
    assert reviewed(review.layer).refilter is not None
    hand = Hand(plugin, box, seed)
    for _ in range(ACTS):
        try:
            hand.act()
            hand.settle()
            hand.check()
        except Exception as error:
            raise AssertionError(f"seed {seed}, after {hand.done[-12:]}") from error
