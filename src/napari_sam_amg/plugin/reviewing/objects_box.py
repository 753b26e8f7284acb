"""What can be done with the objects of results: found, looked at, deleted, merged, measured."""

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_sam_amg.plugin.choices.problems import RED
from napari_sam_amg.plugin.preferences import remember_columns, remembered_columns
from napari_sam_amg.plugin.reviewing.features_table import open_table, row_tables
from napari_sam_amg.plugin.reviewing.layer_objects import LayerObjects
from napari_sam_amg.plugin.reviewing.measuring import Asked
from napari_sam_amg.plugin.reviewing.object_actions import ON_DISK, RUNNING
from napari_sam_amg.plugin.reviewing.object_controls import ObjectControls
from napari_sam_amg.plugin.reviewing.object_keys import offer_object_keys
from napari_sam_amg.plugin.reviewing.outline import Outline
from napari_sam_amg.plugin.reviewing.results import go_to, is_result
from napari_sam_amg.plugin.reviewing.results_tab import ResultsTab
from napari_sam_amg.plugin.reviewing.reviewed import ReviewedLayer, reviewed
from napari_sam_amg.plugin.reviewing.worked_layers import WorkedLayer, worked_layer
from napari_sam_amg.plugin.window import is_open, without_proxy

TYPED = 300  # ms after the last key, when the filter is tried
MOST_NAMED = 8  # ids that are named one by one
MEASURING = "Measuring..."
CHOOSE = "Click objects in the image (with Shift more than one), or rows of the table."


