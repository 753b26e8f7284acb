"""Which model, on which device, in which precision."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QEnterEvent
from qtpy.QtWidgets import QFileDialog, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.models.defaults import first_missing, missing_reason, model_defaults
from napari_sam_amg.models.registry import (
    FOLDER_VARIABLE,
    CheckpointError,
    is_offline,
    known_models,
    models_folder,
    own_models,
)
from napari_sam_amg.plugin.choices.devices import is_torch_there, known_devices, likely_devices
from napari_sam_amg.plugin.choices.download import DownloadBox
from napari_sam_amg.plugin.choices.folders import show_folder
from napari_sam_amg.plugin.choices.model_names import described, details, purpose
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.rows import FullNameCombo, add_row, combo, form_layout, show_row, wrapped_label
from napari_sam_amg.plugin.preferences import Preferences
from napari_sam_amg.sam.precision import PRECISIONS

FROM_FILE = "checkpoint file..."
MODEL_HELP = (
    "What the model was made for. The first comes with the plugin, the others are downloaded once, when you press the "
    "button that appears. "
    "Choosing a model sets the thresholds that suit it."
)
DOWNLOAD_HELP = "Nothing is downloaded before you press this. What was cancelled or cut off goes on where it ended."
PRECISION_HELP = (
    "'exact' computes in 32-bit numbers. 'fast' uses 16-bit numbers where the processor or graphics card has them, and "
    "finds nearly the same masks; where it has not, a warning says so and the run is exact."
)
FILE_FILTER = "Checkpoints (*.pt *.pth *.ckpt);;All files (*)"


class ModelCombo(FullNameCombo):
    """Shows what models are for; their names are found, chosen and told by :attr:`name`."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        for name in names:
            self.addItem(name if name == FROM_FILE else purpose(name), name)
            if name != FROM_FILE:
                self.setItemData(self.count() - 1, described(name), Qt.ItemDataRole.ToolTipRole)

    @property
    def name(self) -> str:
        return str(self.currentData())

    def whole_name(self) -> str:
        return self.currentText() if self.name == FROM_FILE else f"{self.currentText()}\n{described(self.name)}"

    def findText(self, text: str | None, *_: Any) -> int:
        """By name, or else by what is shown; -1 if there is none."""
        row = self.findData(text)
        return row if row >= 0 else super().findText(text)

    def setCurrentText(self, text: str | None) -> None:
        """By name, or else by what is shown."""
        self.setCurrentIndex(self.findText(text))


