"""Why is nothing here? What was proposed at a place, what the model saw there, and one question more to it."""

from collections.abc import Callable
from html import escape
from typing import Any
from weakref import WeakKeyDictionary, ref

from napari.layers import Labels
from napari.layers.base import Layer
from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.choices.problems import RED
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.reviewing.asking import Asking, Question
from napari_sam_amg.plugin.reviewing.one_more import model_of, put_in
from napari_sam_amg.plugin.reviewing.picking import Picking, Place, place_at
from napari_sam_amg.plugin.reviewing.results import cursor_aside
from napari_sam_amg.plugin.reviewing.results_tab import ResultsTab
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer, reviewed
from napari_sam_amg.plugin.reviewing.seen_image import beneath, plane_image, seen_by, seen_layer
from napari_sam_amg.plugin.reviewing.shown_masks import outlines_layer, said_of
from napari_sam_amg.plugin.reviewing.thresholds_box import position_in
from napari_sam_amg.plugin.reviewing.why_work import Asked, Told, all_outlines, tell
from napari_sam_amg.plugin.running.adding import added, may_add
from napari_sam_amg.plugin.running.live import ASK_AGAIN, PAINTED
from napari_sam_amg.plugin.window import is_open

PICK_HELP = "Then click on the image: what the model proposed there, with its scores, and why it is shown or not."
ASK_HELP = (
    "Ask the model for an object at the place that was clicked, whatever the thresholds are. It becomes an object of "
    "its own. It takes free pixels only: other objects stay as they are."
)
SEEN_HELP = "The plane in sight as the model sees it: 8 bits, with the intensities of this run."
MASKS_HELP = (
    "Outlines of all masks of the plane in sight as they were before overlaps were resolved. Orange: those that are no "
    "label; the table of the layer says why."
)
CHOOSE, IN_3D = "Click on a place in the image.", "Show the image in 2D to click on a place."
OUTSIDE = "This place is not in the image of these results."
NOT_KEPT = "What was proposed here is not known: it is kept with results until napari is closed. Run again to see it."
RUNNING = "The run goes on: what it proposed can be seen when it is over."


