"""Fields that scroll where the window is low."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea

LEAST_HEIGHT = 120  # px of the fields


class FieldScroll(QScrollArea):
    """Scrolls up and down only: never narrower than what is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        inner, bar = self.widget(), self.verticalScrollBar()
        if inner is None or bar is None:
            return super().minimumSizeHint()
        return QSize(inner.minimumSizeHint().width() + bar.sizeHint().width() + 2, LEAST_HEIGHT)
