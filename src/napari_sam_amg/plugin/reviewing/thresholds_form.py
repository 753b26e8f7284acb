"""The controls of the thresholds of results: what is chosen in them, and what they show."""

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget

from napari_sam_amg.params import AmgParameters, parameter_choices, parameter_spec
from napari_sam_amg.plugin.choices.form import WheelGuard
from napari_sam_amg.plugin.choices.rows import add_row, combo, form_layout
from napari_sam_amg.plugin.reviewing.threshold_rows import MOST_AREA, AreaRow, ThresholdRow

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
OVERLAP_WORDS = {"score": "the better rated", "small": "the smaller", "large": "the larger"}
#: Parameters that can be chosen here.
NAMES = (
    "pred_iou_thresh", "stability_score_thresh", "min_area", "max_area", "box_nms_thresh", "crop_nms_thresh", "overlap",
    "min_label_region_area", "min_mask_region_area",
)  # fmt: skip


class ThresholdsForm(QWidget):
    """``moved`` is emitted when a person has chosen something else, not when it is shown."""

    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.iou = ThresholdRow("Predicted IoU above", IOU_HELP)
        self.stability = ThresholdRow("Stability from", STABILITY_HELP)
        self.area = AreaRow("Area (px)", AREA_HELP)
        self.nms = ThresholdRow("Duplicates overlap by", NMS_HELP, keeps_below=True)
        self.crop_nms = ThresholdRow("Duplicates between crops", CROP_HELP, keeps_below=True)
        self.overlap = _choice()
        self.piece = QSpinBox()
        self.piece.setRange(0, MOST_AREA)
        self.piece.setSingleStep(10)
        self.piece.setKeyboardTracking(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for row in (self.iou, self.stability, self.area, self.nms, self.crop_nms):
            column.addWidget(row)
            row.moved.connect(self.moved)
        fields = QWidget()
        form = form_layout(fields)
        add_row(form, "Pixels of several go to", self.overlap, parameter_spec("overlap").metadata["help"])
        add_row(form, "Smallest piece (px)", self.piece, PIECE_HELP)
        column.addWidget(fields)
        self.overlap.currentIndexChanged.connect(lambda *_: self.moved.emit())
        self.piece.valueChanged.connect(lambda *_: self.moved.emit())
        self._guard = WheelGuard()
        for control in (self.overlap, self.piece):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            control.installEventFilter(self._guard)

    def allow(self, params: AmgParameters, floor: AmgParameters, largest: int) -> None:
        """What a run with ``params`` can be moved to, of which candidates were kept down to ``floor``.

        ``largest``: px, of the candidates.
        """
        self.area.allow(largest)
        self.crop_nms.setVisible(params.crop_n_layers > 0)
        self.iou.allow(floor.pred_iou_thresh, 1)
        self.stability.allow(floor.stability_score_thresh, 1)

    def show_candidates(self, columns: dict[str, NDArray[Any]]) -> None:
        """Behind the sliders, see ``review.duplicates``."""
        pairs = [
            (self.iou, "predicted_iou"), (self.stability, "stability_score"), (self.area, "area"),
            (self.nms, "overlap"), (self.crop_nms, "overlap_of_crops"),
        ]  # fmt: skip
        for row, name in pairs:
            row.show_candidates(columns[name])

    def show_params(self, params: AmgParameters) -> None:
        self.iou.set(params.pred_iou_thresh)
        self.stability.set(params.stability_score_thresh)
        self.area.set((params.min_area, params.max_area))
        self.nms.set(params.box_nms_thresh)
        self.crop_nms.set(params.crop_nms_thresh)
        with QSignalBlocker(self.overlap), QSignalBlocker(self.piece):
            self.overlap.setCurrentIndex(self.overlap.findData(params.overlap))
            self.piece.setValue(params.smallest_piece)

    def parameters(self, params: AmgParameters, of_run: AmgParameters) -> AmgParameters:
        """``params`` with what is chosen here; ``of_run``: those that the run had."""
        least, most = self.area.value
        piece = self.piece.value()
        if piece != params.smallest_piece:
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


def _choice() -> QComboBox:
    box = combo([])
    for word in parameter_choices("overlap"):
        box.addItem(OVERLAP_WORDS[word], word)
    return box
