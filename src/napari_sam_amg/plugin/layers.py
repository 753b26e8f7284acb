"""From an image layer to a stack of planes, and from its geometry to that of its labels.

Planes are always the last two axes of the data (before colour), whichever axes the viewer shows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image, Labels
from napari.layers.base import Layer
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import PlaneStack

CHANNEL_WORDS = ("c", "ch", "channel", "channels")


@dataclass(frozen=True, slots=True, eq=False)
class LabelGeometry:
    """Where labels lie in the world; D label axes, the source's without its channel axis."""

    scale: NDArray[np.float64]  # (D,)
    translate: NDArray[np.float64]  # (D,)
    rotate: NDArray[np.float64]  # (D, D)
    shear: NDArray[np.float64]  # (D, D) triangular
    affine: NDArray[np.float64]  # (D + 1, D + 1)
    units: tuple[Any, ...]  # D pint units
    axis_labels: tuple[str, ...] | None  # D, None: napari's default

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``napari.layers.Labels``."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class SourceLayer:
    """All that a run takes from an image layer, so that nothing done to the layer later matters."""

    name: str
    whole: PlaneStack  # every plane, at full resolution
    at: tuple[int, ...] | None  # the one plane to segment, None: all
    contrast_limits: tuple[float, float]
    geometry: LabelGeometry

    @property
    def stack(self) -> PlaneStack:
        """The planes to segment."""
        return self.whole if self.at is None else fixed_at(self.whole, self.at)

    @property
    def labels_shape(self) -> tuple[int, ...]:
        """Every stack axis is there, of length 1 where only one plane is segmented."""
        stack_shape = self.whole.stack_shape if self.at is None else (1,) * len(self.at)
        return (*stack_shape, *self.whole.plane_size)

    def place(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """Where in the labels a plane of ``stack`` goes."""
        return index if self.at is None else (0,) * len(self.at)

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """(y, x) in the unit of y; None where pixels are all there is."""
        units = self.geometry.units[-2:]
        size_y, size_x = (abs(float(value)) for value in self.geometry.scale[-2:])
        if size_y == size_x == 1 and all(is_pixel(unit) for unit in units):
            return None
        return size_y, size_x * _conversion(units[1], units[0])

    @property
    def area_column(self) -> str:
        return area_column(self.geometry.units[-2])


def take(layer: Image, channel: tuple[int, int] | None, at: tuple[int, ...] | None) -> SourceLayer:
    """Write down what a run needs. ``channel``: (axis, position); ``at``: index of the one plane to segment.

    Raises ``ValueError`` for an image that cannot be segmented.
    """
    whole = stack_of(layer, channel)
    low, high = layer.contrast_limits
    geometry = label_geometry(layer, channel, at)
    return SourceLayer(layer.name, whole, at, (float(low), float(high)), geometry)


def stack_of(layer: Image, channel: tuple[int, int] | None) -> PlaneStack:
    """The planes of an image layer; a multiscale layer at full resolution."""
    data = layer.data[0] if layer.multiscale else layer.data
    return PlaneStack(data, bool(layer.rgb), dict([channel] if channel else []))


def fixed_at(stack: PlaneStack, index: tuple[int, ...]) -> PlaneStack:
    """The one plane at ``index`` along the stack axes, as a stack without axes."""
    return PlaneStack(stack.data, stack.rgb, {**stack.fixed, **dict(zip(stack.stack_axes, index, strict=True))})


def shown_position(layer: Layer, dims: Dims) -> tuple[int, ...]:
    """Data index, along every axis before the plane's, of what the viewer's sliders point at."""
    point = np.array(dims.point[-layer.ndim :], dtype=float)
    point[-2:] = 0  # as napari slices: where stack and plane axes are sheared together, it leaves that out
    viewer_units = getattr(dims, "units", None)  # new in napari 0.9
    if viewer_units is not None and len(viewer_units) >= layer.ndim:
        pairs = zip(viewer_units[-layer.ndim :], layer.units, strict=True)
        point *= [_conversion(shown, own) for shown, own in pairs]
    shape = np.array((layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim])
    nearest = np.clip(np.round(layer.world_to_data(point)), 0, shape - 1)
    return tuple(int(value) for value in nearest[:-2])


def label_geometry(layer: Image, channel: tuple[int, int] | None, at: tuple[int, ...] | None) -> LabelGeometry:
    """The source's transforms without its channel axis, moved to the plane at ``at``."""
    ndim = layer.ndim
    kept = [axis for axis in range(ndim) if channel is None or axis != channel[0]]
    first = np.zeros(ndim)
    if at is not None:
        first[kept[:-2]] = at
    scale, translate = np.asarray(layer.scale, float), np.asarray(layer.translate, float)
    rotate, shear = np.asarray(layer.rotate, float), _shear_matrix(layer.shear, ndim)
    moved = translate + rotate @ shear @ (scale * first)  # napari's order
    linear = np.ix_(kept, kept)
    homogeneous = [*kept, ndim]
    return LabelGeometry(
        scale=scale[kept],
        translate=moved[kept],
        rotate=rotate[linear],
        shear=shear[linear],
        affine=np.asarray(layer.affine.affine_matrix)[np.ix_(homogeneous, homogeneous)],
        units=tuple(layer.units[axis] for axis in kept),
        axis_labels=_axis_labels(layer, kept),
    )


def _shear_matrix(shear: Any, ndim: int) -> NDArray[np.float64]:
    """napari gives shear as a matrix, as its upper triangle, or as zeros of some length."""
    values = np.asarray(shear, float)
    if values.ndim == 2:
        return values
    matrix = np.eye(ndim)
    if values.any():
        matrix[np.triu_indices(ndim, 1)] = values
    return matrix


def _axis_labels(layer: Layer, kept: list[int]) -> tuple[str, ...] | None:
    """None for napari's default labels, which count from the end and would be wrong without an axis."""
    labels = tuple(layer.axis_labels)
    if labels == tuple(str(axis) for axis in range(-layer.ndim, 0)):
        return None
    return tuple(labels[axis] for axis in kept)


def guess_channel_axis(layer: Image) -> int | None:
    """The axis before the plane's that is labelled as channels."""
    labels = [label.strip().lower() for label in layer.axis_labels[:-2]]
    return next((axis for axis, label in enumerate(labels) if label in CHANNEL_WORDS), None)


def is_pixel(unit: Any) -> bool:
    return str(unit) in ("pixel", "dimensionless", "")


def _conversion(unit: Any, target: Any) -> float:
    """How many of ``target`` one ``unit`` is; 1 where they measure different things."""
    if unit == target or not unit.is_compatible_with(target):
        return 1.0
    return float((1 * unit).to(target).magnitude)


def area_column(unit: Any) -> str:
    """Name of the column of areas, in words a spreadsheet takes: "area_um2", "area_nm2".

    Scaled pixels without a unit give "area_scaled", so that nobody takes them for the pixels in "area".
    """
    if is_pixel(unit):
        return "area_scaled"
    short = f"{unit:~}".replace("µ", "u").replace("μ", "u")
    return "area_" + "".join(letter for letter in short if letter.isalnum()) + "2"


def make_labels(labels: NDArray[np.int32], source: SourceLayer, **arguments: Any) -> Labels:
    """A layer that lies on the image that was segmented."""
    return Labels(labels, name=f"{source.name} masks", **source.geometry.arguments(), **arguments)
