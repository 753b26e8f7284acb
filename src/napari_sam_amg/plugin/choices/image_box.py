"""Which image, which channel, which planes, and how bright."""

from contextlib import suppress
from math import prod
from typing import Literal, cast

from napari.layers import Image
from napari.utils.events import Event
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSpinBox, QWidget

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.choices.file_geometry import may_be_known, take_from_file
from napari_sam_amg.plugin.choices.planes_box import ALL_PLANES as ALL_PLANES
from napari_sam_amg.plugin.choices.planes_box import THIS_PLANE as THIS_PLANE
from napari_sam_amg.plugin.choices.planes_box import PlaneRows
from napari_sam_amg.plugin.choices.problems import Problem
from napari_sam_amg.plugin.choices.region_box import RegionRows
from napari_sam_amg.plugin.choices.results_box import too_large
from napari_sam_amg.plugin.choices.rows import add_row, combo, form_layout, show_row, wrapped_label
from napari_sam_amg.plugin.placing import middle_position, shown_position
from napari_sam_amg.plugin.running.layers import (
    Axes,
    full_resolution,
    guess_channel_axis,
    shown_axes,
    stack_names,
    stack_of,
)
from napari_sam_amg.plugin.running.source import Part, SourceLayer, labels_box, take

PERCENTILE, CONTRAST = "percentiles", "contrast limits"
NO_CHANNEL = "none"
MOST_CHANNELS_LAST = 7  # longer last axes are pixels
INTENSITIES_HELP = (
    "What the model sees as black and white: percentiles 0.1 and 99.8 of the whole image, the same for every plane, "
    "or the contrast limits that the layer is shown with."
)
SIZES_HELP = (
    "napari opens TIFF files without the names, sizes and units of their axes. They are set on the layer, and areas "
    "are measured in these units."
)
CHANNELS_HELP = "The axis that holds channels, if one does. It is no stack axis then."
PIN_HELP = "Keep this image, whichever layer is selected in napari. Otherwise the image that is selected is taken."

Intensities = Literal["percentile", "contrast limits"]


