"""The list of the images of a batch, and what became of each."""

from collections.abc import Sequence

from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_sam_amg.plugin.choices.problems import RED

LIST_HEIGHT, NAME_WIDTH = 130, 160  # px
WAITING, READING = "", "reading..."


class ImageStates(QTreeWidget):
    """A row for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.setHeaderLabels(["Image", "State"])
        self.names: list[str] = []
        self.setRootIsDecorated(False)
        self.setMinimumHeight(LIST_HEIGHT)
        if (header := self.header()) is not None:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
            header.resizeSection(0, NAME_WIDTH)

    def show_names(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.clear()
        self.addTopLevelItems([QTreeWidgetItem([name, WAITING]) for name in names])
        self.setHeaderLabels([f"Image ({len(names)})" if names else "Image", "State"])
        for row, name in enumerate(names):
            self.topLevelItem(row).setToolTip(0, name)  # type: ignore[union-attr]

    def show_share(self, row: int, share: float | None) -> None:
        """How much of an image is done; None before that is known."""
        self.say(row, READING if share is None else f"{100 * share:.0f} %")

    def say(self, row: int, words: str, is_bad: bool = False) -> None:
        item = self.topLevelItem(row)
        if item is not None:
            if is_bad:
                item.setForeground(1, QColor(RED))
            item.setText(1, words)
            item.setToolTip(1, words)
            self.scrollToItem(item)

    def end(self) -> None:
        """No image goes on."""
        for row in range(self.topLevelItemCount()):
            item = self.topLevelItem(row)
            if item is not None and (item.text(1).endswith("%") or item.text(1) == READING):
                item.setText(1, "not done")
