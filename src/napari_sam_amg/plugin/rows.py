"""How a row of the widget looks: one column of labels and one of controls, narrow enough for a dock."""

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget

LABEL_WIDTH = 124  # px; the same in every group, so that the controls stand in one column
CONTROL_WIDTH = 172  # px, at least
COMBO_CHARACTERS = 10  # a combo box as wide as its longest layer name would widen the whole window


def form_layout(parent: QWidget) -> QFormLayout:
    """Rows without margins, the controls as wide as there is room."""
    layout = QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


def add_row(layout: QFormLayout, text: str, control: QWidget, tooltip: str) -> None:
    """``tooltip``: plain text, or rich text that begins with <qt>."""
    rich = tooltip if tooltip.startswith("<qt>") else f"<qt>{escape(tooltip)}</qt>"  # rich text wraps, plain does not
    label = QLabel(text)
    label.setWordWrap(True)
    label.setFixedWidth(LABEL_WIDTH)
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


def combo(items: list[str]) -> QComboBox:
    box = QComboBox()
    box.addItems(items)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(COMBO_CHARACTERS)
    return box


def wrapped_label() -> QLabel:
    """For sentences, which can be copied."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
