"""Number fields as people type numbers: with the comma or the point, whichever the system has."""

from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox


class DecimalBox(QDoubleSpinBox):
    """Shows the decimal sign of the system, and takes a comma and a point; there are no signs between thousands."""

    def __init__(self, low: float, high: float, step: float, decimals: int) -> None:
        super().__init__()
        self.setRange(low, high)
        self.setDecimals(decimals)
        self.setSingleStep(step)
        self.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # the dock is narrow, and a slider lies beside
        self.setKeyboardTracking(False)  # 0.8 is typed as 0 first
        self.setCorrectionMode(QDoubleSpinBox.CorrectionMode.CorrectToNearestValue)

    def _in_locale(self, text: str) -> str:
        return text.replace(",", ".").replace(".", self.locale().decimalPoint())

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        state, text, position = super().validate(self._in_locale(text), position)
        return state, text, position

    def valueFromText(self, text: str) -> float:
        return float(super().valueFromText(self._in_locale(text)))
