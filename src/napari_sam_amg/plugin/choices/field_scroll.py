"""Fields that scroll where the window is low."""

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

LEAST_HEIGHT = 120  # px of the fields


class FieldScroll(QScrollArea):
    """``parts`` below each other. Scrolls up and down only: never narrower than what is in it."""

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        self._wanted: list[QWidget] = []  # a part that is to be seen until somebody scrolls, and what it lies in
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
        if (bar := self.verticalScrollBar()) is not None:
            bar.actionTriggered.connect(self._let_go)
            bar.rangeChanged.connect(self._keep_in_sight)

    def add(self, part: QWidget) -> None:
        """Below those that are there."""
        self._column.insertWidget(self._column.count() - 1, part)

    def show_part(self, part: QWidget) -> None:
        """Scroll until all of a part is seen: now, and when it is as large as its new words."""
        self._let_go()
        around: QWidget | None = part
        while around is not None and around is not self.widget():
            self._wanted.append(around)
            around.installEventFilter(self)
            around = around.parentWidget()
        self._keep_in_sight()

    def _keep_in_sight(self, *_: int) -> None:
        if self._wanted:
            self.ensureWidgetVisible(self._wanted[0], 0, 0)

    def _let_go(self, action: int = 0) -> None:
        for around in self._wanted:
            around.removeEventFilter(self)
        self._wanted.clear()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Qt does not ask a scroll area again how wide it must be when what is in it grows, as by a larger font."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            self.updateGeometry()
        elif event is not None and watched in self._wanted and event.type() in (QEvent.Type.Resize, QEvent.Type.Move):
            self._keep_in_sight()
        return super().eventFilter(watched, event)

    def minimumSizeHint(self) -> QSize:
        inner, bar = self.widget(), self.verticalScrollBar()
        if inner is None or bar is None:
            return super().minimumSizeHint()
        return QSize(inner.minimumSizeHint().width() + bar.sizeHint().width() + 2, LEAST_HEIGHT)
