"""The row of presets: choose one, save what is chosen now, delete one of one's own."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QMessageBox, QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.plugin.choices.form import ParameterForm
from napari_sam_amg.plugin.choices.model_box import ModelBox
from napari_sam_amg.plugin.choices.presets import OWN, OwnPresets, Preset, built_in, own_presets, save_preset
from napari_sam_amg.plugin.choices.rows import FullNameCombo, add_row, form_layout
from napari_sam_amg.plugin.keys import ENTER

HELP = (
    "Settings by name: those built in, or your own. The thresholds and all below are set at once; choose it again to "
    "go back to it after a change."
)
SAVE_HELP = "Save model and settings as they are now under a name. The command line takes the file: --settings FILE."
CHANGED = " (changed)"


class PresetsBox(QWidget):
    """Follows the model: presets say other numbers for other models."""

    changed = Signal()

    def __init__(self, model_box: ModelBox, form: ParameterForm) -> None:
        super().__init__()
        self._model_box, self._form = model_box, form
        self._suited: dict[str, Any] = {}  # what suits the chosen model
        self._awaited: tuple[Preset, str] | None = None  # and the model of which it is not known yet what suits it
        self._said: tuple[str, ...] = ()  # problems
        self._applied: dict[str, Any] = {}  # values of the fields of what was chosen last
        self.preset = _PresetList()
        self.save_button, self.delete_button = QPushButton("Save..."), QPushButton("Delete")
        self.name, self.keep_button, self.leave_button = QLineEdit(), QPushButton("Save"), QPushButton("Cancel")
        self._arrange()
        self._connect()
        self.list_presets()

    def _arrange(self) -> None:
        self.naming = _Naming()
        _beside(self.naming, self.name, self.keep_button, self.leave_button)
        self.naming.setVisible(False)
        self.name.setPlaceholderText("Name")
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.preset)
        column.addWidget(_beside(QWidget(), self.save_button, self.delete_button))
        column.addWidget(self.naming)
        add_row(form_layout(self), "Preset", whole, HELP)
        self.preset.setToolTip(f"<qt>{HELP}</qt>")
        self.save_button.setToolTip(SAVE_HELP)
        self.delete_button.setToolTip("Delete the chosen preset, if it is one of your own.")

    def _connect(self) -> None:
        self._form.changed.connect(self._mark_changed)
        self.preset.opened.connect(self.list_presets)
        self.preset.activated.connect(self._choose)
        self.save_button.clicked.connect(self._ask_name)
        self.naming.entered.connect(self._save)
        self.keep_button.clicked.connect(self._save)
        self.leave_button.clicked.connect(lambda: self.naming.setVisible(False))
        self.delete_button.clicked.connect(self._delete)

    @property
    def chosen(self) -> Preset:
        return cast(Preset, self.preset.currentData())

    def list_presets(self, choose: str = "") -> None:
        """Those built in and those in the folder, whose problems are said once; the chosen one stays chosen."""
        keep, own = choose or (self.chosen.name if self.preset.count() else ""), own_presets()
        self._say(own)
        self.preset.blockSignals(True)
        self.preset.clear()
        for preset in (*built_in(self._model_box.chosen), *own.presets):
            self.preset.addItem(preset.name, preset)
            self.preset.setItemData(self.preset.count() - 1, preset.about, Qt.ItemDataRole.ToolTipRole)
        self._choose_row(keep)
        self.preset.blockSignals(False)
        self._mark_changed()

    def _choose_row(self, name: str) -> None:
        """The first, which is the model's own, where there is no such preset."""
        names = [self.preset.itemData(row).name for row in range(self.preset.count())]
        self.preset.setCurrentIndex(names.index(name) if name in names else 0)

    def _say(self, own: OwnPresets) -> None:
        for problem in own.problems:
            if problem not in self._said:
                show_warning(problem)
        self._said = own.problems

    def take_suited(self, defaults: Mapping[str, Any]) -> None:
        """Another model: the form shows its own settings now, but for what was typed."""
        self._suited = dict(defaults)
        with suppress(ValueError):  # of a file that says what is not allowed, which the form leaves out
            self._applied = self._form.values() | self._shown(merged(self._suited))
        awaited, self._awaited = self._awaited, None
        if awaited is None or awaited[1] != self._model_box.chosen:
            self.list_presets(choose=OWN)
            return
        preset, typed = awaited[0], {name: field.value() for name, field in self._form.fields.items() if field.is_own}
        self.list_presets(choose=preset.name)
        self._show(preset)
        self._form.take(typed)  # since it was chosen

    def _shown(self, params: AmgParameters) -> dict[str, Any]:
        """The values of the form's fields that these would make."""
        return {name: value for name in self._form.fields if (value := getattr(params, name)) is not None}

    def _choose(self, _: int = 0) -> None:
        preset = self.chosen
        missing = self._take_model(preset)
        # what suits the model of a file is known when that was read, and then the preset is shown once more
        self._awaited = (preset, self._model_box.chosen) if self._model_box.from_file else None
        self._choose_row(preset.name)  # the model has brought back its own
        self._show(preset)
        if missing:
            show_warning(missing)

    def _show(self, preset: Preset) -> None:
        try:
            params = merged(self._suited, preset.settings.parameters)
            params = preset.settings.params() if preset.settings.is_whole else params
        except ValueError as error:
            show_error(f"{preset.name}: {error}")
            return
        self._form.show_parameters(params)
        self._applied = self._form.values()
        self._mark_changed()

    def _take_model(self, preset: Preset) -> str:
        """Choose the preset's model, if it names one; what there is to say where it cannot be had."""
        settings = preset.settings
        if settings.precision:
            self._model_box.precision.setCurrentText(settings.precision)
        if not settings.model or settings.model == self._model_box.chosen or self._model_box.choose(settings.model):
            return ""
        return f"{preset.name}: there is no model {settings.model!r}; its numbers are shown for the one that is chosen"

    def _mark_changed(self) -> None:
        """Say so if something was typed since."""
        if self.preset.currentIndex() < 0:
            return
        is_changed = bool(self._applied) and self._form.values() != self._applied
        for row in range(self.preset.count()):
            is_said = is_changed and row == self.preset.currentIndex()
            self.preset.setItemText(row, self.preset.itemData(row).name + CHANGED * is_said)
        self.delete_button.setEnabled(self.chosen.path is not None)
        self.changed.emit()

    def _ask_name(self) -> None:
        self.name.setText(self.chosen.name if self.chosen.path is not None else "")
        self.naming.setVisible(True)
        self.name.setFocus()
        self.name.selectAll()  # who types another name means it instead

    def _save(self) -> None:
        name = self.name.text().strip()
        try:
            self._form.parameters()  # what is not allowed is not saved
            path = save_preset(
                name, self._model_box.chosen, self._model_box.precision.currentText(), self._form.values()
            )
        except (OSError, ValueError) as error:
            show_error(explain_in_window(error))
            return
        self.naming.setVisible(False)
        self._applied = self._form.values()
        self.list_presets(choose=name)
        show_info(f"Saved as {path}")

    def _is_sure(self, name: str) -> bool:
        answer = QMessageBox.question(self, "Delete preset", f"Delete the preset '{name}'? Its file goes, too.")
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _delete(self) -> None:
        path = self.chosen.path
        if path is None or not self._is_sure(self.chosen.name):
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            show_error(f"{path} cannot be deleted: {error.strerror}")
        self.list_presets()


class _PresetList(FullNameCombo):
    """Looked for again when it is opened: files may have come meanwhile."""

    opened = Signal()

    def showPopup(self) -> None:
        self.opened.emit()
        super().showPopup()


class _Naming(QWidget):
    """Enter saves and Escape leaves: the dock widget would run, or cancel."""

    entered = Signal()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is None or event.key() not in (*ENTER, Qt.Key.Key_Escape):
            super().keyPressEvent(event)
            return
        event.accept()
        if event.key() == Qt.Key.Key_Escape:
            self.setVisible(False)
        else:
            self.entered.emit()


def _beside(row: QWidget, *parts: QWidget) -> QWidget:
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
    return row
