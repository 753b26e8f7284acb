"""What keeps a run from starting, and how the widget shows it."""

from dataclasses import dataclass

from qtpy.QtWidgets import QWidget

RED = "#e5484d"
MARK = "marked"  # the property of a widget that has an outline


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A control with something in it that is not allowed, and why."""

    control: QWidget
    message: str
    is_open: bool = False  # nothing is entered yet, which is said and not marked as a mistake


def mark(control: QWidget, bad: bool) -> None:
    """Outline a control in red, or no longer."""
    if bool(control.property(MARK)) == bad:
        return
    control.setProperty(MARK, bad)
    kind = type(control).__mro__[0].__name__
    control.setStyleSheet(f"{kind} {{ border: 2px solid {RED}; }}" if bad else "")
