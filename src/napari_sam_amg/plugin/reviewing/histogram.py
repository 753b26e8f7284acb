"""How many candidates have which value, and which of them are kept, drawn behind a slider."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

BINS = 60
HEIGHT = 28  # px
KEPT, DROPPED = QColor(0, 122, 204), QColor(128, 128, 128, 110)  # seen on dark and on light
KEPT_RANGE = QColor(0, 122, 204, 40)


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to positions on a slider, 0 to 1, and back."""

    low: float
    high: float
    is_log: bool = False

    def position(self, values: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Of values beyond the ends the ends."""
        low, high = self.low, self.high
        given = np.clip(np.asarray(values, np.float64), low, high)
        if high <= low:
            return np.zeros_like(given)
        if self.is_log:
            return np.asarray(np.log(given / low) / np.log(high / low))
        return np.asarray((given - low) / (high - low))

    def value(self, position: float) -> float:
        if self.is_log:
            return float(self.low * (self.high / self.low) ** position)
        return float(self.low + position * (self.high - self.low))


class Histogram(QWidget):
    """Bars from left to right; ``inset`` px at both ends, where the slider below has half its handle."""

    def __init__(self, inset: int) -> None:
        super().__init__()
        self._inset = inset
        self.counts = np.zeros(BINS, np.int64)
        self.kept = (0.0, 1.0)  # positions
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(120, HEIGHT)

    def show_positions(self, positions: NDArray[np.float64]) -> None:
        """Of all candidates, 0 to 1."""
        self.counts = np.histogram(positions, bins=BINS, range=(0, 1))[0]
        self.update()

    def mark(self, first: float, last: float) -> None:
        """Which range is kept."""
        self.kept = first, last
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        width, height = self.width() - 2 * self._inset, self.height()
        first, last = (self._inset + width * end for end in self.kept)
        painter.fillRect(QRectF(first, 0, max(last - first, 1), height), KEPT_RANGE)
        # a few values that most candidates have would flatten all others
        heights = np.sqrt(self.counts / max(1, self.counts.max())) * (height - 2)
        middles = (np.arange(BINS) + 0.5) / BINS
        for bar, (middle, tall) in enumerate(zip(middles, heights, strict=True)):
            if tall:
                left = self._inset + width * bar / BINS
                colour = KEPT if self.kept[0] <= middle <= self.kept[1] else DROPPED
                painter.fillRect(QRectF(left, height - max(tall, 1), width / BINS - 1, max(tall, 1)), colour)
        painter.end()
