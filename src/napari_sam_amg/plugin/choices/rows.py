"""How a row of the widget looks: one column of labels and one of controls, narrow enough for a dock."""

from html import escape

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QHelpEvent, QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
    QWidget,
)

LABEL_WIDTH = 112  # px, at least; the same in every group, so that the controls stand in one column
WIDEST_LABEL = "Brightness"  # of the words that labels begin a line with
CONTROL_WIDTH = 204  # px, at least
POPUP_MARGIN = 24  # px beside the longest name of an open list: its scroll bar
TEXT_MARGIN = 2  # px beside the text in a combo box
WIDEST_WORD = 300  # px that a word may ask for; a longer one is cut off
COMBO_CHARACTERS = 10  # a combo box as wide as its longest layer name would widen the whole window


def form_layout(parent: QWidget) -> QFormLayout:
    """Rows without margins, the controls as wide as there is room."""
    layout = QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


class RowLabel(QLabel):
    """As wide as all others in this font."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self._fit()

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def _fit(self) -> None:
        margin = 2 * self.fontMetrics().averageCharWidth()
        self.setFixedWidth(max(LABEL_WIDTH, self.fontMetrics().horizontalAdvance(WIDEST_LABEL) + margin))


def add_row(layout: QFormLayout, text: str, control: QWidget, tooltip: str) -> None:
    """``tooltip``: plain text, or rich text that begins with <qt>."""
    rich = tooltip if tooltip.startswith("<qt>") else f"<qt>{escape(tooltip)}</qt>"  # rich text wraps, plain does not
    label = RowLabel(text)
    if control.layout() is None:  # of several controls in one row their layout knows how wide they are at least
        control.setMinimumWidth(CONTROL_WIDTH)
    for part in (label, control):
        part.setToolTip(rich)
    layout.addRow(label, control)


def show_row(layout: QFormLayout, control: QWidget, visible: bool) -> None:
    """``QFormLayout.setRowVisible``, which Qt 5 has not."""
    label = layout.labelForField(control)
    for part in (label, control):
        if part is not None:
            part.setVisible(visible)


class FullNameCombo(QComboBox):
    """Says the whole name of what is chosen before its tooltip, and opens as wide as its longest name."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(COMBO_CHARACTERS)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """With an ellipsis where there is no room: Qt cuts the name off in the middle of a letter."""
        style = self.style()
        if style is None:
            super().paintEvent(event)
            return
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        kind, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        option.currentText = self.shown_name(style.subControlRect(kind, option, part, self).width() - TEXT_MARGIN)
        painter.drawComplexControl(kind, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shown_name(self, room: int) -> str:
        """As much of the name as there is ``room`` for, in pixels."""
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)

    def whole_name(self) -> str:
        return self.currentText()

    def event(self, event: QEvent | None) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.full_tooltip(), self)
            return True
        return super().event(event)

    def full_tooltip(self) -> str:
        """Rich text."""
        own = self.toolTip().removeprefix("<qt>").removesuffix("</qt>")
        name = escape(self.whole_name()).replace("\n", "<br>")
        return f"<qt><b>{name}</b><br>{own}</qt>" if name else self.toolTip()

    def showPopup(self) -> None:
        if (view := self.view()) is not None:
            view.setMinimumWidth(view.sizeHintForColumn(0) + POPUP_MARGIN)
        super().showPopup()


def combo(items: list[str]) -> QComboBox:
    box = FullNameCombo()
    box.addItems(items)
    return box


class Sentences(QLabel):
    """A word as long as a hash is cut off, and whole in the tooltip: it does not crush the image beside it."""

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), WIDEST_WORD), hint.height())

    def event(self, event: QEvent | None) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self.is_cut_off:
            QToolTip.showText(event.globalPos(), self.text(), self)
            return True
        return super().event(event)

    @property
    def is_cut_off(self) -> bool:
        return super().minimumSizeHint().width() > self.width()


def wrapped_label() -> QLabel:
    """For sentences, which can be copied."""
    label = Sentences()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
