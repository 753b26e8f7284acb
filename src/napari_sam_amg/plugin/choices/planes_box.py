"""Which planes of a stack: which two axes they have, and the one in sight, all of them, or a range."""

from collections.abc import Mapping

from napari.layers import Image
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_sam_amg.plugin.choices.axis_words import axis_name
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.rows import add_row, combo, show_row
from napari_sam_amg.plugin.running.layers import Axes, cuts, full_resolution

THIS_PLANE, ALL_PLANES, A_RANGE = "This plane", "All planes", "A range"
AS_DISPLAYED = "as displayed"
PLANES_HELP = (
    "The plane that the viewer shows, or every plane parallel to it, beginning with that one, or some of them. "
    "In 3D, it is the plane that you see when you go back to 2D."
)
CUT_HELP = (
    "Which two axes a plane has: those that the viewer shows, or others, whatever it shows. This plane is then the one "
    "through the middle of the view."
)
RANGE_HELP = "The first and the last position along this axis, counted from 0 as on napari's sliders."


LEAST_WIDTH = 44  # px, of the digits between the two buttons of a box; a style sheet of napari's asks for more
MOST_TYPED = 10**9  # a box that takes fewer digits would make 9 of 99 in silence
MOST_RANGES = 4  # stack axes of which a range can be chosen; of more all positions are taken


class PlaneRows(QObject):
    """Rows of a form. ``show`` has to be told of another layer and of other axes."""

    changed = Signal()

    def __init__(self, form: QFormLayout) -> None:
        super().__init__()
        self._form = form
        self.cut = combo([AS_DISPLAYED])
        self.planes = combo([THIS_PLANE, ALL_PLANES, A_RANGE])
        self.ranges = [RangeRow() for _ in range(MOST_RANGES)]
        self._axes: dict[int, int] = {}  # the layer's axes with a range each, and their lengths
        add_row(form, "Planes of", self.cut, CUT_HELP)
        add_row(form, "Planes", self.planes, PLANES_HELP)
        for row in self.ranges:
            add_row(form, "", row, RANGE_HELP)
            for box in (row.first, row.last):
                box.valueChanged.connect(lambda *_: self.changed.emit())
        self.cut.currentIndexChanged.connect(lambda *_: self.changed.emit())
        self.planes.currentIndexChanged.connect(self._choose)

    def _choose(self) -> None:
        self._show_ranges()
        self.changed.emit()

    def list_cuts(self, layer: Image | None, channel: int | None) -> None:
        """What planes this layer may have, keeping the choice if it is among them."""
        names = [] if layer is None else list(cuts(layer, channel))
        before = self.cut.currentText()
        self.cut.blockSignals(True)
        self.cut.clear()
        self.cut.addItems([AS_DISPLAYED, *names])
        self.cut.setCurrentText(before)
        self.cut.blockSignals(False)
        show_row(self._form, self.cut, bool(names))

    def axes(self, layer: Image, shown: Axes) -> Axes:
        """Those that are chosen, where ``shown`` are those in sight."""
        plane = cuts(layer, shown.channel).get(self.cut.currentText(), shown.plane)
        return Axes(shown.ndim, plane, shown.channel)

    def show(self, layer: Image | None, axes: Axes | None) -> None:
        """Rows for this layer. A range along an axis of another length begins anew."""
        shape = () if layer is None else full_resolution(layer).shape
        stack = () if axes is None else axes.stack
        self._axes = {axis: int(shape[axis]) for axis in stack if shape[axis] > 1}
        for row, (axis, length) in zip(self.ranges, self._axes.items(), strict=False):
            label = self._form.labelForField(row)
            if isinstance(label, QLabel) and layer is not None:
                label.setText(f"   {axis_name(layer, axis)} from")
            row.suit(length)
        show_row(self._form, self.planes, bool(self._axes))
        self._show_ranges()

    def _show_ranges(self) -> None:
        shown = len(self._axes) if self.planes.currentText() == A_RANGE else 0
        for place, row in enumerate(self.ranges):
            show_row(self._form, row, place < shown)
        self._form.invalidate()  # or the gap of a hidden row stays

    @property
    def is_as_displayed(self) -> bool:
        """Whether planes have the axes that the viewer shows."""
        return self.cut.currentText() == AS_DISPLAYED

    @property
    def is_stack(self) -> bool:
        """Whether there is more than one plane to choose from."""
        return bool(self._axes)

    @property
    def takes_one(self) -> bool:
        return not self.is_stack or self.planes.currentText() == THIS_PLANE

    def chosen(self) -> dict[int, range]:
        """By axis of the layer, where not all positions are chosen."""
        if self.planes.currentText() != A_RANGE:
            return {}
        pairs = zip(self.ranges, self._axes.items(), strict=False)
        return {axis: row.positions for row, (axis, length) in pairs if len(row.positions) != length}

    def take(self, one: bool, ranges: Mapping[int, range]) -> None:
        """Choose what earlier results were made of."""
        self.planes.setCurrentText(THIS_PLANE if one else A_RANGE if ranges else ALL_PLANES)
        for row, (axis, length) in zip(self.ranges, self._axes.items(), strict=False):
            row.choose(ranges.get(axis, range(length)))

    def problems(self) -> list[Problem]:
        if self.planes.currentText() != A_RANGE:
            return []
        rows = self.ranges[: len(self._axes)]
        return [problem for row in rows if (problem := row.problem()) is not None]


class PlaneSpinBox(QSpinBox):
    """Steps end at the last plane; what is typed beyond it stays, to be told."""

    def __init__(self) -> None:
        super().__init__()
        self.highest = 0
        self.setRange(0, MOST_TYPED)

    def stepBy(self, steps: int) -> None:
        self.setValue(min(max(0, self.value() + steps), self.highest))


class RangeRow(QWidget):
    """From a first position to a last one, which belongs to it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = PlaneSpinBox(), PlaneSpinBox()
        self._length = 0
        self.setStyleSheet(f"QSpinBox {{ min-width: {LEAST_WIDTH}px; }}")
        beside = QHBoxLayout(self)
        beside.setSpacing(4)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.addWidget(self.first, stretch=1)
        beside.addWidget(QLabel("to"))
        beside.addWidget(self.last, stretch=1)

    @property
    def positions(self) -> range:
        return range(self.first.value(), self.last.value() + 1)

    def suit(self, length: int) -> None:
        """Be for an axis of so many positions; who calls looks at the row afterwards, and need not be told."""
        if length == self._length:
            return
        self._length = length
        for box, at in ((self.first, 0), (self.last, length - 1)):
            box.blockSignals(True)
            box.highest = length - 1
            box.setValue(at)
            box.blockSignals(False)

    def problem(self) -> Problem | None:
        for box in (self.first, self.last):
            if box.value() > box.highest:
                return Problem(box, f"Planes: there is no plane {box.value()}, the last one is {box.highest}.")
        if self.positions:
            return None
        return Problem(self.last, f"Planes: from {self.first.value()} to {self.last.value()} is no range.")

    def choose(self, positions: range) -> None:
        self.first.setValue(positions.start)
        self.last.setValue(positions.stop - 1)