class ModelBox(QWidget):
    """Says which parameters suit the model as soon as one is chosen."""

    changed = Signal()
    suited = Signal(object)  # parameters by name, see ParameterForm.apply_model

    def __init__(self, preferred: Preferences | None = None) -> None:
        super().__init__()
        self._reading: FunctionWorker[Any] | None = None
        self._asking: FunctionWorker[Any] | None = None  # for devices
        self.model = ModelCombo([*known_models(), FROM_FILE])
        self.details = wrapped_label()
        self.path = QLineEdit()
        self.path.setPlaceholderText("SAM checkpoint")
        self.browse = QPushButton("Browse...")
        self.download_box = DownloadBox()
        self.folder_button = QPushButton("Models folder")
        self.device = combo(list(likely_devices()))
        self.precision = combo(list(PRECISIONS))
        for problem in own_models().problems:
            show_warning(problem)
        self._arrange()
        self._prefer(preferred or Preferences())

    def _prefer(self, preferred: Preferences) -> None:
        """Begin with what napari's Preferences say, as far as it is there."""
        for words, box, wanted in (("model", self.model, preferred.model), ("device", self.device, preferred.device)):
            if box.findText(wanted) >= 0:
                box.setCurrentText(wanted)
            else:
                show_warning(
                    f"The {words} {wanted!r} of the Preferences is not there: {box.currentText()!r} is chosen."
                )

    def _arrange(self) -> None:
        self._file = QWidget()
        column = QVBoxLayout(self._file)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.path)
        column.addWidget(self.browse)
        self.form = form_layout(self)
        add_row(self.form, "Model", self.model, MODEL_HELP)
        add_row(self.form, "", self.details, "The model's name, its size, and whether its file is here.")
        add_row(self.form, "Download", self.download_box, DOWNLOAD_HELP)
        add_row(self.form, "File", self._file, "A checkpoint of SAM, MobileSAM, micro-sam or this plugin.")
        folder = "the folder"
        with suppress(CheckpointError):  # which own_models() has said
            folder = f"{models_folder()},"
        folder_help = f"Open {folder} where downloaded models are (another folder: set {FOLDER_VARIABLE})."
        add_row(self.form, "", self.folder_button, folder_help)
        add_row(self.form, "Device", self.device, "Where to compute; 'auto' takes a graphics card if there is one.")
        add_row(self.form, "Precision", self.precision, PRECISION_HELP)
        show_row(self.form, self._file, False)
        show_row(self.form, self.download_box, False)
        self.model.currentTextChanged.connect(self._choose)
        self.path.textChanged.connect(self._choose)
        self.browse.clicked.connect(self._browse)
        self.download_box.changed.connect(self._look)
        self.folder_button.clicked.connect(self._open_folder)
        for box in (self.device, self.precision):
            box.currentTextChanged.connect(lambda *_: self.changed.emit())
        self._look()

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """A file that was missing may be there by now."""
        super().enterEvent(event)
        self._look()

    @property
    def from_file(self) -> bool:
        return self.model.name == FROM_FILE

    @property
    def chosen(self) -> str:
        """A known name or a path, as ``load_model`` takes it."""
        return self.path.text().strip() if self.from_file else self.model.name

    @property
    def words(self) -> str:
        """What is chosen, in words."""
        return f"the file {self.chosen}" if self.from_file else f"{self.model.currentText()} ({self.chosen})"

    def choose(self, model: str) -> bool:
        """A known name, or the path of a file; returns whether there is such a one."""
        row = self.model.findData(model)
        if row < 0 and not Path(model).is_file():
            return False
        self.model.setCurrentText(FROM_FILE if row < 0 else model)
        if row < 0:
            self.path.setText(model)
        return True

    def update_devices(self) -> None:
        """List what torch has found, as soon as something else has imported it."""
        if self._asking is None and is_torch_there():
            self._asking = create_worker(known_devices)
            self._asking.returned.connect(self._list_devices)
            self._asking.start()

    def _list_devices(self, devices: tuple[str, ...]) -> None:
        chosen = self.device.currentText()
        self.device.blockSignals(True)
        self.device.clear()
        self.device.addItems(devices)
        self.device.setCurrentText(chosen)
        self.device.blockSignals(False)
        if self.device.currentText() != chosen:
            self.changed.emit()

    def problems(self) -> list[Problem]:
        if self.download_box.is_downloading(self.chosen):
            return [Problem(self.download_box, f"Model: {self.chosen!r} is being downloaded")]
        reason = missing_reason(self.chosen)
        control = self.path if self.from_file else self.model
        return [Problem(control, f"Model: {reason}")] if reason else []

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a SAM checkpoint", self.path.text(), FILE_FILTER)
        if path:
            self.path.setText(path)

    def _open_folder(self) -> None:
        try:
            show_folder(models_folder(), "the models are")
        except CheckpointError as error:
            show_error(str(error))

    def _choose(self, *_: Any) -> None:
        show_row(self.form, self._file, self.from_file)
        self._look()
        self.find_defaults()

    def _look(self) -> None:
        """See whether the file of the chosen model is there, and offer to download it if not."""
        self.download_box.offer(None if is_offline() else first_missing(self.chosen))
        show_row(self.form, self.download_box, self.download_box.is_wanted)
        self.details.setText("" if self.from_file else details(self.chosen))
        show_row(self.form, self.details, not self.from_file)
        self.changed.emit()

    def find_defaults(self) -> None:
        """Find what suits the chosen model; a file is read in the background, it may have to be hashed."""
        model = self.chosen
        # thresholds of a known model are known without its file
        if missing_reason(model) is not None and self.from_file:
            return
        if not self.from_file:
            self.suited.emit(model_defaults(model))
            return
        self._reading = create_worker(model_defaults, model)
        self._reading.returned.connect(lambda defaults: self._found(model, defaults))
        self._reading.start()

    def _found(self, model: str, defaults: Mapping[str, float | str]) -> None:
        """Ignore an answer that comes after another model was chosen."""
        if model == self.chosen:
            self.suited.emit(defaults)
