"""Which model, on which device, in which precision."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QEnterEvent
from qtpy.QtWidgets import QFileDialog, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.models.defaults import first_missing, missing_reason, model_defaults
from napari_sam_amg.models.registry import (
    EMBEDDED,
    FOLDER_VARIABLE,
    CheckpointError,
    find_own,
    is_offline,
    known_models,
    models_folder,
    own_models,
)
from napari_sam_amg.plugin.download import DownloadBox
from napari_sam_amg.plugin.problems import Problem
from napari_sam_amg.plugin.rows import add_row, combo, form_layout, show_row
from napari_sam_amg.sam.precision import PRECISIONS

FROM_FILE = "checkpoint file..."
DEVICES = ("auto", "cpu", "cuda", "mps")
MODEL_HELP = (
    f"'{EMBEDDED}' comes with the plugin. The others are downloaded once, when you press the button that appears. "
    "Choosing a model sets the thresholds that suit it."
)
DOWNLOAD_HELP = "Nothing is downloaded before you press this. What was cancelled or cut off goes on where it ended."
PRECISION_HELP = (
    "'exact' computes in 32-bit numbers. 'fast' uses 16-bit numbers where the processor or graphics card has them, and "
    "finds nearly the same masks; where it has not, a warning says so and the run is exact."
)
FILE_FILTER = "Checkpoints (*.pt *.pth *.ckpt);;All files (*)"


class ModelBox(QWidget):
    """Says which parameters suit the model as soon as one is chosen."""

    changed = Signal()
    suited = Signal(object)  # parameters by name, see ParameterForm.apply_model

    def __init__(self) -> None:
        super().__init__()
        self._reading: FunctionWorker[Any] | None = None
        self.model = combo([*known_models(), FROM_FILE])
        self.path = QLineEdit()
        self.path.setPlaceholderText("SAM checkpoint")
        self.browse = QPushButton("Browse...")
        self.download_box = DownloadBox()
        self.folder_button = QPushButton("Models folder")
        self.device = combo(list(DEVICES))
        self.precision = combo(list(PRECISIONS))
        self._add_own_models()
        self._arrange()

    def _add_own_models(self) -> None:
        """Say what the user's own models are for, and what is wrong with their file."""
        for row in range(self.model.count()):
            if own := find_own(self.model.itemText(row)):
                self.model.setItemData(row, own.description, Qt.ItemDataRole.ToolTipRole)
        for problem in own_models().problems:
            show_warning(problem)

    def _arrange(self) -> None:
        self._file = QWidget()
        column = QVBoxLayout(self._file)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.path)
        column.addWidget(self.browse)
        self.form = form_layout(self)
        add_row(self.form, "Model", self.model, MODEL_HELP)
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

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """A file that was missing may be there by now."""
        super().enterEvent(event)
        self._look()

    @property
    def from_file(self) -> bool:
        return self.model.currentText() == FROM_FILE

    @property
    def chosen(self) -> str:
        """A known name or a path, as ``load_model`` takes it."""
        return self.path.text().strip() if self.from_file else self.model.currentText()

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
            folder = models_folder()
        except CheckpointError as error:
            show_error(str(error))
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            show_error(f"The folder {folder} cannot be made: {error.strerror}")
            return
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
            show_error(f"There is no program here that shows folders; the models are in {folder}")

    def _choose(self, *_: Any) -> None:
        show_row(self.form, self._file, self.from_file)
        self._look()
        self.find_defaults()

    def _look(self) -> None:
        """See whether the file of the chosen model is there, and offer to download it if not."""
        self.download_box.offer(None if is_offline() else first_missing(self.chosen))
        show_row(self.form, self.download_box, self.download_box.is_wanted)
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
