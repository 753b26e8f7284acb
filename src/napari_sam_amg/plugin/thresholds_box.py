"""Thresholds of results that move: what is shown follows at once, and no model is asked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QFormLayout, QGroupBox, QHBoxLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_sam_amg.params import AmgParameters, parameter_choices, parameter_spec
from napari_sam_amg.plugin.form import WheelGuard
from napari_sam_amg.plugin.placing import shown_position
from napari_sam_amg.plugin.problems import RED
from napari_sam_amg.plugin.refilter import Refilter
from napari_sam_amg.plugin.results_tab import ResultsTab
from napari_sam_amg.plugin.reviewed import Index, ReviewedLayer, reviewed
from napari_sam_amg.plugin.rows import add_row, combo, form_layout, wrapped_label
from napari_sam_amg.plugin.threshold_rows import MOST_AREA, AreaRow, ThresholdRow
from napari_sam_amg.plugin.window import is_open

IOU_HELP = (
    "Keep masks that the model itself rates better than this (its predicted IoU, which can exceed 1). Grey: candidates "
    "that are dropped."
)
STABILITY_HELP = "Keep masks whose outline hardly moves when the model's mask threshold does: 1 if not at all."
AREA_HELP = "Keep masks of this many pixels, before duplicates are removed, so that smaller objects under them come up."
NMS_HELP = (
    "Of two masks whose boxes overlap by more than this (IoU) the worse one is a duplicate, and dropped (NMS). The "
    "bars: by how much the candidates overlap with a better one."
)
CROP_HELP = "The same between masks of different crops."
PIECE_HELP = (
    "Holes and separate pieces of labels smaller than this many pixels are filled and removed, after overlaps are "
    "resolved. 0: off."
)
RESET_HELP = "Back to the thresholds that the model came with."
TAKE_HELP = "Put these thresholds into the form under Segment."
NOTHING_CHOSEN = "Choose a layer of results."
SAVED = "These results were opened from a file, without what the model proposed: run again to move thresholds."
RUNNING = "The thresholds can be moved when the run is over."
OVERLAP_WORDS = {"score": "the better rated", "small": "the smaller", "large": "the larger"}


class ThresholdsBox(QGroupBox):
    """Follows the result layer in focus."""

    taken = Signal(object)  # parameters by name, for the next run

    def __init__(self, viewer: Viewer, tab: ResultsTab) -> None:
        super().__init__("Thresholds")
        self._viewer = viewer
        self._review: ReviewedLayer | None = None
        self._heard: Refilter | None = None
        self._looking: FunctionWorker[Any] | None = None  # at the candidates, for the histograms
        self._is_looked_at: Any = None  # the candidates whose histograms are shown
        self.iou = ThresholdRow("Predicted IoU above", IOU_HELP)
        self.stability = ThresholdRow("Stability from", STABILITY_HELP)
        self.area = AreaRow("Area (px)", AREA_HELP)
        self.nms = ThresholdRow("Duplicates overlap by", NMS_HELP, keeps_below=True)
        self.crop_nms = ThresholdRow("Duplicates between crops", CROP_HELP, keeps_below=True)
        self.overlap = _choice()
        self.piece = QSpinBox()
        self.reset_button, self.take_button = QPushButton("Reset"), QPushButton("Use for the next run")
        self.summary, self.message = wrapped_label(), wrapped_label()
        self._arrange()
        self._connect()
        tab.focused.connect(self.follow)
        self.follow(None if tab.layer is None else reviewed(tab.layer))

    def _arrange(self) -> None:
        self.controls = QWidget()
        column = QVBoxLayout(self.controls)
        column.setContentsMargins(0, 0, 0, 0)
        for row in self._rows:
            column.addWidget(row)
        fields = QWidget()
        form: QFormLayout = form_layout(fields)
        add_row(form, "Pixels of several go to", self.overlap, parameter_spec("overlap").metadata["help"])
        add_row(form, "Smallest piece (px)", self.piece, PIECE_HELP)
        column.addWidget(fields)
        buttons = QHBoxLayout()
        buttons.addWidget(self.reset_button)
        buttons.addWidget(self.take_button)
        column.addLayout(buttons)
        self.piece.setRange(0, MOST_AREA)
        self.piece.setSingleStep(10)
        self.piece.setKeyboardTracking(False)
        self.message.setStyleSheet(f"color: {RED};")
        self.reset_button.setToolTip(RESET_HELP)
        self.take_button.setToolTip(TAKE_HELP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.summary)
        layout.addWidget(self.controls)
        layout.addWidget(self.message)

    def _connect(self) -> None:
        for row in self._rows:
            row.moved.connect(self._ask)
        self.overlap.currentIndexChanged.connect(self._ask)
        self.piece.valueChanged.connect(self._ask)
        self.reset_button.clicked.connect(self.reset)
        self.take_button.clicked.connect(self._take)
        self._guard = WheelGuard()
        for control in (self.overlap, self.piece):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            control.installEventFilter(self._guard)
        for event in (self._viewer.dims.events.point, self._viewer.dims.events.order):
            event.connect(self._look)

    @property
    def _rows(self) -> list[ThresholdRow | AreaRow]:
        return [self.iou, self.stability, self.area, self.nms, self.crop_nms]

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
        self._listen(None if review is None else review.refilter)
        self._show()

    def _show(self) -> None:
        """All of it anew."""
        review, reason = self._review, self._why_not()
        self.controls.setVisible(not reason)
        self.message.setText("")
        self.message.setVisible(False)
        if reason or review is None:
            self.summary.setText(reason)
            return
        if review.refilter is None:
            review.refilter = Refilter(review, position_in(self._viewer, review))
        self._listen(review.refilter)  # made by a box of another dock, perhaps
        kept = review.kept
        self.crop_nms.setVisible(kept.params.crop_n_layers > 0)
        self.iou.allow(kept.floor.pred_iou_thresh, 1)
        self.stability.allow(kept.floor.stability_score_thresh, 1)
        self._show_params(review.refilter.params)
        self._show_candidates()
        self._show_counts()
        review.refilter.look()

    def _listen(self, refilter: Refilter | None) -> None:
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
            return review.why_none or SAVED
        return in_plain_words(review.kept) or review.why_fixed

    def showEvent(self, event: QShowEvent | None) -> None:
        """What nobody saw was not looked up."""
        super().showEvent(event)
        if not self._why_not():
            self._show_candidates()

    def _show_candidates(self) -> None:
        """Behind the sliders, as soon as they are counted."""
        kept = None if self._review is None else self._review.kept
        if kept is None or kept is self._is_looked_at or self._looking is not None or not self.isVisible():
            return
        self._is_looked_at = kept
        from napari_sam_amg.review.duplicates import columns_of

        self._looking = create_worker(columns_of, kept)
        self._looking.returned.connect(self._draw_candidates)
        self._looking.finished.connect(self._looked)
        self._looking.start()

    def _draw_candidates(self, columns: Any) -> None:
        self.area.allow(int(columns["area"].max(initial=1)))
        pairs = [
            (self.iou, "predicted_iou"), (self.stability, "stability_score"), (self.area, "area"),
            (self.nms, "overlap"), (self.crop_nms, "overlap_of_crops"),
        ]  # fmt: skip
        for row, name in pairs:
            row.show_candidates(columns[name])

    def _looked(self) -> None:
        self._looking = None
        # another layer may be in focus by now
        if not self._why_not() and self._review is not None and self._is_looked_at is not self._review.kept:
            self._show_candidates()

    def _show_params(self, params: AmgParameters) -> None:
        self.iou.set(params.pred_iou_thresh)
        self.stability.set(params.stability_score_thresh)
        self.area.set((params.min_area, params.max_area))
        self.nms.set(params.box_nms_thresh)
        self.crop_nms.set(params.crop_nms_thresh)
        with QSignalBlocker(self.overlap), QSignalBlocker(self.piece):
            self.overlap.setCurrentIndex(self.overlap.findData(params.overlap))
            self.piece.setValue(smallest_piece(params))

    def parameters(self, params: AmgParameters, of_run: AmgParameters) -> AmgParameters:
        """``params`` with what is chosen here; ``of_run``: those that the run had."""
        least, most = self.area.value
        piece = self.piece.value()
        if piece != smallest_piece(params):
            params = replace(
                params, min_label_region_area=piece, min_mask_region_area=min(piece, of_run.min_mask_region_area)
            )
        return replace(
            params,
            pred_iou_thresh=self.iou.value,
            stability_score_thresh=self.stability.value,
            min_area=least,
            max_area=most,
            box_nms_thresh=self.nms.value,
            crop_nms_thresh=self.crop_nms.value,
            overlap=self.overlap.currentData(),
        )

    def _ask(self, *_: Any) -> None:
        refilter = self.refilter
        if refilter is None or self._review is None:
            return
        self._start(self.parameters(refilter.params, self._review.kept.params))

    def reset(self) -> None:
        """Back to what the model came with."""
        if self._review is not None and self.refilter is not None:
            self._show_params(self._review.kept.own)
            self._start(self._review.kept.own)

    def _start(self, params: AmgParameters) -> None:
        assert self.refilter is not None
        self.message.setVisible(False)
        try:
            self.refilter.ask(params)
        except ValueError as error:
            self._show_failure(str(error))
        self._show_counts()

    def _take(self) -> None:
        """For the next run: what differs from what the run was made with, and the thresholds."""
        if self.refilter is not None:
            params = self.refilter.params
            self.taken.emit({name: getattr(params, name) for name in TAKEN})

    def _look(self, event: Any = None) -> None:
        if self.refilter is not None and is_open(self._viewer):
            self.refilter.look()

    def _show_failure(self, words: str) -> None:
        self.message.setText(words)
        self.message.setVisible(True)

    def _show_counts(self) -> None:
        if self._review is None or self.refilter is None or self._review.is_gone or self._why_not():
            return
        self.summary.setText(counted(self._review, self.refilter))


TAKEN = (
    "pred_iou_thresh", "stability_score_thresh", "min_area", "max_area", "box_nms_thresh", "crop_nms_thresh", "overlap",
    "min_label_region_area", "min_mask_region_area",
)  # fmt: skip


def smallest_piece(params: AmgParameters) -> int:
    """px, as ``amg.fragments`` has it."""
    return max(params.min_label_region_area, params.min_mask_region_area) if params.min_label_region_area else 0


def counted(review: ReviewedLayer, refilter: Refilter) -> str:
    """How many candidates are kept and shown, in words."""
    candidates, record = len(review.kept.columns()["area"]), review.record
    waiting = refilter.waiting
    if waiting and refilter.planes > 1:
        return f"{refilter.planes - waiting} of {refilter.planes} planes follow the thresholds."
    masks, hidden = record.get("masks"), record.get("hidden_by_overlap")
    if masks is None or hidden is None:
        return f"{candidates:,} candidates."
    words = f"{masks:,} of {candidates:,} candidates are kept"
    return f"{words}, {hidden:,} of them hidden by overlaps." if hidden else f"{words}, none hidden by overlaps."


def in_plain_words(kept: Any) -> str:
    """Why thresholds of a run cannot be moved though its candidates were kept; empty if they can."""
    if kept.params.mode == "ais":
        return "AIS rates no masks, so there are no thresholds to move: run again with other settings."
    if kept.fixed_reason:
        return "The planes are too large to make their labels again here: run again with other thresholds."
    return "" if kept.indices else "No plane was finished, so there is nothing to choose from."


def position_in(viewer: Viewer, review: ReviewedLayer) -> Callable[[], Index | None]:
    """Which plane of a layer is in sight; None if the layer is not to be seen."""

    def position() -> Index | None:
        if review.is_gone or not is_open(viewer) or review.layer not in viewer.layers:
            return None
        at = shown_position(review.layer, viewer.dims)
        return () if review.is_single else tuple(at[axis] for axis in review.stack_axes)

    return position


def _choice() -> QComboBox:
    box = combo([])
    for word in parameter_choices("overlap"):
        box.addItem(OVERLAP_WORDS[word], word)
    return box
