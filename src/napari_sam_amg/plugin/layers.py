"""From an image layer to a stack of planes, and from its geometry to that of its labels.

Labels have every axis of their image, so that napari, which matches axes from the right, shows them
where the image is. The planes that are segmented are those that the viewer shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image, Labels
from napari.layers.base import Layer
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import CANONICAL, PlaneStack
from napari_sam_amg.amg.read_once import read_once
from napari_sam_amg.amg.views import in_order
from napari_sam_amg.objects.axes import linked_axis
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.placing import is_pixel, shown_order, unit_conversion

CHANNEL_WORDS = ("c", "ch", "channel", "channels")
AXIS_WORDS = {"t": ("t", "time", "frame", "frames"), "z": ("z", "depth", "slice", "slices")}


@dataclass(frozen=True, slots=True)
class Axes:
    """What each axis of a layer is, colour apart: one of the plane's two, the channels, or one of the stack."""

    ndim: int
    plane: tuple[int, int]  # in the order of the data
    channel: int | None = None

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(self.ndim) if axis not in self.plane)

    @property
    def stack(self) -> tuple[int, ...]:
        return tuple(axis for axis in self.others if axis != self.channel)


@dataclass(frozen=True, slots=True, eq=False)
class LabelGeometry:
    """Where labels lie in the world; D axes, those of the source."""

    scale: NDArray[np.float64]  # (D,)
    translate: NDArray[np.float64]  # (D,)
    rotate: NDArray[np.float64]  # (D, D)
    shear: NDArray[np.float64]  # (D, D) triangular
    affine: NDArray[np.float64]  # (D + 1, D + 1)
    units: tuple[Any, ...]  # D pint units
    axis_labels: tuple[str, ...]  # D

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``napari.layers.Labels``."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def steps(self) -> NDArray[np.float64]:
        """(D, D): column a is where one step along data axis a leads in the world, in ``units``."""
        linear: NDArray[np.float64] = self.affine[:-1, :-1] @ self.rotate @ self.shear * self.scale
        return linear


