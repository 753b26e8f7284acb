"""What a batch reads and what it writes: the fields of the tab, and what is wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_sam_amg.plugin.batch.batch_layers import LayerImage, layer_images
from napari_sam_amg.plugin.choices.folders import output_problem, typed_path
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.rows import add_row, combo, form_layout, show_row

LAYERS, FILES = "all image layers", "files or a folder"
KEEP, REPLACE = "keep them, do the rest", "replace them"
#: Format of the command line: what it is called here, and what is in it.
FORMATS = {
    "labels": ("Labels (TIFF) and table", "NAME_labels.tif with pixel sizes, and NAME_features.csv: a row an object."),
    "zarr": ("Labels (OME-Zarr)", "NAME_labels.ome.zarr with coarser levels, for large stacks, and the table."),
    "rois": ("ImageJ regions", "NAME_rois.zip: open it in the ROI Manager of ImageJ or Fiji."),
    "coco-rle": ("COCO masks", "NAME_masks.json: all masks, overlapping ones too, as run lengths."),
    "overlay": ("Overlay picture", "NAME_overlay.png: the labels over the image, to look through many at a glance."),
}
WHAT_HELP = "Every image layer that is open here, or image files on disk, which need not be opened."
PATHS_HELP = "Files, or a folder with images. Several are separated by semicolons."
OUTPUT_HELP = "The folder in which the results of all images are written. It is made if need be."
THERE_HELP = (
    "Images whose results are there, from the same image and settings, need not be done again: so a batch that was "
    "cancelled, or a folder to which images came, is continued. Replace them to do all anew."
)
CHANNEL_HELP = "Of images with channels the one to segment, counted from 0; 'first' takes the first, or all colours."
TABLES_HELP = "Also write the tables of all images as one, all_features.csv, with a column that names the image."
BETWEEN = ";"


class BatchChoices(QWidget):
    """The fields of the batch tab."""

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._no_images = ""  # why there are none, if somebody has looked
        self.what, self.there = combo([FILES, LAYERS]), combo([KEEP, REPLACE])
        self.paths, self.output = QLineEdit(), QLineEdit()
        self.choose_files, self.choose_folder = QPushButton("Files..."), QPushButton("Folder...")
        self.choose_output = QPushButton("Choose...")
        self.recursive = QCheckBox("and its subfolders")
        self.formats = {name: QCheckBox(words) for name, (words, _) in FORMATS.items()}
        self.formats["labels"].setChecked(True)
        self.tables = QCheckBox("One table of all images")
        self.channel = QSpinBox()
        self.channel.setRange(-1, 99)
        self.channel.setSpecialValueText("first")
        self.channel.setValue(-1)
        self._arrange()
        self._connect()
        self._show()

    def _arrange(self) -> None:
        self.form = form_layout(self)
        self._images = _stacked(self.paths, _beside(self.choose_files, self.choose_folder), self.recursive)
        self._outputs = _stacked(*self.formats.values(), self.tables)
        for name, (_, help_text) in FORMATS.items():
            self.formats[name].setToolTip(help_text)
        self.tables.setToolTip(TABLES_HELP)
        rows = (
            ("Segment", self.what, WHAT_HELP),
            ("Images", self._images, PATHS_HELP),
            ("Channel", self.channel, CHANNEL_HELP),
            ("Results in", _stacked(self.output, self.choose_output), OUTPUT_HELP),
            ("Write", self._outputs, "What is written for each image, beside NAME_run.json with all settings."),
            ("Results there", self.there, THERE_HELP),
        )
        for text, control, tooltip in rows:
            add_row(self.form, text, control, tooltip)

    def _connect(self) -> None:
        for signal in (self.what.currentIndexChanged, self.there.currentIndexChanged, self.channel.valueChanged):
            signal.connect(self._show)
        for line in (self.paths, self.output):
            line.textChanged.connect(self._show)
        for signal in (self.paths.textChanged, self.recursive.toggled):
            signal.connect(lambda *_: self.say_no_images(""))
        for box in (*self.formats.values(), self.tables, self.recursive):
            box.toggled.connect(self._show)
        self.choose_files.clicked.connect(self._browse_files)
        self.choose_folder.clicked.connect(self._browse_folder)
        self.choose_output.clicked.connect(self._browse_output)
        layers = self._viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.reordered):
            event.connect(self._show)

    def _show(self, *_: Any) -> None:
        show_row(self.form, self._images, not self.of_layers)
        self.changed.emit()

    @property
    def of_layers(self) -> bool:
        return self.what.currentText() == LAYERS

    @property
    def chosen_paths(self) -> tuple[Path, ...]:
        parts = (part.strip() for part in self.paths.text().split(BETWEEN))
        return tuple(typed_path(part) for part in parts if part)

    @property
    def folder(self) -> Path | None:
        """For the results."""
        text = self.output.text().strip()
        return typed_path(text) if text else None

    @property
    def image_layers(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def layers(self) -> list[LayerImage]:
        return layer_images(self.image_layers)

    def options(self) -> dict[str, Any]:
        """Of ``batch.one_file.Options``."""
        chosen = [name for name, box in self.formats.items() if box.isChecked()]
        return {
            "formats": frozenset(name for name in chosen if name != "overlay"),
            "overlay": "overlay" in chosen,
            "channel": self.channel.value() if self.channel.value() >= 0 else None,
            "overwrite": self.there.currentText() == REPLACE,
            "skip_existing": self.there.currentText() == KEEP,
        }

    def problems(self) -> list[Problem]:
        found = []
        if self.of_layers and not self.image_layers:
            found.append(Problem(self.what, "Segment: there is no image layer. Open images, or choose files."))
        if not self.of_layers:
            found += self._path_problems()
        if self.folder is None:
            found.append(Problem(self.output, "Results in: choose a folder.", is_open=True))
        elif reason := output_problem(self.folder):
            found.append(Problem(self.output, f"Results in: {reason}"))
        if not any(box.isChecked() for box in self.formats.values()):
            found.append(Problem(self._outputs, "Write: choose at least one."))
        return found

    def _path_problems(self) -> list[Problem]:
        if not self.chosen_paths:
            return [Problem(self.paths, "Images: choose files or a folder.", is_open=True)]
        missing = [path for path in self.chosen_paths if not path.exists()]
        if missing:
            return [Problem(self.paths, f"Images: there is no {missing[0]}.")]
        return [Problem(self.paths, f"Images: {self._no_images}")] if self._no_images else []

    @property
    def lacks_images(self) -> bool:
        """Whether somebody has looked, and there were none."""
        return bool(self._no_images)

    def say_no_images(self, reason: str) -> None:
        """What was found by who has looked for the images; until other ones are chosen."""
        self._no_images = reason

    def _browse_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Images to segment", self._start())
        if files:
            self.paths.setText(f"{BETWEEN} ".join(files))

    def _browse_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder of images to segment", self._start()):
            self.paths.setText(folder)

    def _start(self) -> str:
        return str(self.chosen_paths[0]) if self.chosen_paths else ""

    def _browse_output(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder for the results", self.output.text()):
            self.output.setText(folder)


def _stacked(*parts: QWidget) -> QWidget:
    return _with(QVBoxLayout(), parts)


def _beside(*parts: QWidget) -> QWidget:
    return _with(QHBoxLayout(), parts)


def _with(layout: QHBoxLayout | QVBoxLayout, parts: Sequence[QWidget]) -> QWidget:
    whole = QWidget()
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
    whole.setLayout(layout)
    return whole
