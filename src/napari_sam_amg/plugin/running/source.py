"""What a run takes from an image layer: planes, a part of them, and where their labels lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_sam_amg.amg.field import Field, cut_stack
from napari_sam_amg.amg.planes import Index, PlaneStack
from napari_sam_amg.amg.read_once import read_once
from napari_sam_amg.objects.axes import linked_axis
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.placing import is_pixel, unit_conversion
from napari_sam_amg.plugin.running.layers import (
    Axes,
    LabelGeometry,
    area_column,
    full_resolution,
    label_geometry,
    one_or_many,
    plane_letters,
    stack_names,
    stack_of,
)


@dataclass(frozen=True, slots=True)
class Part:
    """What of an image is segmented; by default all of it."""

    at: Index | None = None  # the one plane
    ranges: Mapping[int, range] = field(default_factory=dict)  # of the positions along some axes of the layer
    field: Field | None = None  # of every plane
    left_out: frozenset[Index] = frozenset()  # planes that are done already

    def positions(self, axes: Axes) -> dict[int, range]:
        """Along those stack axes of the layer of which not all are walked."""
        one = {} if self.at is None else dict(zip(axes.stack, (range(at, at + 1) for at in self.at), strict=True))
        return {**self.ranges, **one}

    def record(self) -> dict[str, Any]:
        """As JSON has it; positions from the first to the one behind the last."""
        ranges = {str(axis): [positions.start, positions.stop] for axis, positions in self.ranges.items()}
        return ({"ranges": ranges} if ranges else {}) | ({"region": self.field.record()} if self.field else {})


WHOLE = Part()


@dataclass(frozen=True, slots=True, eq=False)
class SourceLayer:
    """All that a run takes from an image layer, so that nothing done to the layer later matters."""

    name: str
    shape: tuple[int, ...]  # of the layer's data, with colour
    axes: Axes
    pixels: Any  # the layer's data at full resolution, by which other data in the layer are known
    whole: PlaneStack  # every plane, at full resolution, the plane's axes last
    part: Part
    first: Index | None  # of several planes the one to begin with
    contrast_limits: tuple[float, float]
    geometry: LabelGeometry
    origin: tuple[int, ...]  # position in the image of the labels' first pixel; 0 along channels
    labels_shape: tuple[int, ...]  # that of the layer, cut to the region; 1 along channels
    is_single: bool  # whether the labels are those of one plane alone, and not of the stack that it lies in

    def is_same_image(self, other: "SourceLayer") -> bool:
        """Whether both are of the same data, which lie in the same place."""
        return self.pixels is other.pixels and self.geometry.equals(other.geometry)

    @property
    def stack(self) -> PlaneStack:
        """The planes to segment, cut to the region; their indices are those of the labels, () if these are single."""
        others = self.axes.others
        positions = {others.index(axis): along for axis, along in self.part.positions(self.axes).items()}
        if self.is_single:
            fixed = {**self.whole.fixed, **{axis: along.start for axis, along in positions.items()}}
            stack = replace(self.whole, fixed=fixed)
        else:
            stack = replace(self.whole, within=positions, left_out=self.part.left_out)
        return stack if self.part.field is None else cut_stack(stack, self.part.field)

    def without(self, done: frozenset[Index]) -> "SourceLayer":
        """But for planes that are done."""
        return replace(self, part=replace(self.part, left_out=done)) if done else self

    @property
    def is_part(self) -> bool:
        """Whether there is more in the image than is segmented, planes that are done already apart."""
        return bool(self.part.positions(self.axes)) or self.part.field is not None

    @property
    def share(self) -> float:
        """Of all pixels of all planes, how much is segmented."""
        stack = self.stack
        pixels, all_pixels = (float(np.prod(size)) for size in (stack.plane_size, self.whole.plane_size))
        return len(stack.indices) * pixels / (len(self.whole.indices) * all_pixels)

    @property
    def words(self) -> str:
        """What of the image is segmented, as one says it; empty for all of it."""
        names = dict(zip(self.axes.stack, stack_names(self.geometry.axis_labels, self.axes.stack), strict=True))
        planes = [
            f"{names[axis] or 'planes'} {along.start} to {along.stop - 1}" for axis, along in self.part.ranges.items()
        ]
        return ", ".join([*planes, *([] if self.part.field is None else [_words_of(self.part.field)])])

    def place(self, index: Index) -> tuple[int | slice, ...]:
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
        return () if self.is_single else stack_names(self.geometry.axis_labels, self.axes.stack)

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
            "plane": None if self.part.at is None else list(self.part.at),
            "first": None if self.first is None else list(self.first),
        } | self.part.record()


def take(
    layer: Image,
    channel: tuple[int, int] | None = None,
    part: Part = WHOLE,
    plane: tuple[int, int] | None = None,
    first: Index | None = None,
    single: bool = False,
) -> SourceLayer:
    """Write down what a run needs.

    ``channel``: (axis, position). ``plane``: the two axes of a plane, by default the last two. ``first``: index of the
    plane to begin with. ``single``: whether labels of one plane are those of a stack without the others. Raises
    ``ValueError`` for an image that cannot be segmented.
    """
    axes = Axes(layer.ndim, plane or (layer.ndim - 2, layer.ndim - 1), channel[0] if channel else None)
    pixels = full_resolution(layer)
    shape = tuple(int(length) for length in pixels.shape)
    origin, labels_shape = labels_box(shape, axes, part, single)
    # copied, as all here: the layer's own may change while the run goes on
    low, high = layer.contrast_limits
    source = SourceLayer(
        name=layer.name,
        shape=shape,
        axes=axes,
        pixels=pixels,
        whole=read_once(stack_of(layer, axes, channel[1] if channel else 0)),
        part=part,
        first=first,
        contrast_limits=(float(low), float(high)),
        geometry=label_geometry(layer, axes, origin),
        origin=origin,
        labels_shape=labels_shape,
        is_single=single and part.at is not None,
    )
    _ = source.stack  # raises for what lies outside
    return source


def labels_box(
    shape: tuple[int, ...], axes: Axes, part: Part, single: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """In an image of ``shape``, where the labels' first pixel lies, and their shape; ``single`` as in :func:`take`.

    A range has the planes around it, too: what is empty takes no memory, and every plane is found under its own number.
    """
    boxes = {axis: range(shape[axis]) for axis in range(axes.ndim)}
    if single and part.at is not None:
        boxes |= part.positions(axes)
    if part.field is not None:
        boxes |= dict(zip(axes.plane, (range(*part.field.rows), range(*part.field.columns)), strict=True))
    if axes.channel is not None:
        boxes[axes.channel] = range(1)
    return tuple(boxes[axis].start for axis in boxes), tuple(len(boxes[axis]) for axis in boxes)


def _words_of(region: Field) -> str:
    height, width = region.size
    shapes = f"{len(region.outlines)} shapes within" if len(region.outlines) > 1 else "a region of"
    return f"{shapes} {height} x {width} pixels"


def make_labels(labels: NDArray[np.int32] | list[Any], source: SourceLayer, **arguments: Any) -> Labels:
    """A layer that lies on the image that was segmented. ``labels``: an array, or a list of levels."""
    more = source.geometry.arguments() | arguments
    if isinstance(labels, list) and len(labels) > 1:
        more["multiscale"] = True
    return Labels(one_or_many(labels), name=f"{source.name} masks", **more)
