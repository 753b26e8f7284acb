"""From an image layer to a stack of planes, and from its geometry to that of its labels.

Labels have every axis of their image, so that napari, which matches axes from the right, shows them
where the image is. The planes that are segmented are those that the viewer shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image
from napari.layers.base import Layer
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import CANONICAL, PlaneStack
from napari_sam_amg.amg.views import in_order
from napari_sam_amg.plugin.placing import is_pixel, shown_order

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

    def equals(self, other: "LabelGeometry") -> bool:
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__)

    @property
    def steps(self) -> NDArray[np.float64]:
        """(D, D): column a is where one step along data axis a leads in the world, in ``units``."""
        linear: NDArray[np.float64] = self.affine[:-1, :-1] @ self.rotate @ self.shear * self.scale
        return linear


def shown_axes(layer: Layer, dims: Dims, channel: int | None) -> Axes:
    """The planes are those in sight: of the last two axes in the viewer's order, the channels' left out.

    A viewer that shows them transposed changes no result.
    """
    first, second = sorted([axis for axis in shown_order(layer, dims) if axis != channel][-2:])
    return Axes(layer.ndim, upright_plane(layer.axis_labels, (first, second)), channel)


def upright_plane(axis_labels: Sequence[str], plane: tuple[int, int]) -> tuple[int, int]:
    """Which of two axes is down and which to the right.

    Where they are called z, y or x, y is down and x to the right in whatever order the data has them; else the first
    is down.
    """
    first, second = sorted(plane)
    letters = plane_letters(axis_labels, (first, second))
    is_turned = bool(letters) and CANONICAL.index(letters[0]) > CANONICAL.index(letters[1])
    return (second, first) if is_turned else (first, second)


def cuts(layer: Layer, channel: int | None) -> dict[str, tuple[int, int]]:
    """Planes of any two of the three axes of space by their letters, "XY", "XZ" and "YZ"; none where time is the third.

    Axes without names are z, y and x in this order.
    """
    space = [axis for axis in range(layer.ndim) if axis != channel][-3:]
    letters = {
        stack_names(layer.axis_labels, (axis,))[0].upper() or default: axis
        for axis, default in zip(space, "ZYX", strict=False)
    }
    if set(letters) != set("ZYX"):
        return {}
    pairs = {name: (letters[name[0]], letters[name[1]]) for name in ("XY", "XZ", "YZ")}
    return {name: upright_plane(layer.axis_labels, pair) for name, pair in pairs.items()}


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


def label_geometry(layer: Image, axes: Axes, origin: tuple[int, ...]) -> LabelGeometry:
    """The source's transforms, moved to the pixel at ``origin``; one channel's labels reach through all channels."""
    corner, length = np.array(origin, float), np.ones(layer.ndim)
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


def one_or_many(labels: Any) -> Any:
    """As napari wants levels: a list only if there are several."""
    return labels[0] if isinstance(labels, list) and len(labels) == 1 else labels
