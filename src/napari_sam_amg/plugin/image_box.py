"""Which image, which channel, which planes, and how bright."""

from typing import Literal, cast

from napari.layers import Image
from napari.utils.events import Event
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSpinBox, QWidget

from napari_sam_amg.plugin.layers import SourceLayer, guess_channel_axis, shown_position, stack_of, take
from napari_sam_amg.plugin.problems import Problem
from napari_sam_amg.plugin.rows import add_row, combo, form_layout, show_row

THIS_PLANE, ALL_PLANES = "This plane", "All planes"
PERCENTILE, CONTRAST = "percentiles", "contrast limits"
NO_CHANNEL = "none"
MOST_CHANNELS_LAST = 7  # longer last axes are pixels
INTENSITIES_HELP = (
    "What the model sees as black and white: percentiles 0.1 and 99.8 of the whole image, the same for every plane, "
    "or the contrast limits that the layer is shown with."
)

Intensities = Literal["percentile", "contrast limits"]


class ImageBox(QWidget):
    """Follows the viewer's layer list."""

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._watched: list[Image] = []
        self.image, self.channel_axis = combo([]), combo([])
        self.channel = QSpinBox()
        self.planes = combo([THIS_PLANE, ALL_PLANES])
        self.intensities = combo([PERCENTILE, CONTRAST])
        self._arrange()
        self._connect()
        self._follow(viewer)

    def _arrange(self) -> None:
        self.form = form_layout(self)
        rows = (
            ("Image", self.image, "The image layer to segment. Planes are the last two axes of its data."),
            ("Channel axis", self.channel_axis, "The axis that holds channels, if one does. It is no stack axis then."),
            ("Channel", self.channel, "Which channel to segment, counted from 0."),
            ("Planes", self.planes, "The plane that the sliders show, or every plane of the stack."),
            ("Brightness", self.intensities, INTENSITIES_HELP),
        )
        for text, control, tooltip in rows:
            add_row(self.form, text, control, tooltip)

    def _connect(self) -> None:
        self.image.currentIndexChanged.connect(self._show_image)
        self.channel_axis.currentIndexChanged.connect(self._show_channel)
        for signal in (self.channel.valueChanged, self.planes.currentIndexChanged):
            signal.connect(lambda *_: self.changed.emit())
        self.intensities.currentIndexChanged.connect(lambda *_: self.changed.emit())

    def _follow(self, viewer: Viewer) -> None:
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self._list_images)
        active = viewer.layers.selection.active
        self._list_images(choose=active if isinstance(active, Image) else None)

    def _list_images(self, event: Event | None = None, choose: Image | None = None) -> None:
        """List the image layers, keeping the chosen one if it is still there."""
        before = self.layer
        images = [layer for layer in reversed(self._viewer.layers) if isinstance(layer, Image)]
        self._watch(images)
        self.image.blockSignals(True)
        self.image.clear()
        for layer in images:
            self.image.addItem(layer.name, layer)
        keep = choose or before
        self.image.setCurrentIndex(images.index(keep) if keep in images else min(0, len(images) - 1))
        self.image.blockSignals(False)
        if self.layer is before:
            self.changed.emit()
        else:
            self._show_image()

    def _watch(self, images: list[Image]) -> None:
        """New names and new data of the layers in the list."""
        for layer in self._watched:
            layer.events.name.disconnect(self._list_images)
            layer.events.data.disconnect(self._show_image)
        for layer in images:
            layer.events.name.connect(self._list_images)
            layer.events.data.connect(self._show_image)
        self._watched = images

    @property
    def layer(self) -> Image | None:
        return cast("Image | None", self.image.currentData())

    def _show_image(self, event: object = None) -> None:
        layer = self.layer
        self.channel_axis.blockSignals(True)
        self.channel_axis.clear()
        self.channel_axis.addItem(NO_CHANNEL, None)
        for axis in range(layer.ndim - 2 if layer else 0):
            self.channel_axis.addItem(_axis_text(cast(Image, layer), axis), axis)
        guess = guess_channel_axis(layer) if layer else None
        self.channel_axis.setCurrentIndex(0 if guess is None else guess + 1)
        self.channel_axis.blockSignals(False)
        self._show_channel()

    def _show_channel(self, *_: object) -> None:
        layer, axis = self.layer, self.channel_axis.currentData()
        if layer is not None and axis is not None:
            self.channel.setRange(0, _length(layer, axis) - 1)
        self._show_rows()
        self.changed.emit()

    def _show_rows(self) -> None:
        """Rows that say nothing for this image are hidden."""
        layer = self.layer
        show_row(self.form, self.channel_axis, layer is not None and layer.ndim > 2)
        show_row(self.form, self.channel, self.channel_axis.currentData() is not None)
        show_row(self.form, self.planes, self.is_stack)

    @property
    def chosen_channel(self) -> tuple[int, int] | None:
        axis = self.channel_axis.currentData()
        return None if axis is None else (axis, self.channel.value())

    @property
    def is_stack(self) -> bool:
        """Whether there is more than one plane to choose from."""
        layer, channel = self.layer, self.channel_axis.currentData()
        axes = range(layer.ndim - 2) if layer is not None else ()
        return any(axis != channel and _length(cast(Image, layer), axis) > 1 for axis in axes)

    @property
    def chosen_intensities(self) -> Intensities:
        return "contrast limits" if self.intensities.currentText() == CONTRAST else "percentile"

    def problems(self) -> list[Problem]:
        if self.layer is None:
            return [Problem(self.image, "Open an image first: there is no image layer.")]
        try:
            stack_of(self.layer, self.chosen_channel)
        except ValueError as error:
            return [Problem(self.image, f"{self.layer.name}: {error}{_hint(self.layer)}")]
        return []

    def source(self) -> SourceLayer:
        """What is chosen now; ``ValueError`` if it cannot be segmented."""
        if self.layer is None:
            raise ValueError("there is no image layer to segment")
        at = None
        if self.is_stack and self.planes.currentText() == THIS_PLANE:
            position = shown_position(self.layer, self._viewer.dims)
            at = tuple(position[axis] for axis in stack_of(self.layer, self.chosen_channel).stack_axes)
        return take(self.layer, self.chosen_channel, at)


def _hint(layer: Image) -> str:
    """For channels where colours would be."""
    if layer.rgb or layer.ndim < 3 or _length(layer, -1) > MOST_CHANNELS_LAST:
        return ""
    return ". If the last axis holds channels, move it before the others: planes are the last two axes."


def _length(layer: Image, axis: int) -> int:
    return int((layer.data[0] if layer.multiscale else layer.data).shape[axis])


def _axis_text(layer: Image, axis: int) -> str:
    """The axis' label if it has one of its own, and its length."""
    label = layer.axis_labels[axis]
    own = "" if label.lstrip("-").isdigit() else f" ({label})"
    return f"axis {axis}{own}, {_length(layer, axis)} long"
