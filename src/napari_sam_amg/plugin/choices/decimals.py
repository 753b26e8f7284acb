"""Numbers with a comma or a point, whichever the language of the computer has: both are understood."""

from typing import Any

from magicgui.application import use_app
from magicgui.widgets.bases import RangedWidget
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

MARKS = ".,"
FEWEST_DIGITS, MOST_DIGITS = 2, 4  # behind the mark


class DecimalBox(QDoubleSpinBox):
    """Qt takes the mark of the locale alone, and the other for one between thousands, so that 0.5 would become 5."""

    def validate(self, text: str | None, place: int) -> tuple[QValidator.State, str, int]:
        shown = self._own(text or "")
        found: Any = super().validate(shown, place)
        # a tuple in PyQt and in PySide, a state alone in older ones
        state = found[0] if isinstance(found, tuple) else found
        return state, shown, place

    def valueFromText(self, text: str | None) -> float:
        return super().valueFromText(self._own(text or ""))

    def _own(self, text: str) -> str:
        """With the mark of this locale, if there is one mark."""
        mark = self.locale().decimalPoint()
        other = MARKS.replace(mark, "")
        if mark in text or sum(map(text.count, other)) != 1:
            return text
        return "".join(mark if letter in other else letter for letter in text)


class ShortDecimalBox(DecimalBox):
    """Shows two digits behind the mark, and more where they say something: 0.50, but 0.885."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(MOST_DIGITS)

    def textFromValue(self, value: float) -> str:
        text = super().textFromValue(value)
        at = FEWEST_DIGITS - MOST_DIGITS
        return text[:at] + text[at:].rstrip("0")


class DecimalSpinBox(RangedWidget[float]):
    """magicgui's FloatSpinBox with a :class:`ShortDecimalBox` in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "widget_type": _backend()})  # magicgui gives it this class as its type


def _backend() -> type[Any]:
    """magicgui's own, around another widget of Qt."""
    own: Any = use_app().get_obj("FloatSpinBox")

    class Backend(own):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super(own, self).__init__(ShortDecimalBox, **options)

    return Backend
