"""Which image, which channel, which planes, and how bright."""

from contextlib import suppress
from math import prod
from typing import Literal, cast

from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QSpinBox, QWidget

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.choices.axis_words import axis_text, hint, length, plane_words
from napari_sam_amg.plugin.choices.file_geometry import may_be_known, take_from_file
from napari_sam_amg.plugin.choices.image_list import ImageList
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
    guess_channel_axis,
    shown_axes,
    stack_names,
    stack_of,
)
from napari_sam_amg.plugin.running.source import Part, SourceLayer, labels_box, take

PERCENTILE, CONTRAST = "percentiles", "contrast limits"
NO_CHANNEL = "none"
INTENSITIES_HELP = (
    "What the model sees as black and white: percentiles 0.1 and 99.8 of the whole image, the same for every plane, "
    "or the contrast limits that the layer is shown with."
)
SIZES_HELP = (
    "napari opens TIFF files without the names, sizes and units of their axes. They are set on the layer, and areas "
    "are measured in these units."
)
CHANNELS_HELP = "The axis that holds channels, if one does. It is no stack axis then."

Intensities = Literal["percentile", "contrast limits"]


class ImageBox(QWidget):
    """Follows the viewer: its image layers, the active one of them, and which axes it shows."""

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.images = ImageList(viewer)
        self.image, self.pin = self.images.image, self.images.pin
        self.channel_axis, self.channel = combo([]), QSpinBox()
        self.view = wrapped_label()  # which axes are segmented, where these are not the last two
        self.intensities = combo([PERCENTILE, CONTRAST])
        self.sizes = QPushButton("Take axes and sizes from the file")
        self._arrange()
        self._connect()
        self.images.follow()

    def _arrange(self) -> None:
        self.form = form_layout(self)
        help_ = "The image layer to segment: the one that is selected in napari, or that you choose."
        add_row(self.form, "Image", self.images, help_)
        add_row(self.form, "", self.sizes, SIZES_HELP)
        add_row(self.form, "Channel axis", self.channel_axis, CHANNELS_HELP)
        add_row(self.form, "Channel", self.channel, "Which channel to segment, counted from 0.")
        self.plane_rows = PlaneRows(self.form)
        self.planes = self.plane_rows.planes
        add_row(self.form, "", self.view, "Roll or transpose the viewer's axes to segment other planes.")
        self.region_rows = RegionRows(self._viewer, self.form)
        add_row(self.form, "Brightness", self.intensities, INTENSITIES_HELP)

    def _connect(self) -> None:
        self.images.chosen.connect(self._show_image)
        self.images.listed.connect(self._show_axes)
        self._viewer.dims.events.order.connect(self._show_axes)
        self.channel_axis.currentIndexChanged.connect(self._show_channel)
        for signal in (self.channel.valueChanged, self.intensities.currentIndexChanged, self.region_rows.changed):
            signal.connect(lambda *_: self.changed.emit())
        self.plane_rows.changed.connect(self._show_axes)
        self.sizes.clicked.connect(self._take_sizes)

    @property
    def layer(self) -> Image | None:
        return self.images.layer

    def _show_image(self) -> None:
        layer = self.layer
        self.channel_axis.blockSignals(True)
        self.channel_axis.clear()
        self.channel_axis.addItem(NO_CHANNEL, None)
        for axis in range(layer.ndim if layer is not None and layer.ndim > 2 else 0):
            self.channel_axis.addItem(axis_text(cast(Image, layer), axis), axis)
        guess = guess_channel_axis(layer) if layer else None
        self.channel_axis.setCurrentIndex(0 if guess is None else guess + 1)
        self.channel_axis.blockSignals(False)
        self._show_channel()

    def _show_channel(self, *_: object) -> None:
        layer, axis = self.layer, self.channel_axis.currentData()
        if layer is not None and axis is not None:
            self.channel.setRange(0, length(layer, axis) - 1)
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
        self.view.setText("" if layer is None else plane_words(layer, self._axes(layer)))
        # who has chosen the axes above knows them
        show_row(self.form, self.view, bool(self.view.text()) and self.plane_rows.is_as_displayed)
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
        shape = tuple(length(layer, axis) for axis in range(layer.ndim))
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
            return [Problem(self.image, f"{self.layer.name}: {error}{hint(self.layer, axes)}")]
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
        shape = tuple(length(layer, axis) for axis in range(layer.ndim))
        first = self._seen(layer, axes)
        inside = all(at in part.ranges.get(axis, (at,)) for axis, at in zip(axes.stack, first, strict=True))
        start = first if part.at is None and inside else None
        return take(layer, self.chosen_channel, part, axes.plane, start, _is_single(shape, axes, part))


def _is_single(shape: tuple[int, ...], axes: Axes, part: Part) -> bool:
    """Labels of one plane lie in a stack of them, where others go later, unless that does not fit into memory."""
    return part.at is not None and too_large(labels_box(shape, axes, part)[1])
