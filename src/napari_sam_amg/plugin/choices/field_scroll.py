"""Fields that scroll where the window is low."""

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

LEAST_HEIGHT = 120  # px of the fields


class FieldScroll(QScrollArea):
    """``parts`` below each other. Scrolls up and down only: never narrower than what is in it."""

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        fields = QWidget()
        self._column = QVBoxLayout(fields)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addStretch()  # fields stay together at the top of a high window
        for part in parts:
            self.add(part)
        self.setWidget(fields)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def add(self, part: QWidget) -> None:
        """Below those that are there."""
        self._column.insertWidget(self._column.count() - 1, part)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Qt does not ask a scroll area again how wide it must be when what is in it grows, as by a larger font."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def minimumSizeHint(self) -> QSize:
        inner, bar = self.widget(), self.verticalScrollBar()
        if inner is None or bar is None:
            return super().minimumSizeHint()
        return QSize(inner.minimumSizeHint().width() + bar.sizeHint().width() + 2, LEAST_HEIGHT)