class ImageBox(QWidget):
    """Follows the viewer: its image layers, the active one of them, and which axes it shows."""

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._watched: list[Image] = []
        self.image, self.channel_axis = combo([]), combo([])
        self.channel = QSpinBox()
        self.pin = QPushButton("Pin")
        self.pin.setCheckable(True)
        self.view = wrapped_label()  # which axes are segmented, where these are not the last two
        self.intensities = combo([PERCENTILE, CONTRAST])
        self.sizes = QPushButton("Take axes and sizes from the file")
        self._arrange()
        self._connect()
        self._follow(viewer)

    def _arrange(self) -> None:
        self.form = form_layout(self)
        beside = QWidget()
        line = QHBoxLayout(beside)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.image, stretch=1)
        line.addWidget(self.pin)
        help_ = "The image layer to segment: the one that is selected in napari, or that you choose."
        add_row(self.form, "Image", beside, help_)
        self.pin.setToolTip(f"<qt>{PIN_HELP}</qt>")
        add_row(self.form, "", self.sizes, SIZES_HELP)
        add_row(self.form, "Channel axis", self.channel_axis, CHANNELS_HELP)
        add_row(self.form, "Channel", self.channel, "Which channel to segment, counted from 0.")
        self.plane_rows = PlaneRows(self.form)
        self.planes = self.plane_rows.planes
        add_row(self.form, "", self.view, "Roll or transpose the viewer's axes to segment other planes.")
        self.region_rows = RegionRows(self._viewer, self.form)
        add_row(self.form, "Brightness", self.intensities, INTENSITIES_HELP)

    def _connect(self) -> None:
        self.image.currentIndexChanged.connect(self._show_image)
        self.channel_axis.currentIndexChanged.connect(self._show_channel)
        for signal in (self.channel.valueChanged, self.intensities.currentIndexChanged, self.region_rows.changed):
            signal.connect(lambda *_: self.changed.emit())
        self.plane_rows.changed.connect(self._show_axes)
        self.pin.toggled.connect(self._show_pin)
        self.sizes.clicked.connect(self._take_sizes)

    def _follow(self, viewer: Viewer) -> None:
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self._list_images)
        viewer.layers.selection.events.active.connect(self._follow_active)
        viewer.dims.events.order.connect(self._show_axes)
        active = viewer.layers.selection.active
        self._list_images(choose=active if isinstance(active, Image) else None)

    def _follow_active(self, event: Event) -> None:
        """An image that becomes active is chosen; a result or nothing at all changes nothing."""
        if isinstance(event.value, Image) and not self.pin.isChecked():
            self._list_images(choose=event.value)

    def _show_pin(self, pinned: bool) -> None:
        """Who takes the pin away sees the selected image again."""
        self.pin.setText("Pinned" if pinned else "Pin")
        active = self._viewer.layers.selection.active
        if not pinned and isinstance(active, Image):
            self._list_images(choose=active)

    def _list_images(self, event: Event | None = None, choose: Image | None = None) -> None:
        """List the image layers, keeping the chosen one if it is still there."""
        before = self.layer
        images = [layer for layer in reversed(self._viewer.layers) if isinstance(layer, Image)]
        self._watch(images)
        # clear() would choose no layer, then the first: each would be looked at
        self.image.blockSignals(True)
        self.image.clear()
        for layer in images:
            self.image.addItem(layer.name, layer)
        keep = choose or before
        if before is not None and before not in images:
            self.pin.setChecked(False)  # what it kept is gone
        self.image.setCurrentIndex(images.index(keep) if keep in images else min(0, len(images) - 1))
        self.image.blockSignals(False)
        if self.layer is before:
            self.changed.emit()
        else:
            self._show_image()

    def _watch(self, images: list[Image]) -> None:
        """New names and new data of the layers in the list."""
        # those that were removed meanwhile, too: their names and data matter no more
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
        for axis in range(layer.ndim if layer is not None and layer.ndim > 2 else 0):
            self.channel_axis.addItem(_axis_text(cast(Image, layer), axis), axis)
        guess = guess_channel_axis(layer) if layer else None
        self.channel_axis.setCurrentIndex(0 if guess is None else guess + 1)
        self.channel_axis.blockSignals(False)
        self._show_channel()

    def _show_channel(self, *_: object) -> None:
        layer, axis = self.layer, self.channel_axis.currentData()
        if layer is not None and axis is not None:
            self.channel.setRange(0, _length(layer, axis) - 1)
        self._show_axes()

    def _show_axes(self, event: object = None) -> None:
        self._show_rows()
        self.changed.emit()

    def _show_rows(self) -> None:
        """Rows that say nothing for this image are hidden."""
        layer = self.layer
        show_row(self.form, self.sizes, layer is not None and may_be_known(layer))
        show_row(self.form, self.channel_axis, layer is not None and layer.ndim > 2)
        show_row(self.form, self.channel, self.channel_axis.currentData() is not None)
        self.plane_rows.list_cuts(layer, self.channel_axis.currentData())
        self.plane_rows.show(layer, self.axes)
        self.region_rows.show(layer)
        self.view.setText("" if layer is None else _view_words(layer, self._axes(layer)))
        show_row(self.form, self.view, bool(self.view.text()))
        self.form.invalidate()  # or the gap of a hidden row stays

    def _take_sizes(self) -> None:
        layer = self.layer
        if layer is None:
            return
        try:
            show_info(f"{layer.name}: {take_from_file(layer)}")
        except Exception as error:  # whatever is wrong with the file
            show_error(explain_in_window(error))
        self._show_image()

    def _axes(self, layer: Image) -> Axes:
        return self.plane_rows.axes(layer, shown_axes(layer, self._viewer.dims, self.channel_axis.currentData()))

    @property
    def axes(self) -> Axes | None:
        return None if self.layer is None else self._axes(self.layer)

    @property
    def chosen_channel(self) -> tuple[int, int] | None:
        axis = self.channel_axis.currentData()
        return None if axis is None else (axis, self.channel.value())

    @property
    def is_stack(self) -> bool:
        """Whether there is more than one plane to choose from."""
        return self.plane_rows.is_stack

    @property
    def takes_one(self) -> bool:
        """Whether one plane is to be segmented."""
        return self.plane_rows.takes_one

    @property
    def stack_names(self) -> tuple[str, ...]:
        """A letter for each axis of the stack; empty where none is known."""
        layer = self.layer
        return () if layer is None else stack_names(layer.axis_labels, self._axes(layer).stack)

    @property
    def chosen_intensities(self) -> Intensities:
        return "contrast limits" if self.intensities.currentText() == CONTRAST else "percentile"

    def extent(self) -> tuple[int, tuple[int, ...] | None]:
        """How many planes will be segmented, into labels of which shape; 0 and None without an image."""
        layer = self.layer
        if layer is None:
            return 0, None
        axes, part = self._axes(layer), Part()
        with suppress(ValueError):  # which is a problem of its own
            part = self.part(layer)
        shape = tuple(_length(layer, axis) for axis in range(layer.ndim))
        positions = part.positions(axes)
        planes = prod(len(positions.get(axis, range(shape[axis]))) for axis in axes.stack)
        return planes, labels_box(shape, axes, part, _is_single(shape, axes, part))[1]

    def problems(self) -> list[Problem]:
        if self.layer is None:
            return [Problem(self.image, "Open an image first: there is no image layer.")]
        axes = self._axes(self.layer)
        try:
            stack_of(self.layer, axes, self.channel.value())
        except ValueError as error:
            return [Problem(self.image, f"{self.layer.name}: {error}{_hint(self.layer, axes)}")]
        return self.plane_rows.problems() or self._region_problems(self.layer, axes)

    def _region_problems(self, layer: Image, axes: Axes) -> list[Problem]:
        try:
            self.region_rows.field(layer, axes)
        except ValueError as error:
            return [Problem(self.region_rows.region, f"Region: {error}.")]
        return []

    def part(self, layer: Image) -> Part:
        """What of the layer is chosen. ``ValueError`` if it is no region."""
        axes = self._axes(layer)
        one = self._seen(layer, axes) if self.is_stack and self.takes_one else None
        return Part(one, self.plane_rows.chosen(), self.region_rows.field(layer, axes))

    def _seen(self, layer: Image, axes: Axes) -> tuple[int, ...]:
        """Index of the plane in sight; where the viewer shows other planes, of that through the middle of the view."""
        is_in_sight = axes.plane == shown_axes(layer, self._viewer.dims, axes.channel).plane
        position = shown_position(layer, self._viewer.dims) if is_in_sight else middle_position(layer, self._viewer)
        return tuple(position[axis] for axis in axes.stack)

    def source(self) -> SourceLayer:
        """What is chosen now; ``ValueError`` if it cannot be segmented."""
        if self.layer is None:
            raise ValueError("there is no image layer to segment")
        layer = self.layer
        axes, part = self._axes(layer), self.part(layer)
        shape = tuple(_length(layer, axis) for axis in range(layer.ndim))
        first = self._seen(layer, axes)
        inside = all(at in part.ranges.get(axis, (at,)) for axis, at in zip(axes.stack, first, strict=True))
        start = first if part.at is None and inside else None
        return take(layer, self.chosen_channel, part, axes.plane, start, _is_single(shape, axes, part))


