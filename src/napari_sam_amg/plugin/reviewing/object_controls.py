"""The fields and buttons of the box of objects."""

from typing import Any

from qtpy.QtWidgets import QCheckBox, QGroupBox, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.reviewing.columns_menu import ColumnsButton
from napari_sam_amg.review.row_filter import EXAMPLE

FILTER_HELP = (
    "Which objects: conditions on the columns of the table, joined by and, or, not. For example:<br>"
    "<code>area &gt; 50 and solidity &lt; 0.8</code><br><code>origin == 'drawn by hand'</code><br>"
    "<code>index in (3, 5, 8)</code>"
)


class ObjectControls(QGroupBox):
    """Without what they do."""

    def __init__(self) -> None:
        super().__init__("Objects")
        self.filter = QLineEdit()
        self.count, self.chosen, self.told = wrapped_label(), wrapped_label(), wrapped_label()
        self.alone, self.choose_button = QCheckBox("Hide all others"), QPushButton("Choose these")
        self.previous_button, self.next_button = QPushButton("Previous"), QPushButton("Next")
        self.delete_button, self.keep_button = QPushButton("Delete"), QPushButton("Keep alone")
        self.merge_button = QPushButton("Merge")
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        self.columns, self.table_button = ColumnsButton(), QPushButton("Table")
        self._arrange()

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(self.filter)
        column.addWidget(self.count)
        column.addLayout(_row(self.alone, self.choose_button))
        column.addWidget(self.chosen)
        for buttons in (
            (self.previous_button, self.next_button),
            (self.delete_button, self.keep_button, self.merge_button),
            (self.undo_button, self.redo_button),
        ):
            column.addLayout(_row(*buttons))
        column.addLayout(_row(self.columns, self.table_button))
        column.addWidget(self.told)
        self.filter.setPlaceholderText(f"Filter, such as {EXAMPLE}")
        self.filter.setClearButtonEnabled(True)
        self.filter.setToolTip(FILTER_HELP)
        helps: tuple[tuple[QWidget, str], ...] = (
            (self.alone, "Show only the objects that match, in 2D and in 3D. Nothing is deleted."),
            (self.choose_button, "Choose all objects that match, to delete, keep or merge them."),
            (self.previous_button, "Go to the object before (Shift+N)."),
            (self.next_button, "Go to the next object, of those that match (N)."),
            (self.delete_button, "Delete the chosen objects (Delete)."),
            (self.keep_button, "Delete all objects but the chosen ones."),
            (self.merge_button, "Make one object of those that are chosen, under the lowest of their numbers."),
            (self.table_button, "Show the table of these results below the image."),
        )
        for widget, words in helps:
            widget.setToolTip(words)


def _row(*widgets: Any) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
