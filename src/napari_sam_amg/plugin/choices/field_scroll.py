"""Fields that scroll where the window is low."""

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea

LEAST_HEIGHT = 120  # px of the fields


class FieldScroll(QScrollArea):
    """Scrolls up and down only: never narrower than what is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

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