class WhyBox(QGroupBox):
    """Follows the result layer in focus."""

    def __init__(self, viewer: Viewer, tab: ResultsTab) -> None:
        super().__init__("Why is nothing here?")
        self._viewer, self._tab = viewer, tab
        self._review: ReviewedLayer | None = None
        self._place: Place | None = None  # that was clicked last
        self._waiting: Asked | None = None  # for what is known of it
        self._asking: Asking | None = None
        self._made: WeakKeyDictionary[Labels, dict[str, ref[Layer]]] = WeakKeyDictionary()
        self._wanted: WeakKeyDictionary[Labels, dict[str, object]] = WeakKeyDictionary()  # the last of each kind
        self.picking = Picking(viewer, self._picked)
        self.pick_button = QPushButton("Click on a place")
        self.ask_button = QPushButton("Ask the model here")
        self.seen_button = QPushButton("Show what the model sees")
        self.masks_button = QPushButton("Show all masks")
        self.answer, self.message = wrapped_label(), wrapped_label()
        self._arrange()
        self._connect()
        tab.focused.connect(self.follow)
        self.follow(None if tab.layer is None else reviewed(tab.layer))

    def _arrange(self) -> None:
        self.pick_button.setCheckable(True)
        helps = (PICK_HELP, ASK_HELP, SEEN_HELP, MASKS_HELP)
        for button, words in zip(self._buttons, helps, strict=True):
            button.setToolTip(f"<qt>{escape(words)}</qt>")
        self.message.setStyleSheet(f"color: {RED};")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        for pair in (self._buttons[:2], self._buttons[2:]):
            row = QHBoxLayout()
            for button in pair:
                row.addWidget(button)
            layout.addLayout(row)
        layout.addWidget(self.answer)
        layout.addWidget(self.message)

    def _connect(self) -> None:
        self.pick_button.toggled.connect(self._turn)
        self.ask_button.clicked.connect(self.ask)
        self.seen_button.clicked.connect(self.show_seen)
        self.masks_button.clicked.connect(self.show_masks)

    @property
    def _buttons(self) -> tuple[QPushButton, ...]:
        return self.pick_button, self.ask_button, self.seen_button, self.masks_button

    def follow(self, review: ReviewedLayer | None) -> None:
        """Another layer is in focus, or none."""
        if review is not None and review is self._review:
            return
        if self._review is not None:
            self._review.ended.disconnect(self._offer)
        self._review, self._place, self._waiting = review, None, None
        if review is not None:
            review.ended.connect(self._offer)
        elif self.pick_button.isChecked():
            self.pick_button.setChecked(False)
        self._say(CHOOSE if self.pick_button.isChecked() else "")
        self._offer()

    def _offer(self) -> None:
        """The buttons that are of use now."""
        there = self._alive is not None
        is_over = self._alive is not None and not self._alive.is_running
        for button in (self.pick_button, self.seen_button, self.masks_button):
            button.setEnabled(there if button is self.pick_button else is_over)
        self.ask_button.setText("Cancel" if self._asking else "Ask the model here")
        self.ask_button.setEnabled(self._asking is not None or (is_over and self._place is not None))

    @property
    def _alive(self) -> ReviewedLayer | None:
        """The layer in focus while there is one."""
        return self._review if self._review is not None and self._is_there(self._review) else None

    def _is_there(self, review: ReviewedLayer) -> bool:
        return not review.is_gone and is_open(self._viewer) and review.layer in self._viewer.layers

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Who has left the tab does not click here any more."""
        super().hideEvent(event)
        self.pick_button.setChecked(False)

    def _turn(self, on: bool) -> None:
        self.picking.turn(on)
        layer = self._viewer.layers.selection.active if on and is_open(self._viewer) else None
        if layer is not None and getattr(layer, "mode", "pan_zoom") != "pan_zoom":
            layer.mode = "pan_zoom"  # or the click would paint, too
        if not self._place:
            self._say(CHOOSE if on else "")

    def _say(self, words: str, problem: str = "") -> None:
        self.answer.setText(words)
        self.answer.setVisible(bool(words))
        self._complain(problem)
        if words:
            self._tab.show_part(self.answer)

    def _complain(self, problem: str) -> None:
        self.message.setText(problem)
        self.message.setVisible(bool(problem))
        if problem:
            self._tab.show_part(self.message)

    def _picked(self, position: tuple[float, ...]) -> None:
        review = self._alive
        if review is None:
            return
        self._place = None if self._viewer.dims.ndisplay != 2 else place_at(self._viewer, review, position)
        if self._place is None:
            self._say("", IN_3D if self._viewer.dims.ndisplay != 2 else OUTSIDE)
        else:
            self._look(review, self._place)
        self._offer()

    def _look(self, review: ReviewedLayer, place: Place) -> None:
        """What is known of a place, as soon as it is."""
        if review.is_running or review.kept is None:
            why = RUNNING if review.is_running else review.why_none or NOT_KEPT
            self._say(f"{_headline(review, place)}<br>{escape(why)}")
            return
        self._say(f"{_headline(review, place)}<br>...")
        self._waiting = asked = _asked(review, *place)
        worker = create_worker(tell, asked)
        worker.returned.connect(lambda told: self._show(told, asked, place))
        worker.start()

    def _show(self, told: Told | str, asked: Asked, place: Place) -> None:
        review = self._alive
        if asked is not self._waiting or review is None:  # somebody has clicked elsewhere meanwhile
            return
        head = _headline(review, place)
        if isinstance(told, str):
            self._say(head, told)
        elif not told.candidates:
            self._say(f"{head}<br>{escape(told.nothing)}")
        else:
            lines = "".join(f"<li>{escape(line)}</li>" for line in told.candidates)
            many = f"{len(told.candidates)} candidates" if len(told.candidates) > 1 else "1 candidate"
            self._say(f"{head} {many} (predicted IoU / stability, area):<ul style='margin-left: -24px'>{lines}</ul>")

    def ask(self) -> None:
        """For an object at the place; or no longer."""
        if self._asking is not None:
            self._asking.cancel()
            return
        review, place = self._alive, self._place
        if review is None or place is None:
            return
        seen, params = seen_by(self._viewer, review), _params(review)
        problem = review.why_fixed or (seen if isinstance(seen, str) else "")
        if problem or isinstance(seen, str) or params is None:
            self._complain(problem or "These results do not say with which settings they were made.")
            return
        self._complain("")
        self._asking = Asking(Question(seen, params, model_of(review), *place))
        self._asking.done.connect(lambda answer: self._take(answer, review, place))
        self._asking.start()
        self._offer()

    def _take(self, answer: Any, review: ReviewedLayer, place: Place) -> None:
        if self._is_there(review) and review.is_held:
            QTimer.singleShot(ASK_AGAIN, lambda: self._take(answer, review, place))
            return
        self._asking = None
        self._offer()
        if answer is None or not self._is_there(review):
            return
        try:
            words, problem = put_in(review, place[0], answer, _params(review)), ""
        except ValueError as error:
            words, problem = "", f"{explain_in_window(error)}. Nothing was added."
        if review is self._review:
            self._say(words or self.answer.text(), problem)

    def show_seen(self) -> None:
        """The plane in sight as the model sees it, beneath the labels."""
        review = self._alive
        index = None if review is None else position_in(self._viewer, review)()
        if review is None or index is None:
            return
        seen = seen_by(self._viewer, review)
        if isinstance(seen, str):
            self._complain(seen)
            return
        self._work(review, "seen", lambda: plane_image(seen, index), lambda image: seen_layer(seen, index, image))

    def show_masks(self) -> None:
        """All masks of the plane in sight."""
        review = self._alive
        index = None if review is None else position_in(self._viewer, review)()
        if review is None or index is None:
            return
        if review.kept is None:
            self._complain(review.why_none or NOT_KEPT)
            return
        asked = _asked(review, index)

        def made(outlines: Any) -> Layer:
            if review is self._review:
                self._say(said_of(outlines))
            return outlines_layer(self._viewer, review, index, outlines)

        self._work(review, "masks", lambda: all_outlines(asked), made)

    def _work(self, review: ReviewedLayer, kind: str, compute: Callable[[], Any], make: Callable[[Any], Layer]) -> None:
        """Compute something in a worker, and add the layer that is made of it; words are what went wrong."""

        def guarded() -> Any:
            try:
                return compute()
            except Exception as error:
                return explain_in_window(error)

        def is_wanted() -> bool:
            return self._is_there(review) and self._wanted[review.layer][kind] is mine

        def take(found: Any) -> None:
            if not is_wanted():
                return
            if review is self._review:
                self._complain(found if isinstance(found, str) else "")
            if not isinstance(found, str):
                self._add(review, kind, make(found), is_wanted)

        mine = self._wanted.setdefault(review.layer, {})[kind] = object()
        worker = create_worker(guarded)
        worker.returned.connect(take)
        worker.start()

    def _add(self, review: ReviewedLayer, kind: str, layer: Layer, is_wanted: Callable[[], bool]) -> None:
        """In the place of the one that was made before; while nothing else is computed, see ``adding``."""
        if not is_wanted():
            added(self)
            return
        if not may_add(self):
            QTimer.singleShot(ASK_AGAIN, lambda: self._add(review, kind, layer, is_wanted))
            return
        layers, labels = self._viewer.layers, review.layer
        made = self._made.setdefault(labels, {})
        before, active = made[kind]() if kind in made else None, layers.selection.active
        try:
            with cursor_aside(self._viewer):
                if before is not None and before in layers:
                    layers.remove(before)
                at = beneath(self._viewer, labels) if kind == "seen" else len(layers)
                layers.insert(at, layer)
                layers.selection.active = labels if active is before else active  # somebody may work elsewhere by now
        finally:
            made[kind] = ref(layer)
            QTimer.singleShot(PAINTED, lambda: added(self))


def _params(review: ReviewedLayer) -> Any:
    """Those of what is shown, or about to be."""
    return review.params if review.refilter is None else review.refilter.params


def _asked(review: ReviewedLayer, index: Index, y: int = 0, x: int = 0) -> Asked:
    return Asked(review.kept, _params(review) or review.kept.params, index, review.plane(index).copy(), y, x)


def _headline(review: ReviewedLayer, place: Place) -> str:
    """Which pixel it is, and what is there, as rich text."""
    index, y, x = place
    label = int(review.plane(index)[y, x])
    plane = f" of plane {', '.join(map(str, index))}" if index else ""
    return f"<b>Row {y}, column {x}{plane}: {f'label {label}' if label else 'no label'}.</b>"
