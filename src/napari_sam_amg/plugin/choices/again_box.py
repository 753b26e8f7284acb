"""What becomes of earlier results of the same image."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_sam_amg.plugin.choices.rows import add_row, combo, form_layout, wrapped_label
from napari_sam_amg.plugin.running.earlier import ADD, REPLACE, Landing

HELP = (
    "Results of this image are there already. Replace them: the new ones take their place, look and name, and a plane "
    "or a range goes into them, beside their other planes. Or keep them, and add a layer. What was edited by hand or "
    "renamed always stays."
)


class AgainBox(QWidget):
    """Shown while there are earlier results that a run would meet."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.again, self.words = combo([REPLACE, ADD]), wrapped_label()
        form = form_layout(self)
        add_row(form, "Run again", self.again, HELP)
        add_row(form, "", self.words, HELP)
        self.again.currentIndexChanged.connect(lambda *_: self.changed.emit())

    @property
    def chosen(self) -> str:
        return self.again.currentText()

    def show_landing(self, landing: Landing | None) -> None:
        """Where a run would go; None where there are no earlier results."""
        self.setVisible(landing is not None)
        self.words.setText("" if landing is None else landing.words)
        self.words.setVisible(bool(self.words.text()))
