"""A threshold, or two: number fields, and a slider below a histogram of the candidates."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget
from superqt import QRangeSlider

from napari_sam_amg.plugin.choices.decimals import DecimalBox
from napari_sam_amg.plugin.choices.form import WheelGuard
from napari_sam_amg.plugin.reviewing.histogram import Histogram, Scale

STEPS = 1000  # of a slider
INSET = 8  # px, half the handle of a slider
FIELD_WIDTH = 72  # px
MOST_AREA = 100_000_000  # px
FEW_DIGITS = 2  # of an area that a slider sets


class _Row(QWidget):
    """What both kinds share. ``moved`` is emitted when a person has moved it, not when it is set."""

    moved = Signal()

    def __init__(self, title: str, help: str, fields: Sequence[DecimalBox], slider: QSlider) -> None:
        super().__init__()
        self.fields, self.scale = fields, Scale(0.0, 1.0)
        self.slider: Any = slider  # a range slider has pairs for values
        self.histogram = Histogram(INSET)
        self.label = QLabel(title)
        self.label.setWordWrap(True)
        line = QHBoxLayout()
        line.addWidget(self.label, stretch=1)
        for field in fields:
            field.setFixedWidth(FIELD_WIDTH)
            line.addWidget(field)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(1)
        column.addLayout(line)
        column.addWidget(self.histogram)
        column.addWidget(slider)
        self._guard = WheelGuard()
        for control in (*fields, slider):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            control.installEventFilter(self._guard)
            control.setAccessibleName(title)
        for part in (self.label, self.histogram, *fields, slider):
            part.setToolTip(f"<qt>{escape(help)}</qt>")

    def show_candidates(self, values: NDArray[Any]) -> None:
        """Of all candidates."""
        self.histogram.show_positions(self.scale.position(values))


def number_field(high: float, step: float, decimals: int) -> DecimalBox:
    """Numbers from 0 on, without buttons: the dock is narrow, and a slider lies below."""
    field = DecimalBox()
    field.setRange(0, high)
    field.setDecimals(decimals)
    field.setSingleStep(step)
    field.setButtonSymbols(DecimalBox.ButtonSymbols.NoButtons)
    field.setKeyboardTracking(False)  # 0.8 is typed as 0 first
    field.setCorrectionMode(DecimalBox.CorrectionMode.CorrectToNearestValue)
    return field


class ThresholdRow(_Row):
    """One number. What lies above it is kept, or, with ``keeps_below``, what lies below."""

    def __init__(self, title: str, help: str, keeps_below: bool = False) -> None:
        self.field, slider = number_field(1, 0.01, 3), QSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, STEPS)
        slider.setPageStep(STEPS // 20)
        super().__init__(title, help, [self.field], slider)
        self._keeps_below = keeps_below
        self._value = 0.0
        self.field.valueChanged.connect(self._typed)
        slider.valueChanged.connect(self._slid)

    @property
    def value(self) -> float:
        """With all its digits, until another one is chosen."""
        return self._value

    def allow(self, low: float, high: float) -> None:
        self.scale = Scale(low, high)
        with QSignalBlocker(self.field), QSignalBlocker(self.slider):
            self.field.setRange(low, high)
        self.set(self._value)

    def set(self, value: float) -> None:
        self._value = value
        with QSignalBlocker(self.field), QSignalBlocker(self.slider):
            self.field.setValue(value)
            self.slider.setValue(round(STEPS * float(self.scale.position(value))))
        place = float(self.scale.position(value))
        self.histogram.mark(*((0, place) if self._keeps_below else (place, 1)))

    def _typed(self, value: float) -> None:
        self.set(value)
        self.moved.emit()

    def _slid(self, step: int) -> None:
        self.set(round(self.scale.value(step / STEPS), 3))
        self.moved.emit()


class AreaRow(_Row):
    """The smallest and the largest area, px; 0 for either is no bound."""

    def __init__(self, title: str, help: str) -> None:
        self.least, self.most = (number_field(MOST_AREA, 10, 0) for _ in range(2))
        self.most.setSpecialValueText("any")
        slider: Any = QRangeSlider(Qt.Orientation.Horizontal)  # type: ignore[no-untyped-call]
        slider.setRange(0, STEPS)
        slider.setValue((0, STEPS))
        super().__init__(title, help, [self.least, self.most], slider)
        self.scale = Scale(1.0, 2.0, is_log=True)
        self._value = (0, 0)
        self.least.valueChanged.connect(self._typed_least)
        self.most.valueChanged.connect(self._typed_most)
        slider.valueChanged.connect(self._slid)

    @property
    def value(self) -> tuple[int, int]:
        return self._value

    def allow(self, largest: int) -> None:
        """Areas from one pixel to that of the largest candidate."""
        self.scale = Scale(1.0, float(max(largest, 2)), is_log=True)
        self.set(self._value)

    def set(self, value: tuple[int, int]) -> None:
        self._value = value
        ends = [self._place(value[0], 0.0), self._place(value[1], 1.0)]
        with QSignalBlocker(self.least), QSignalBlocker(self.most), QSignalBlocker(self.slider):
            self.least.setValue(value[0])
            self.most.setValue(value[1])
            self.slider.setValue(tuple(round(STEPS * end) for end in sorted(ends)))
        self.histogram.mark(ends[0], max(ends))

    def _place(self, area: int, unbound: float) -> float:
        return float(self.scale.position(float(area))) if area else unbound

    def _typed_least(self, value: float) -> None:
        """A bound that is typed beyond the other one takes it along: between them lies something."""
        least, most = int(value), self._value[1]
        self.set((least, max(least, most) if most else 0))
        self.moved.emit()

    def _typed_most(self, value: float) -> None:
        most = int(value)
        self.set((min(self._value[0], most) if most else self._value[0], most))
        self.moved.emit()

    def _slid(self, steps: tuple[int, int]) -> None:
        first, last = steps
        self.set((self._area(first) if first > 0 else 0, self._area(last) if last < STEPS else 0))
        self.moved.emit()

    def _area(self, step: int) -> int:
        """Round numbers, as far as they tell neighbours on the slider apart."""
        area = self.scale.value(step / STEPS)
        digits = FEW_DIGITS - 1 - int(np.floor(np.log10(area)))
        return max(1, round(round(area, digits)))