@dataclass(frozen=True, slots=True, eq=False)
class SourceLayer:
    """All that a run takes from an image layer, so that nothing done to the layer later matters."""

    name: str
    shape: tuple[int, ...]  # of the layer's data, with colour
    axes: Axes
    whole: PlaneStack  # every plane, at full resolution, the plane's axes last
    at: tuple[int, ...] | None  # the one plane to segment, None: all
    first: tuple[int, ...] | None  # of all planes the one to begin with
    contrast_limits: tuple[float, float]
    geometry: LabelGeometry

    @property
    def stack(self) -> PlaneStack:
        """The planes to segment."""
        return self.whole if self.at is None else fixed_at(self.whole, self.at)

    @property
    def labels_shape(self) -> tuple[int, ...]:
        """Those of the layer, but for a length of 1 along channels, and along the stack of a single plane."""
        single = (self.axes.channel, *(() if self.at is None else self.axes.stack))
        return tuple(1 if axis in single else self.shape[axis] for axis in range(self.axes.ndim))

    def place(self, index: tuple[int, ...]) -> tuple[int | slice, ...]:
        """Where in the labels a plane of ``stack`` goes."""
        position = dict(zip(self.axes.stack, index, strict=False))  # empty for a single plane: 0 everywhere
        return tuple(
            slice(None) if axis in self.axes.plane else position.get(axis, 0) for axis in range(self.axes.ndim)
        )

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """(height over its base, base along x) of a pixel, in the unit of y; their product is its area in the world.

        None where pixels are all there is, and for planes of two things that give no area, such as time and length.
        """
        y, x = self.axes.plane
        units = self.geometry.units
        if not units[x].is_compatible_with(units[y]):
            return None
        space = [
            axis
            for axis in range(self.axes.ndim)
            if axis != self.axes.channel and units[axis].is_compatible_with(units[y])
        ]
        factors = np.array([unit_conversion(units[axis], units[y]) for axis in space])
        down, right = (factors * self.geometry.steps[space, axis] for axis in (y, x))
        base = float(np.linalg.norm(right))
        height = float(np.linalg.norm(down - (down @ right) / base**2 * right))
        if is_pixel(units[y]) and np.allclose((height, base), 1):
            return None
        return height, base

    @property
    def area_column(self) -> str:
        return area_column(self.geometry.units[self.axes.plane[0]])

    @property
    def stack_names(self) -> tuple[str, ...]:
        """A letter for each axis of ``stack``; empty where none is known."""
        return () if self.at is not None else stack_names(self.geometry.axis_labels, self.axes.stack)

    def linked_place(self, params: AmgParameters) -> int | None:
        """Which axis of ``stack`` objects go through, if they do."""
        return None if params.link == "none" else linked_axis(params, self.stack_names, len(self.stack_names))

    def through(self, params: AmgParameters) -> str:
        """The letter of that axis for the names of columns, "Z" where it has none."""
        place = self.linked_place(params)
        name = "" if place is None else self.stack_names[place]
        return name.upper() if len(name) == 1 else "Z"

    def spacing(self, place: int) -> float | None:
        """From plane to plane along the stack axis at ``place``, in the unit of y, so that volumes are right.

        None for an axis that is none of space.
        """
        axis, (y, x), units = self.axes.stack[place], self.axes.plane, self.geometry.units
        size = self.pixel_size or (1.0, 1.0)
        if not units[axis].is_compatible_with(units[y]):
            return None
        steps = np.array([unit_conversion(units[a], units[y]) * self.geometry.steps[a] for a in (axis, y, x)])
        return abs(float(np.linalg.det(steps[:, [axis, y, x]]))) / (size[0] * size[1])

    @property
    def plane_axes(self) -> str:
        """Letters of the plane's two, for the names of columns: "YX" where the layer does not name them."""
        return plane_letters(self.geometry.axis_labels, self.axes.plane) or "YX"

    def upright(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Labels of a plane as they lie in the layer's data, where it may be turned."""
        first, second = self.axes.plane
        return labels if first < second else labels.T

    def record(self) -> dict[str, Any]:
        """What was segmented, as JSON has it; axes are those of the layer's data."""
        axes = self.axes
        return {
            "layer": self.name,
            "shape": list(self.shape),
            "dtype": str(self.whole.data.dtype),
            "rgb": self.whole.rgb,
            "axes": {
                "stack": list(axes.stack),
                "plane": list(axes.plane),
                "channel": axes.channel,
                "names": self.plane_axes.lower(),
            },
            "channel": {str(axes.others[axis]): position for axis, position in self.whole.fixed.items()},
            "plane": None if self.at is None else list(self.at),
            "first": None if self.first is None else list(self.first),
        }


def take(
    layer: Image,
    channel: tuple[int, int] | None = None,
    at: tuple[int, ...] | None = None,
    plane: tuple[int, int] | None = None,
    first: tuple[int, ...] | None = None,
) -> SourceLayer:
    """Write down what a run needs.

    ``channel``: (axis, position). ``plane``: the two axes of a plane, by default the last two. ``at``: index
    of the one plane to segment, ``first``: of the one to begin with.
    Raises ``ValueError`` for an image that cannot be segmented.
    """
    axes = Axes(layer.ndim, plane or (layer.ndim - 2, layer.ndim - 1), channel[0] if channel else None)
    # copied, as all here: the layer's own may change while the run goes on
    low, high = layer.contrast_limits
    return SourceLayer(
        name=layer.name,
        shape=tuple(int(length) for length in full_resolution(layer).shape),
        axes=axes,
        whole=read_once(stack_of(layer, axes, channel[1] if channel else 0)),
        at=at,
        first=first,
        contrast_limits=(float(low), float(high)),
        geometry=label_geometry(layer, axes, at),
    )


def shown_axes(layer: Layer, dims: Dims, channel: int | None) -> Axes:
    """The planes are those in sight: of the last two axes in the viewer's order, the channels' left out.

    A viewer that shows them transposed changes no result. Where they are called z, y or x, y is down and x to the
    right in whatever order the data has them; else the first is down.
    """
    first, second = sorted([axis for axis in shown_order(layer, dims) if axis != channel][-2:])
    letters = plane_letters(layer.axis_labels, (first, second))
    is_turned = bool(letters) and CANONICAL.index(letters[0]) > CANONICAL.index(letters[1])
    return Axes(layer.ndim, (second, first) if is_turned else (first, second), channel)


def stack_names(axis_labels: Sequence[str], stack: tuple[int, ...]) -> tuple[str, ...]:
    """A letter for each stack axis. Of two that have no name the first is time, as in every format of the field."""
    labels = [axis_labels[axis].strip().lower() for axis in stack]
    own = ["" if label.lstrip("-").isdigit() else label for label in labels]
    if own == ["", ""]:
        return "t", "z"
    return tuple(next((letter for letter, words in AXIS_WORDS.items() if label in words), label) for label in own)


def plane_letters(axis_labels: Sequence[str], plane: tuple[int, int]) -> str:
    """Of the plane's axes, if both are called t, z, y or x, each differently; else empty."""
    letters = "".join(axis_labels[axis].strip().upper() for axis in plane)
    return letters if len(set(letters)) == len(letters) == 2 and set(letters) <= set(CANONICAL) else ""


def full_resolution(layer: Layer) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def stack_of(layer: Image, axes: Axes, channel: int = 0) -> PlaneStack:
    """The planes of an image layer; a multiscale layer at full resolution. ``channel``: which of them."""
    order = (*axes.others, *axes.plane, *([layer.ndim] if layer.rgb else []))
    fixed = {} if axes.channel is None else {axes.others.index(axes.channel): channel}
    return PlaneStack(in_order(full_resolution(layer), order), bool(layer.rgb), fixed)


def fixed_at(stack: PlaneStack, index: tuple[int, ...]) -> PlaneStack:
    """The one plane at ``index`` along the stack axes, as a stack without axes."""
    return PlaneStack(stack.data, stack.rgb, {**stack.fixed, **dict(zip(stack.stack_axes, index, strict=True))})


def label_geometry(layer: Image, axes: Axes, at: tuple[int, ...] | None) -> LabelGeometry:
    """The source's transforms, moved to the plane at ``at``; one channel's labels reach through all channels."""
    corner, length = np.zeros(layer.ndim), np.ones(layer.ndim)
    if at is not None:
        corner[list(axes.stack)] = at
    if axes.channel is not None:
        channels = full_resolution(layer).shape[axes.channel]
        length[axes.channel] = channels
        corner[axes.channel] = (channels - 1) / 2  # a voxel's coordinate is that of its centre
    scale, translate = np.asarray(layer.scale, float), np.asarray(layer.translate, float)
    rotate, shear = np.asarray(layer.rotate, float), _shear_matrix(layer.shear, layer.ndim)
    return LabelGeometry(
        scale=scale * length,
        translate=translate + rotate @ shear @ (scale * corner),  # napari's order
        rotate=rotate,
        shear=shear,
        affine=np.asarray(layer.affine.affine_matrix),
        units=tuple(layer.units),
        axis_labels=tuple(layer.axis_labels),
    )


def _shear_matrix(shear: Any, ndim: int) -> NDArray[np.float64]:
    """napari gives shear as a matrix, as its upper triangle, or as zeros of some length."""
    values = np.asarray(shear, float)
    if values.ndim == 2:
        return values
    matrix = np.eye(ndim)
    if values.any():
        # napari writes the triangle row by row, without the diagonal
        matrix[np.triu_indices(ndim, 1)] = values
    return matrix


def guess_channel_axis(layer: Image) -> int | None:
    """The axis that is labelled as channels; a plane must be left."""
    if layer.ndim < 3:
        return None
    labels = [label.strip().lower() for label in layer.axis_labels]
    return next((axis for axis, label in enumerate(labels) if label in CHANNEL_WORDS), None)


def area_column(unit: Any) -> str:
    """Name of the column of areas, in words a spreadsheet takes: "area_um2", "area_nm2".

    Scaled pixels without a unit give "area_scaled", so that nobody takes them for the pixels in "area".
    """
    if is_pixel(unit):
        return "area_scaled"
    short = f"{unit:~}".replace("µ", "u").replace("μ", "u")
    return "area_" + "".join(letter for letter in short if letter.isalnum()) + "2"


def make_labels(labels: NDArray[np.int32] | list[Any], source: SourceLayer, **arguments: Any) -> Labels:
    """A layer that lies on the image that was segmented. ``labels``: an array, or a list of levels."""
    more = source.geometry.arguments() | arguments
    if isinstance(labels, list) and len(labels) > 1:
        more["multiscale"] = True
    return Labels(one_or_many(labels), name=f"{source.name} masks", **more)


def one_or_many(labels: Any) -> Any:
    """As napari wants levels: a list only if there are several."""
    return labels[0] if isinstance(labels, list) and len(labels) == 1 else labels
