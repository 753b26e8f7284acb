"""The form of parameters, made from the fields of ``AmgParameters``: it names none of them."""

import dataclasses
from collections.abc import Mapping
from html import escape
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_sam_amg.params import (
    AmgParameters,
    Range,
    check_value,
    parameter_choices,
    parameter_spec,
    parameter_type,
)
from napari_sam_amg.plugin.problems import Problem
from napari_sam_amg.plugin.rows import add_row, combo, form_layout

#: Far beyond every range: a box that clamps what is typed would hide the mistake instead of naming it.
_TYPED_LIMIT = 1e9
_ABBREVIATIONS = {"iou": "IoU", "nms": "NMS", "n": "number of", "pred": "predicted", "thresh": "threshold"}


class NumberBox(QDoubleSpinBox):
    """Takes any typed number; arrows and wheel stay in the allowed range."""

    def __init__(self, allowed: Range, whole: bool) -> None:
        super().__init__()
        self._allowed = allowed
        self.setRange(-_TYPED_LIMIT, _TYPED_LIMIT)
        self.setDecimals(0 if whole else 3)
        self.setSingleStep(allowed.step)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def textFromValue(self, value: float) -> str:
        """Without the zeros at the end: 0.88, not 0.880."""
        text = super().textFromValue(value)
        point = self.locale().decimalPoint()
        return text.rstrip("0").rstrip(point) if point in text else text.replace(self.locale().groupSeparator(), "")

    def stepBy(self, steps: int) -> None:
        target = self.value() + steps * self.singleStep()
        self.setValue(min(max(target, self._allowed.low), self._allowed.high))

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scrolling through the form must not change numbers on the way."""
        if event is None or self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class ParameterField:
    """One parameter and its control."""

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.kind = parameter_type(name)
        self.choices = parameter_choices(name)
        self.control: QComboBox | NumberBox = (
            combo(list(self.choices)) if self.choices else NumberBox(parameter_spec(name).metadata["range"], self.whole)
        )
        self.control.setObjectName(name)
        self.set(default)

    @property
    def whole(self) -> bool:
        return self.kind is int

    def set(self, value: Any) -> None:
        self._exact = value
        if isinstance(self.control, QComboBox):
            self.control.setCurrentText(value)
        else:
            self.control.setValue(value)
        self._shown = self._read()

    def value(self) -> Any:
        """What was set, with all its digits, until something else is typed."""
        shown = self._read()
        return self._exact if shown == self._shown else shown

    def _read(self) -> Any:
        return self.control.currentText() if isinstance(self.control, QComboBox) else self.kind(self.control.value())

    def problem(self) -> Problem | None:
        try:
            check_value(self.name, self.value())
        except ValueError as error:
            return Problem(self.control, str(error).replace(f"{self.name}=", f"{label_text(self.name)}: "))
        return None


class ParameterForm(QWidget):
    """The basic parameters, and the rest in a group that opens."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        names = [
            spec.name
            for spec in dataclasses.fields(AmgParameters)
            if spec.metadata["range"] or parameter_choices(spec.name)
        ]
        self.fields = {name: ParameterField(name, parameter_spec(name).default) for name in names}
        self.advanced = QCollapsible("Advanced", expandedIcon="▼", collapsedIcon="▶")
        self.advanced.setContentsMargins(0, 0, 0, 0)
        if (inner := self.advanced.content().layout()) is not None:
            inner.setContentsMargins(0, 0, 0, 0)  # no indent: the dock is narrow
        self._of_model: set[str] = set()  # parameters that the model chosen last has set
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._group([name for name in names if parameter_spec(name).metadata["basic"]]))
        self.advanced.addWidget(self._group([name for name in names if not parameter_spec(name).metadata["basic"]]))
        layout.addWidget(self.advanced)
        for field in self.fields.values():
            _signal(field.control).connect(lambda *_: self.changed.emit())

    def _group(self, names: list[str]) -> QWidget:
        group = QWidget()
        layout = form_layout(group)
        for name in names:
            add_row(layout, label_text(name), self.fields[name].control, _tooltip(name))
        return group

    def apply_model(self, defaults: Mapping[str, float]) -> None:
        """Show what suits a model; what only the previous model asked for goes back to the general default."""
        suited = {name: value for name, value in defaults.items() if name in self.fields and _is_allowed(name, value)}
        for name in self._of_model | suited.keys():
            kind = self.fields[name].kind
            self.fields[name].set(kind(suited.get(name, parameter_spec(name).default)))
        self._of_model = set(suited)

    def problems(self) -> list[Problem]:
        found = [problem for field in self.fields.values() if (problem := field.problem()) is not None]
        if any(self.advanced.isAncestorOf(problem.control) for problem in found):
            self.advanced.expand(animate=False)
        return found

    def parameters(self) -> AmgParameters:
        """Raises ``ValueError`` if a field is bad."""
        return AmgParameters(**{name: field.value() for name, field in self.fields.items()})


def label_text(name: str) -> str:
    """crop_nms_thresh -> Crop NMS threshold."""
    words = " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return words[0].upper() + words[1:]


def _tooltip(name: str) -> str:
    """What it does, what is allowed, and what it is called in Python and in the literature."""
    spec = parameter_spec(name)
    allowed = f"<br>Allowed: {spec.metadata['range']}." if spec.metadata["range"] else ""
    return f"<qt>{escape(spec.metadata['help'])}{allowed}<br><i>{name}</i></qt>"


def _signal(control: QComboBox | NumberBox) -> Any:
    return control.currentTextChanged if isinstance(control, QComboBox) else control.valueChanged


def _is_allowed(name: str, value: Any) -> bool:
    try:
        check_value(name, value)
    except ValueError:
        return False
    return True