def _is_single(shape: tuple[int, ...], axes: Axes, part: Part) -> bool:
    """Labels of one plane lie in a stack of them, where others go later, unless that does not fit into memory."""
    return part.at is not None and too_large(labels_box(shape, axes, part)[1])


def _hint(layer: Image, axes: Axes) -> str:
    """What may help where a plane is too small."""
    if layer.rgb or layer.ndim < 3:
        return ""
    if axes.channel is None and _length(layer, -1) <= MOST_CHANNELS_LAST:
        return ". If the last axis holds channels, choose it as Channel axis: it is no part of a plane then."
    return f". A plane has axes {_names(layer, axes)} now: roll the viewer's axes to choose others."


def _length(layer: Image, axis: int) -> int:
    return int(full_resolution(layer).shape[axis])


def _view_words(layer: Image, axes: Axes) -> str:
    if sorted(axes.plane) == [layer.ndim - 2, layer.ndim - 1]:
        return ""
    return f"Planes of axes {_names(layer, axes)}"


def _names(layer: Image, axes: Axes) -> str:
    first, second = (_own_label(layer, axis) or str(axis) for axis in axes.plane)
    return f"{first} and {second}"


def _own_label(layer: Image, axis: int) -> str:
    """What the user called it; napari's defaults count from the end."""
    label = layer.axis_labels[axis]
    return "" if label.lstrip("-").isdigit() else label


def _axis_text(layer: Image, axis: int) -> str:
    """The axis' label if it has one of its own, and its length."""
    own = f" ({label})" if (label := _own_label(layer, axis)) else ""
    return f"axis {axis}{own}, {_length(layer, axis)} long"
