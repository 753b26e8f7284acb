"""Where the labels go: into memory, or into a folder, where a run can be continued."""

from math import prod
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_sam_amg.io.memory import memory_limit
from napari_sam_amg.plugin.choices.folders import output_problem, typed_path
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.rows import add_row, combo, form_layout, show_row

IN_MEMORY, IN_FOLDER = "in memory", "in a folder"
SHARE = 0.25  # of the memory, that labels may take: the image and the model are there, too
LABEL_BYTES = 4
HELP = (
    "In memory, or as an OME-Zarr in a folder, which takes stacks larger than memory: the layer shows it as it grows. "
    "What is done stays there: the same run, started again, continues, also after napari was closed."
)


class ResultsBox(QWidget):
    """Shown where there is more than one plane, or labels that are large."""

    changed = Signal()

    def __init__(self, folder: str = "", most: int | None = None) -> None:
        """``folder`` to begin with; ``most``: bytes that labels may take in memory, by default a share of it."""
        super().__init__()
        self._most = most
        self.where = combo([IN_MEMORY, IN_FOLDER])
        self.folder, self.browse = QLineEdit(folder), QPushButton("Choose...")
        self.form = form_layout(self)
        add_row(self.form, "Results", self.where, HELP)
        self._row = QWidget()
        beside = QHBoxLayout(self._row)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.addWidget(self.folder, stretch=1)
        beside.addWidget(self.browse)
        add_row(self.form, "Folder", self._row, "The folder in which the results are written. It is made if need be.")
        self.where.currentIndexChanged.connect(self._show)
        self.folder.textChanged.connect(lambda *_: self.changed.emit())
        self.browse.clicked.connect(self._browse)
        self._show()

    def _show(self) -> None:
        show_row(self.form, self._row, self.where.currentText() == IN_FOLDER)
        self.changed.emit()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the results", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    @property
    def chosen(self) -> Path | None:
        """The folder; None for memory, and while the box is hidden."""
        text = self.folder.text().strip()
        is_used = not self.isHidden() and self.where.currentText() == IN_FOLDER
        return typed_path(text) if is_used and text else None

    def suit(self, planes: int, shape: tuple[int, ...] | None) -> None:
        """Be there where it is of use: ``planes`` will be segmented, into labels of ``shape``; None if not known."""
        self._shape = shape
        self.setVisible(planes > 1 or too_large(shape, self._most))

    def problems(self) -> list[Problem]:
        if self.isHidden():
            return []
        if self.where.currentText() == IN_MEMORY:
            if not too_large(self._shape, self._most):
                return []
            needed, there = prod(self._shape or ()) * LABEL_BYTES / 1e9, (self._most or memory_limit() or 0) / 1e9
            allowed = "allowed in the Preferences" if self._most else "of memory"
            words = f"The labels take {needed:.1f} GB, there are {there:.1f} GB {allowed}: write them to a folder."
            return [Problem(self.where, f"Results: {words}")]
        if not self.folder.text().strip():
            return [Problem(self.folder, "Folder: choose one for the results.")]
        reason = output_problem(typed_path(self.folder.text().strip()))
        return [Problem(self.folder, f"Folder: {reason}")] if reason else []


def too_large(shape: tuple[int, ...] | None, most: int | None = None) -> bool:
    """Whether labels of this shape should not lie in memory: more than ``most`` bytes, or than a share of it."""
    limit = memory_limit()
    allowed = most if most is not None or limit is None else SHARE * limit
    return shape is not None and allowed is not None and prod(shape) * LABEL_BYTES > allowed
