"""Enter runs and Escape cancels where the dock widget has the focus."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


def run_or_cancel(event: QKeyEvent, run: QPushButton, cancel: QPushButton) -> bool:
    """Whether a key that no field has used was one of ours; a button that has the focus is pressed by Enter itself."""
    if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
        return False
    if event.key() in ENTER:
        focused = QApplication.focusWidget()
        (focused if isinstance(focused, QPushButton) else run).click()
    elif event.key() == Qt.Key.Key_Escape and cancel.isEnabled():
        cancel.click()
    else:
        return False
    event.accept()
    return True


def turn(button: QPushButton, on: bool, otherwise: QWidget) -> None:
    """Enable or disable a button; one that is disabled leaves the keyboard to ``otherwise``, which knows these keys.

    Qt leaves it to the next widget, be that another button, which Enter would press, or one outside the dock.
    """
    window = button.window()
    if not on and window is not None and window.focusWidget() is button:
        otherwise.setFocus()
    button.setEnabled(on)
