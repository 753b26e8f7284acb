"""The form of parameters: magicgui widgets made from the fields of ``AmgParameters``. It names none of them."""

import dataclasses
from collections.abc import Mapping
from html import escape
from typing import Any, cast

from magicgui.widgets import create_widget
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_sam_amg.params import (
    AmgParameters,
    check_value,
    parameter_choices,
    parameter_spec,
    parameter_type,
    whole_numbers,
)
from napari_sam_amg.plugin.choices.decimals import DecimalSpinBox
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.rows import add_row, form_layout, show_row

#: Far beyond every range: a box that clamps what is typed would hide the mistake instead of naming it.
_TYPED_LIMIT = 10**9
_ABBREVIATIONS = {"iou": "IoU", "nms": "NMS", "n": "number of", "pred": "predicted", "thresh": "threshold"}


class WheelGuard(QObject):
    """Scrolling through the form must not change numbers on the way: the wheel acts on a focused control only."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or not isinstance(watched, QWidget) or event.type() != QEvent.Type.Wheel or watched.hasFocus():
            return False
        event.ignore()
        return True


class ParameterField:
    """One parameter and its magicgui widget."""

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.kind = parameter_type(name)
        self.widget = cast(Any, create_widget(value=default, name=name, label=label_text(name), **_options(name)))
        self.control.setObjectName(name)
        self.control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._guard = WheelGuard()
        self.control.installEventFilter(self._guard)
        self._suited = default
        self.is_own = False  # a person has chosen another value than the one that suits the model
        cast(Any, self.widget).changed.connect(self._note)
        self.set(default)

    @property
    def control(self) -> QWidget:
        """What the widget is in Qt."""
        return cast(QWidget, self.widget.native)

    def set(self, value: Any) -> None:
        # a spin box rounds to its decimals: thresholds of a model would come back changed
        self._exact = self._shown = value
        self.widget.value = value
        self._shown = self.widget.value
        self._note()

    def suit(self, value: Any) -> None:
        """Another model is chosen, which this value suits: what a person has chosen stays."""
        self._suited = value
        if not self.is_own:
            self.set(value)

    def _note(self, *_: Any) -> None:
        self.is_own = self.value() != self._suited

    def value(self) -> Any:
        """What was set, with all its digits, until something else is typed."""
        shown = self.widget.value
        return self._exact if shown == self._shown else shown

    def problem(self) -> Problem | None:
        try:
            check_value(self.name, self.value())
        except ValueError as error:
            return Problem(self.control, str(error).replace(f"{self.name}=", f"{label_text(self.name)}: "))
        return None


def _options(name: str) -> dict[str, Any]:
    """Arguments of ``magicgui.widgets.create_widget``: a combo box for words, a spin box for a number."""
    if choices := parameter_choices(name):
        words = parameter_spec(name).metadata["words"]
        return {"widget_type": "ComboBox", "options": {"choices": [(words.get(one, one), one) for one in choices]}}
    step = parameter_spec(name).metadata["range"].step
    limits = {"min": -_TYPED_LIMIT, "max": _TYPED_LIMIT}
    if parameter_type(name) is int:
        return {"widget_type": "SpinBox", "options": {**limits, "step": int(step)}}
    return {"widget_type": DecimalSpinBox, "options": {**limits, "step": step}}


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
        self.advanced = QCollapsible(expandedIcon=QIcon(), collapsedIcon=QIcon())
        self.advanced.toggled.connect(self._show_advanced)
        self._show_advanced(False)
        self.advanced.setContentsMargins(0, 0, 0, 0)
        for layout_of in (self.advanced, self.advanced.content()):
            if (inner := layout_of.layout()) is not None:
                inner.setContentsMargins(0, 0, 0, 0)  # no indent: the dock is narrow
        self._of_model: set[str] = set()  # parameters that the model chosen last has set
        self._layouts: dict[str, QFormLayout] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._group([name for name in names if parameter_spec(name).metadata["basic"]]))
        self.advanced.addWidget(self._group([name for name in names if not parameter_spec(name).metadata["basic"]]))
        layout.addWidget(self.advanced)
        for field in self.fields.values():
            field.widget.changed.connect(lambda *_: self.changed.emit())

    def _show_advanced(self, is_open: bool) -> None:
        """An arrow of text has the colour of the theme; superqt's icon is black in all of them.

        superqt leaves fields without height, in which the Tab key would go through all of them unseen.
        """
        self.advanced.setText(f"{'▾' if is_open else '▸'}  Advanced")
        self.advanced.content().setVisible(is_open)

    def _group(self, names: list[str]) -> QWidget:
        group = QWidget()
        layout = form_layout(group)
        self._layouts |= dict.fromkeys(names, layout)
        for name in names:
            add_row(layout, label_text(name), self.fields[name].control, _tooltip(name))
        return group

    def apply_model(self, defaults: Mapping[str, float]) -> None:
        """Show what suits a model; what only the previous model asked for goes back to the general default.

        Values that a person has typed stay.
        """
        given = whole_numbers(defaults).items()
        suited = {name: value for name, value in given if name in self.fields and _is_allowed(name, value)}
        for name in self._of_model | suited.keys():
            kind = self.fields[name].kind
            # a model's file may say 1 for 1.0, and magicgui's boxes take one type
            self.fields[name].suit(kind(suited.get(name, parameter_spec(name).default)))
        self._of_model = set(suited)

    def values(self) -> dict[str, Any]:
        """What the fields hold, allowed or not."""
        return {name: field.value() for name, field in self.fields.items()}

    def show_parameters(self, params: AmgParameters) -> None:
        """All of them, whoever chose them; what a field cannot show stays as it is.

        None of them is typed: another model brings its own.
        """
        self.blockSignals(True)  # one look at the whole is enough
        for name, field in self.fields.items():
            if getattr(params, name) is not None:
                field.set(getattr(params, name))
                field.is_own = False
        self.blockSignals(False)
        self.changed.emit()

    def take(self, values: Mapping[str, Any]) -> None:
        """Choose values by name; they are those of a person, and stay whatever model is chosen."""
        for name, value in values.items():
            self.fields[name].set(value)

    def problems(self) -> list[Problem]:
        found = [problem for field in self.fields.values() if (problem := field.problem()) is not None]
        found = found or self._problems_of_several()
        if any(self.advanced.isAncestorOf(problem.control) for problem in found):
            self.advanced.expand(animate=False)
        return found

    def _problems_of_several(self) -> list[Problem]:
        """What is wrong with fields together that are good each by itself."""
        try:
            self.parameters()
        except ValueError as error:
            words, named = str(error), []
            for name, field in self.fields.items():
                if f"{name}=" in words:
                    named.append(field.control)
                words = words.replace(f"{name}=", f"{label_text(name)} ").replace(name, label_text(name))
            return [Problem(control, words) for control in named[:1]]
        return []

    def show_field(self, name: str, visible: bool) -> None:
        """A parameter that says nothing for what is chosen is hidden."""
        show_row(self._layouts[name], self.fields[name].control, visible)

    def parameters(self) -> AmgParameters:
        """Raises ``ValueError`` if a field is bad."""
        return AmgParameters(**{name: field.value() for name, field in self.fields.items()})


def label_text(name: str) -> str:
    """crop_nms_thresh -> Crop NMS threshold."""
    if title := parameter_spec(name).metadata["title"]:
        return str(title)
    words = " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return words[0].upper() + words[1:]


def _tooltip(name: str) -> str:
    """What it does, what is allowed, and what it is called in Python and in the literature."""
    spec = parameter_spec(name)
    allowed = f"<br>Allowed: {spec.metadata['range']}." if spec.metadata["range"] else ""
    return f"<qt>{escape(spec.metadata['help'])}{allowed}<br><i>{name}</i></qt>"


def _is_allowed(name: str, value: Any) -> bool:
    try:
        check_value(name, value)
    except ValueError:
        return False
    return True
