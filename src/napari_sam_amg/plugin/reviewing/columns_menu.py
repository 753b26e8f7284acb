"""The menu of columns that are measured on demand. It stays open while boxes are ticked."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QMenu, QPushButton, QWidget, QWidgetAction

from napari_sam_amg.plugin.reviewing.column_help import column_help
from napari_sam_amg.plugin.reviewing.measuring import OWN_IMAGE, Asked
from napari_sam_amg.review.measures import SHAPES, STATISTICS, shape_names

MARGINS = (14, 0, 6, 0)  # px around the box of a column, which is below the head of its group


class ColumnsButton(QPushButton):
    """Opens the menu; says what is wanted when it is closed again."""

    asked = Signal(object)  # an Asked

    def __init__(self) -> None:
        super().__init__()
        self.setText("More columns...")
        self.setToolTip("Measure the shape of the objects, and their intensity in any image.")
        self.boxes: dict[tuple[str, str], QCheckBox] = {}  # ("", shape) or (image, statistic)
        self._own = ""
        self.menu_of_columns = QMenu(self)
        self.setMenu(self.menu_of_columns)
        self.menu_of_columns.aboutToHide.connect(self._tell)

    def fill(self, images: Sequence[str], own: str, link: str, asked: Asked) -> None:
        """``images``: names of layers; ``own``: of the one that was segmented, if it is there."""
        menu, self._own = self.menu_of_columns, own
        menu.clear()
        self.boxes.clear()
        self._head("Shape")
        for name in shape_names(link):
            self._add("", name, name.replace("_", " "), SHAPES[name], name in asked.shapes)
        if not shape_names(link):
            self._head("   (none: objects through time change theirs)")
        for image in images:
            self._head(f"Intensity in '{image}'")
            for name, words in STATISTICS.items():
                key = OWN_IMAGE if image == own else image
                self._add(image, name, name, words, (key, name) in asked.statistics)

    def _head(self, text: str) -> None:
        action, label = QWidgetAction(self.menu_of_columns), QLabel(text)
        label.setContentsMargins(6, 4, 6, 2)
        action.setDefaultWidget(label)
        self.menu_of_columns.addAction(action)

    def _add(self, image: str, name: str, text: str, words: str, is_on: bool) -> None:
        action, box, holder = QWidgetAction(self.menu_of_columns), QCheckBox(text), QWidget()
        beside = QHBoxLayout(holder)  # a box has no margins of its own
        beside.setContentsMargins(*MARGINS)
        beside.addWidget(box)
        box.setToolTip(column_help(name) or words)
        box.setChecked(is_on)
        action.setDefaultWidget(holder)
        self.menu_of_columns.addAction(action)
        self.boxes[image, name] = box

    def _tell(self) -> None:
        ticked = [key for key, box in self.boxes.items() if box.isChecked()]
        shapes = frozenset(name for image, name in ticked if not image)
        statistics = frozenset((OWN_IMAGE if image == self._own else image, name) for image, name in ticked if image)
        self.asked.emit(Asked(shapes, statistics))
