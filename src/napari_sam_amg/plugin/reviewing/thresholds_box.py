"""Thresholds of results that move: what is shown follows at once, and no model is asked."""

from collections.abc import Callable
from typing import Any
from weakref import ReferenceType, ref

from napari.qt.threading import FunctionWorker, create_worker
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.choices.problems import RED
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.placing import shown_position
from napari_sam_amg.plugin.reviewing.layer_files import look_beside
from napari_sam_amg.plugin.reviewing.refilter import Refilter
from napari_sam_amg.plugin.reviewing.results_tab import ResultsTab
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer, reviewed
from napari_sam_amg.plugin.reviewing.thresholds_form import NAMES, ThresholdsForm
from napari_sam_amg.plugin.reviewing.thresholds_words import counted, in_plain_words, look_at
from napari_sam_amg.plugin.reviewing.write_row import WriteRow
from napari_sam_amg.plugin.window import is_open

RESET_HELP = "Back to the thresholds that the model came with."
TAKE_HELP = "Put these thresholds into the form under Segment."
NOTHING_CHOSEN = "Choose a layer of results."
ALONE = (
    "What the model proposed is not there, as of results from a file or of a copy of the layer: run again to move "
    "thresholds."
)
RUNNING = "The thresholds can be moved when the run is over."


