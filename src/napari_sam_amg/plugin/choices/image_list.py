"""The list of image layers: one of them is chosen, by who selects it in napari, by hand, or once and for all."""

from typing import cast

from napari.layers import Image
from napari.utils.events import Event, EventEmitter
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_sam_amg.plugin.choices.rows import combo

PIN_HELP = "Keep this image, whichever layer is selected in napari. Otherwise the image that is selected is taken."


class ImageList(QWidget):
    """Follows the viewer's image layers, and the active one of them unless it is pinned."""

    chosen = Signal()  # another image, or new data in it
    listed = Signal()  # the same image, among others, by another name, or with other axes

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._watched: list[Image] = []
        self.image = combo([])
        self.pin = QPushButton("Pin")
        self.pin.setCheckable(True)
        self.pin.setToolTip(f"<qt>{PIN_HELP}</qt>")
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.image, stretch=1)
        line.addWidget(self.pin)
        self.image.currentIndexChanged.connect(lambda *_: self.chosen.emit())
        self.pin.toggled.connect(self._show_pin)

    def follow(self) -> None:
        """From now on; what is there already is listed."""
        viewer = self._viewer
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self._list)
        viewer.layers.selection.events.active.connect(self._follow_active)
        active = viewer.layers.selection.active
        self._list(choose=active if isinstance(active, Image) else None)

    @property
    def layer(self) -> Image | None:
        return cast("Image | None", self.image.currentData())

    def _follow_active(self, event: Event) -> None:
        """An image that becomes active is chosen; a result or nothing at all changes nothing."""
        if isinstance(event.value, Image) and not self.pin.isChecked():
            self._list(choose=event.value)

    def _show_pin(self, pinned: bool) -> None:
        """Who takes the pin away sees the selected image again."""
        self.pin.setText("Pinned" if pinned else "Pin")
        active = self._viewer.layers.selection.active
        if not pinned and isinstance(active, Image):
            self._list(choose=active)

    def _list(self, event: Event | None = None, choose: Image | None = None) -> None:
        """List the image layers, keeping the chosen one if it is still there."""
        before = self.layer
        images = [layer for layer in reversed(self._viewer.layers) if isinstance(layer, Image)]
        self._watch(images)
        active = self._viewer.layers.selection.active
        if before is not None and before not in images:  # what is selected is chosen, as without a pin
            self.pin.blockSignals(True)
            self.pin.setChecked(False)
            self.pin.setText("Pin")
            self.pin.blockSignals(False)
            choose = choose or (active if isinstance(active, Image) else None)
        # clear() would choose no layer, then the first: each would be looked at
        self.image.blockSignals(True)
        self.image.clear()
        for layer in images:
            self.image.addItem(layer.name, layer)
        keep = choose or before
        self.image.setCurrentIndex(images.index(keep) if keep in images else min(0, len(images) - 1))
        self.image.blockSignals(False)
        (self.listed if self.layer is before else self.chosen).emit()

    def _watch(self, images: list[Image]) -> None:
        """New names and new data of the layers in the list."""
        # those that were removed meanwhile, too: their names and data matter no more
        for layer in self._watched:
            layer.events.name.disconnect(self._list)
            layer.events.data.disconnect(self._take_data)
            for event in _placed(layer):
                event.disconnect(self._tell)
        for layer in images:
            layer.events.name.connect(self._list)
            layer.events.data.connect(self._take_data)
            for event in _placed(layer):
                event.connect(self._tell)
        self._watched = images

    def _take_data(self, event: Event) -> None:
        self.chosen.emit()

    def _tell(self, event: Event) -> None:
        self.listed.emit()


def _placed(layer: Image) -> tuple[EventEmitter, ...]:
    """Names of axes, and where the data lie."""
    events = layer.events
    return events.axis_labels, events.scale, events.units
