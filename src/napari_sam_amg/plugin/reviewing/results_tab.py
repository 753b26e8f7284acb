"""What can be done with results: the second tab of the dock widget. Every part of it follows the same result layer."""

from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam_amg.plugin.choices.field_scroll import FieldScroll
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.reviewing.results import result_in_focus
from napari_sam_amg.plugin.reviewing.reviewed import reviewed

NO_RESULTS = "There are no results yet. Press Run under Segment, or open saved labels."


class ResultsTab(QWidget):
    """Follows the result layer in focus: the selected one, else the newest."""

    focused = Signal(object)  # a ReviewedLayer, or None

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.layer: Labels | None = None
        self.title = wrapped_label()
        self._fields = FieldScroll()
        self._arrange()
        for event in (
            viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.selection.events.active,
        ):  # fmt: skip
            event.connect(self._follow)
        self._follow()

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.title)
        layout.addWidget(self._fields, stretch=1)

    def add(self, box: QWidget) -> None:
        """A part of the tab, below those that are there."""
        self._fields.add(box)

    def show_part(self, part: QWidget) -> None:
        """Scroll to a part of a box whose words have changed."""
        self._fields.show_part(part)

    def _follow(self, event: object = None) -> None:
        layer = result_in_focus(self._viewer)
        if layer is not self.layer:
            if self.layer is not None:
                self.layer.events.name.disconnect(self._show_name)
            self.layer = layer
            if layer is not None:
                layer.events.name.connect(self._show_name)
            self.focused.emit(None if layer is None else reviewed(layer))
        self._show_name()

    def _show_name(self, event: object = None) -> None:
        self.title.setText(NO_RESULTS if self.layer is None else f"Results: '{self.layer.name}'")