class ThresholdsBox(QGroupBox):
    """Follows the result layer in focus."""

    taken = Signal(object)  # parameters by name, for the next run

    def __init__(self, viewer: Viewer, tab: ResultsTab) -> None:
        super().__init__("Thresholds")
        self._viewer = viewer
        self._review: ReviewedLayer | None = None
        self._heard: Refilter | None = None  # whose signals are listened to
        self._looking: FunctionWorker[Any] | None = None  # at the candidates, for the histograms
        self._looked_at: tuple[ReferenceType[Any], int] | None = None  # a run, and how many of its candidates
        self.form = ThresholdsForm()
        self.reset_button, self.take_button = QPushButton("Reset"), QPushButton("Use for the next run")
        self.summary, self.message = wrapped_label(), wrapped_label()
        self.write_row = WriteRow()
        self._arrange()
        self._connect()
        tab.focused.connect(self.follow)
        self.follow(None if tab.layer is None else reviewed(tab.layer))

    def _arrange(self) -> None:
        self.controls = QWidget()
        column = QVBoxLayout(self.controls)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        buttons = QHBoxLayout()
        buttons.addWidget(self.reset_button)
        buttons.addWidget(self.take_button)
        column.addLayout(buttons)
        self.message.setStyleSheet(f"color: {RED};")
        self.reset_button.setToolTip(RESET_HELP)
        self.take_button.setToolTip(TAKE_HELP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.summary)
        layout.addWidget(self.controls)
        layout.addWidget(self.write_row)
        layout.addWidget(self.message)

    def _connect(self) -> None:
        self.form.moved.connect(self._ask)
        self.reset_button.clicked.connect(self.reset)
        self.take_button.clicked.connect(self._take)
        self.write_row.busy.connect(self._write)
        self.write_row.told.connect(self.summary.setText)
        self.write_row.failed.connect(self._show_failure)
        for event in (self._viewer.dims.events.point, self._viewer.dims.events.order):
            event.connect(self._look)

    @property
    def refilter(self) -> Refilter | None:
        """Of the layer in focus; None where thresholds cannot be moved."""
        return None if self._review is None else self._review.refilter

    def follow(self, review: ReviewedLayer | None) -> None:
        """Another layer is in focus, or none."""
        if self._review is not None:
            self._review.ended.disconnect(self._show)
        self._review = review
        if review is not None:
            review.ended.connect(self._show)
        self._show()

    def _show(self) -> None:
        """All of it anew."""
        if self._review is not None and not self._review.is_gone and self.isVisible():
            look_beside(self._review)
        review, reason = self._review, self._why_not()
        self.write_row.show_state(None if reason else review)
        self.controls.setVisible(not reason)
        self.message.setText("")
        self.message.setVisible(False)
        if reason or review is None:
            self.summary.setText(reason)
            self._listen(None)
            return
        if review.refilter is None:
            review.refilter = Refilter(review)
        review.refilter.position = position_in(self._viewer, review)  # the layer may have come from another viewer
        self._listen(review.refilter)
        kept = review.kept
        self.form.allow(kept.params, kept.floor, int(kept.columns()["area"].max(initial=1)))
        self.form.show_params(review.refilter.params)
        self._show_candidates()
        self._show_counts()
        review.refilter.look()

    def _listen(self, refilter: Refilter | None) -> None:
        """To this one alone; candidates of a layer that is gone are not held."""
        if refilter is self._heard:
            return
        if self._heard is not None:
            self._heard.progressed.disconnect(self._show_counts)
            self._heard.failed.disconnect(self._show_failure)
        self._heard = refilter
        if refilter is not None:
            refilter.progressed.connect(self._show_counts)
            refilter.failed.connect(self._show_failure)

    def _why_not(self) -> str:
        """Why thresholds cannot be moved, in a sentence; empty if they can."""
        review = self._review
        if review is None or review.is_gone:
            return NOTHING_CHOSEN
        if review.is_running:
            return RUNNING
        if review.kept is None:
            return review.why_none or ALONE
        return in_plain_words(review.kept) or review.why_no_thresholds

    def showEvent(self, event: QShowEvent | None) -> None:
        """What nobody saw was not looked up."""
        super().showEvent(event)
        self._show()

    def _show_candidates(self) -> None:
        """Behind the sliders, as soon as they are counted."""
        kept = None if self._review is None else self._review.kept
        if self._review is None or kept is None or self._looking is not None or not self.isVisible():
            return
        known = ref(kept), len(kept.columns()["area"])  # there are more when a run goes on
        if self._looked_at == known:
            return
        self._looked_at = known
        self._looking = create_worker(look_at, kept, position_in(self._viewer, self._review)())
        self._looking.returned.connect(lambda found: self._take_candidates(found, known[0]))
        self._looking.finished.connect(self._looked)
        self._looking.start()

    def _take_candidates(self, found: dict[str, Any] | str, of: ReferenceType[Any]) -> None:
        if self._review is None or self._review.kept is not of():  # another layer is in focus by now
            self._looked_at = None
        elif isinstance(found, str):
            self._show_failure(found)
        else:
            self.form.show_candidates(found)

    def _looked(self) -> None:
        self._looking = None
        if not self._why_not():  # another layer may be in focus by now
            self._show_candidates()

    def _ask(self, *_: Any) -> None:
        refilter = self.refilter
        if refilter is None or self._review is None:
            return
        self._start(self.form.parameters(refilter.params, self._review.kept.params))

    def reset(self) -> None:
        """Back to what the model came with."""
        if self._review is not None and self.refilter is not None:
            self.form.show_params(self._review.kept.own)
            self._start(self._review.kept.own)

    def _start(self, params: AmgParameters) -> None:
        assert self.refilter is not None
        self.message.setVisible(False)
        try:
            self.refilter.ask(params)
        except ValueError as error:
            self._show_failure(str(error))
        self._show_counts()

    def _write(self, is_begun: bool) -> None:
        """What is shown is about to be written, or that is over."""
        self.controls.setEnabled(not is_begun)
        if not is_begun:
            self.write_row.show_state(None if self._why_not() else self._review)
            self._show_counts()

    def _take(self) -> None:
        """For the next run."""
        if self.refilter is not None:
            params = self.refilter.params
            self.taken.emit({name: getattr(params, name) for name in NAMES})

    def _look(self, event: Any = None) -> None:
        if self.refilter is not None and is_open(self._viewer):
            self.refilter.look()

    def _show_failure(self, words: str) -> None:
        self.message.setText(words)
        self.message.setVisible(True)

    def _show_counts(self) -> None:
        if self._review is None or self.refilter is None or self._review.is_gone or self._why_not():
            return
        self.write_row.show_state(self._review)
        if not self.write_row.is_writing:
            self.summary.setText(counted(self._review, self.refilter))


def position_in(viewer: Viewer, review: ReviewedLayer) -> Callable[[], Index | None]:
    """Which plane of a layer is in sight; None if the layer is not to be seen."""

    def position() -> Index | None:
        if review.is_gone or not is_open(viewer) or review.layer not in viewer.layers:
            return None
        at = shown_position(review.layer, viewer.dims)
        return () if review.is_single else tuple(at[axis] for axis in review.stack_axes)

    return position