class ObjectsBox(ObjectControls):
    """Follows the result layer in focus."""

    def __init__(self, viewer: Viewer, tab: ResultsTab) -> None:
        super().__init__()
        self.viewer = self._viewer = without_proxy(viewer)
        self._worked: WorkedLayer | None = None
        self._outline: Outline | None = None
        self._asked = Asked.read(remembered_columns())  # for the next results, too
        self._timer = QTimer(self)
        self._connect(tab)
        offer_object_keys(self)
        for layer in self._viewer.layers:
            self._follow_layer(layer)
        self.follow(None if tab.layer is None else reviewed(tab.layer))

    def _connect(self, tab: ResultsTab) -> None:
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look_for)
        self.filter.textEdited.connect(lambda _: self._timer.start(TYPED))
        self.filter.textChanged.connect(lambda text: None if text else self._timer.start(0))
        self.filter.returnPressed.connect(self._look_for)
        self.alone.toggled.connect(self._with(lambda worked, on: worked.objects.show_alone(on)))
        self.choose_button.clicked.connect(self._choose_matching)
        self.next_button.clicked.connect(lambda: self._step(1))
        self.previous_button.clicked.connect(lambda: self._step(-1))
        self.delete_button.clicked.connect(self._act(lambda worked: worked.actions.delete(worked.objects.chosen)))
        self.keep_button.clicked.connect(self._act(lambda worked: worked.actions.keep(worked.objects.chosen)))
        self.merge_button.clicked.connect(self._act(lambda worked: worked.actions.merge(worked.objects.chosen)))
        self.undo_button.clicked.connect(self._act(lambda worked: worked.actions.undo()))
        self.redo_button.clicked.connect(self._act(lambda worked: worked.actions.redo()))
        self.columns.asked.connect(self._measure)
        self.columns.menu_of_columns.aboutToShow.connect(self._fill_columns)
        self.table_button.clicked.connect(self._show_table)
        self._viewer.layers.events.inserted.connect(lambda event: self._follow_layer(event.value))
        self._viewer.dims.events.connect(lambda _: self._draw_soon())
        self._drawing, self._showing = QTimer(self), QTimer(self)
        for timer, act in ((self._drawing, self._draw), (self._showing, self._show)):
            timer.setSingleShot(True)
            timer.timeout.connect(act)
        tab.focused.connect(self.follow)

    def _with(self, act: Callable[[WorkedLayer, Any], None]) -> Callable[[Any], None]:
        return lambda value: act(self._worked, value) if self._worked is not None else None

    def _act(self, act: Callable[[WorkedLayer], None]) -> Callable[[], None]:
        """A button: what is wrong is said, and not raised."""

        def acting() -> None:
            if self._worked is None:
                return
            try:
                act(self._worked)
            except ValueError as error:
                show_error(str(error))

        return acting

    def _follow_layer(self, layer: Any) -> None:
        """From its first moment on: it can be painted in while others are in focus."""
        if is_result(layer):
            worked_layer(self._viewer, layer)

    @property
    def is_active(self) -> bool:
        """Whether the results in focus are the layer that is worked with."""
        return self.isEnabled() and self._viewer.layers.selection.active is self._layer

    @property
    def _layer(self) -> Labels | None:
        return None if self._worked is None else self._worked.objects.layer

    @property
    def _objects(self) -> LayerObjects | None:
        return None if self._worked is None else self._worked.objects

    def follow(self, review: ReviewedLayer | None) -> None:
        """Other results came into focus."""
        if self._timer.isActive():
            self._look_for()  # what was typed is meant for those that were
        if self._outline is not None:
            self._outline.remove()
            self._outline = None
        if self._worked is not None:
            self._disconnect(self._worked)
        self._worked = None if review is None else worked_layer(self._viewer, review.layer)
        self.setEnabled(review is not None)
        self.told.clear()
        if self._worked is not None:
            self._outline = Outline(self._viewer, self._worked.edits)
            self._listen(self._worked)
            objects = self._worked.objects
            self.filter.setText(objects.text)
            self.alone.setChecked(objects.is_alone)
            self._measure_as_before()
        self._show()

    def _signals(self, worked: WorkedLayer) -> list[tuple[Any, Callable[..., Any]]]:
        layer = worked.objects.layer
        of_layer = [] if layer is None else [layer.events.set_data, layer.events.visible]
        return [
            *((event, self._draw_soon) for event in of_layer),
            (worked.objects.chosen_changed, self._show_chosen),
            (worked.objects.looked_for, self._show_found),
            (worked.edits.changed, self._show_soon),
            (worked.edits.review.changed, self._show_soon),
            (worked.edits.review.ended, self._measure_as_before),
            (worked.edits.review.ended, self._show_soon),
            (worked.actions.busy, self._show),
            (worked.actions.told, self.told.setText),
            (worked.measuring.failed, self.told.setText),
            (worked.measuring.busy, self._show_measuring),
        ]

    def _listen(self, worked: WorkedLayer) -> None:
        for signal, slot in self._signals(worked):
            signal.connect(slot)

    def _disconnect(self, worked: WorkedLayer) -> None:
        for signal, slot in self._signals(worked):
            signal.disconnect(slot)

    def _look_for(self) -> None:
        self._timer.stop()
        if self._worked is not None and self.filter.text().strip() != self._worked.objects.text:
            self._worked.objects.look_for(self.filter.text())

    def _show_found(self) -> None:
        """How many there are, and how many match; napari's table shows the same."""
        worked, layer = self._worked, self._layer
        if worked is None or layer is None:
            self.count.clear()
            return
        objects, total = worked.objects, len(worked.objects.ids())
        found = objects.matching()
        words = f"{total} objects" if total != 1 else "1 object"
        matching = 0 if found is None else int(found.sum())
        self.count.setText(_sentence(objects.problem) or (words if found is None else f"{matching} of {words}"))
        self.count.setStyleSheet(f"color: {RED};" if objects.problem else "")
        self.choose_button.setEnabled(matching > 0)
        for rows in row_tables(self._viewer):
            rows.filter_rows(layer)

    def _choose_matching(self) -> None:
        objects = self._objects
        if objects is not None and (found := objects.matching()) is not None and (layer := objects.layer) is not None:
            objects.choose(layer.features["index"][found].astype(int).tolist())

    def _step(self, by: int) -> None:
        """The next object of those that match, by number; the view goes there."""
        objects, layer = self._objects, self._layer
        if objects is None or layer is None:
            return
        found = objects.matching()
        ids = sorted(objects.ids() if found is None else layer.features["index"][found].astype(int).tolist())
        if not ids:
            return
        now = objects.chosen[-1] if objects.chosen else (0 if by > 0 else ids[-1] + 1)
        later = [label for label in ids if label > now] if by > 0 else [label for label in ids if label < now][::-1]
        label = (later or (ids if by > 0 else ids[::-1]))[0]
        objects.choose([label])
        go_to(self._viewer, layer, label)

    def _show_chosen(self, from_table: bool = False) -> None:
        objects, layer = self._objects, self._layer
        if objects is None or layer is None:
            self.chosen.clear()
            return
        ids = objects.chosen
        if not from_table:
            for rows in row_tables(self._viewer):
                rows.mark(layer, list(ids))
                if ids:
                    rows.show_row(layer, ids[-1])
        named = ", ".join(map(str, sorted(ids)[:MOST_NAMED])) + (", ..." if len(ids) > MOST_NAMED else "")
        self.chosen.setText(f"Chosen: {named}" + (f" ({len(ids)})" if len(ids) > 1 else "") if ids else CHOOSE)
        self._enable()
        self._draw_soon()

    def _enable(self) -> None:
        worked = self._worked
        why = "" if worked is None else worked.actions.why_not()
        can = worked is not None and not why and not worked.actions.is_busy
        chosen = 0 if worked is None else len(worked.objects.chosen)
        self.delete_button.setEnabled(can and chosen > 0)
        self.keep_button.setEnabled(can and chosen > 0)
        self.merge_button.setEnabled(can and chosen > 1)
        last, following = (None, None) if worked is None else (worked.edits.hand.last, worked.edits.hand.next)
        for button, step, words in ((self.undo_button, last, "Undo"), (self.redo_button, following, "Redo")):
            button.setEnabled(can and step is not None)
            key = "Ctrl+Z" if words == "Undo" else "Ctrl+Shift+Z"
            button.setToolTip(f"{words}: {step.words} ({key})" if step is not None else f"Nothing to {words.lower()}.")
        if why or self.told.text() in (RUNNING, ON_DISK):
            self.told.setText(why)

    def _show(self, *_: Any) -> None:
        if is_open(self._viewer):
            self._show_found()
            self._show_chosen(from_table=True)

    def _show_soon(self) -> None:
        """In a turn of its own: napari's table has just taken one."""
        self._showing.start(0)

    def _draw_soon(self, *_: Any) -> None:
        self._drawing.start(0)

    def _draw(self) -> None:
        layer = self._layer
        if (
            layer is not None
            and self._outline is not None
            and layer in self._viewer.layers
            and self._worked is not None
        ):
            self._outline.show(layer, self._worked.objects.chosen)

    def _fill_columns(self) -> None:
        if self._worked is not None:
            images = [layer.name for layer in self._viewer.layers if isinstance(layer, Image)]
            measuring = self._worked.measuring
            self.columns.fill(images, measuring.own_image, self._worked.edits.grid.link, measuring.asked)

    def _measure(self, asked: Asked) -> None:
        self._asked = asked
        remember_columns(asked.words)
        if self._worked is not None:
            self._worked.measuring.ask(asked)

    def _measure_as_before(self) -> None:
        """The columns that were wanted of other results, of these as well."""
        worked = self._worked
        if worked is not None and worked.edits.alive() is not None and not worked.measuring.columns:
            worked.measuring.ask(self._asked)

    def _show_measuring(self, is_busy: bool) -> None:
        if is_busy or self.told.text() == MEASURING:
            self.told.setText(MEASURING if is_busy else "")
        self._show()

    def _show_table(self) -> None:
        if self._layer is not None:
            open_table(self._viewer, self._layer)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
