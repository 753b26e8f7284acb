"""A stack of image planes, read lazily, one plane at a time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.checks import check_kind, check_whole, shown
from napari_sam_amg.params import AmgParameters

#: Of any two axes the first is down in a plane and the second to the right, however they are stored.
CANONICAL = "TZYX"
#: Pixels of a plane up to which its bands are joined, and its image kept, so that its result is that of one region.
WHOLE_PIXELS = 4096 * 4096
MIN_SIDE = 8  # px; anything smaller holds no object that a model could find
#: px; a plane with a longer side is large: it is looked at some rows at a time, and may be taken tile by tile. Up to
#: that size the crop layers magnify enough for the smallest objects, with a model whose input has 512 px.
LARGE_SIDE = 2048

Index = tuple[int, ...]  # of a plane, along the stack's axes


@dataclass(frozen=True, slots=True, eq=False)
class PlaneStack:
    """An array of any number of axes of which the last two (three with colour) are the plane.

    ``data``: NumPy, dask, zarr or anything else with shape, dtype and basic indexing; axes
    (..., Y, X), or (..., Y, X, 3 or 4) with ``rgb``. ``fixed`` maps other axes to the one position
    that is used, such as a channel; the rest are the stack, walked in C order. ``within`` maps axes of the stack to
    the positions that are walked, by default all; of these planes ``left_out`` names some that are not.
    Raises ``ValueError`` for data that cannot be segmented, naming shape or dtype, and for planes that are not there.
    """

    data: Any
    rgb: bool = False
    fixed: Mapping[int, int] = field(default_factory=dict)
    within: Mapping[int, Sequence[int]] = field(default_factory=dict)
    left_out: Collection[Index] = frozenset()

    def __post_init__(self) -> None:
        if not (hasattr(self.data, "shape") and hasattr(self.data, "dtype")):
            kind = type(self.data).__name__
            raise ValueError(f"an image of type {kind} is not allowed: expected an array, such as one of NumPy's")
        check_kind("rgb", self.rgb, (bool, np.bool_), "True or False")
        shape, dtype = tuple(self.data.shape), np.dtype(self.data.dtype)
        if dtype.kind not in "buif":
            raise ValueError(f"pixels of type {dtype} cannot be segmented: allowed are integers, floats and booleans")
        if len(shape) < 2 + self.rgb or (self.rgb and shape[-1] not in (3, 4)):
            expected = "(..., Y, X, 3 or 4)" if self.rgb else "(..., Y, X)"
            raise ValueError(f"an image of shape {shape} is not allowed: expected {expected}")
        if min(self.plane_size) < MIN_SIDE:
            height, width = self.plane_size
            said = f"the image is {height} x {width} pixels: each side must have at least {MIN_SIDE}"
            may_be_colours = not self.rgb and len(shape) > 2 and shape[-1] in (3, 4)
            raise ValueError(f"{said}; if the last axis holds colours, say so: --axes YXS" if may_be_colours else said)
        if 0 in shape:
            raise ValueError(f"an image of shape {shape} has no pixels")
        self._check_planes(shape)

    def _check_planes(self, shape: tuple[int, ...]) -> None:
        """That those which are wanted are there."""
        check_kind("fixed", self.fixed, Mapping, "a dict of axes and positions")
        check_kind("within", self.within, Mapping, "a dict of axes and ranges of positions")
        check_kind("left_out", self.left_out, Collection, "a set of indices of planes")
        for axis, position in self.fixed.items():
            if any(isinstance(number, bool) or not isinstance(number, Integral) for number in (axis, position)):
                raise ValueError(f"fixed={shown(dict(self.fixed))} is not allowed: it must be a dict of whole numbers")
            if not (0 <= axis < self.leading and 0 <= position < shape[axis]):
                raise ValueError(f"position {position} of axis {axis} is outside an image of shape {shape}")
        for axis, positions in self.within.items():
            check_kind(f"within[{axis}]", positions, Sequence, "a range, or a list of positions")
            places = [check_whole(f"within[{axis}]", position) for position in positions]
            if axis not in self.stack_axes or not places or max(places) >= shape[axis]:
                raise ValueError(f"positions {positions} of axis {axis} are outside an image of shape {shape}")
            if len(set(places)) < len(places):
                raise ValueError(f"positions {positions} of axis {axis} are not allowed: give each of them once")
        for index in self.left_out:
            is_inside = isinstance(index, tuple) and len(index) == len(self.stack_axes)
            if not is_inside or any(not 0 <= at < length for at, length in zip(index, self.stack_shape, strict=True)):
                raise ValueError(f"left_out holds {shown(index)}, which is no plane of an image of shape {shape}")
        if self.left_out and not self.indices:
            raise ValueError("left_out names every plane: there is none left")

    def check_index(self, name: str, index: Any) -> Index:
        """The index of a plane that is walked, or ``ValueError``, which names the argument that it was given by."""
        walked = self.indices
        if not isinstance(index, tuple) or index not in walked:
            planes = f"from {walked[0]} to {walked[-1]}" if len(walked) > 1 else f"{walked[0]}"
            raise ValueError(f"{name}={shown(index)} is no plane of this stack: allowed are indices {planes}")
        return walked[walked.index(index)]

    @property
    def leading(self) -> int:
        """Number of axes before the plane's."""
        return len(self.data.shape) - 2 - self.rgb

    @property
    def plane_size(self) -> tuple[int, int]:
        """(height, width)."""
        rows, columns = self.data.shape[self.leading : self.leading + 2]
        return int(rows), int(columns)

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """(height, width), in colour (height, width, 3 or 4), as it is stored."""
        return tuple(int(length) for length in self.data.shape[self.leading :])

    @property
    def is_large(self) -> bool:
        """Whether planes are read some rows at a time where that is possible."""
        return max(self.plane_size) > LARGE_SIDE

    @property
    def stack_axes(self) -> tuple[int, ...]:
        """The axes that are walked plane by plane."""
        return tuple(axis for axis in range(self.leading) if axis not in self.fixed)

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Their lengths, all of them; empty for a single plane."""
        return tuple(int(self.data.shape[axis]) for axis in self.stack_axes)

    @property
    def indices(self) -> list[Index]:
        """The index of every plane that is walked, along the stack axes, in C order."""
        shape = self.data.shape
        walked = product(*(self.within.get(axis, range(int(shape[axis]))) for axis in self.stack_axes))
        return [index for index in walked if index not in self.left_out]

    def plane(self, index: Index) -> NDArray[Any]:
        """Read one plane: (H, W), or (H, W, 3) in colour (alpha is dropped)."""
        return self._read(index)

    def block(self, where: tuple[slice, ...]) -> NDArray[Any]:
        """Read several planes at once: (..., H, W), or (..., H, W, 3), for a slice along each stack axis."""
        return self._read(where)

    def part(self, index: Index, rows: slice, columns: slice = slice(None)) -> NDArray[Any]:
        """Read a part of one plane: (h, w), or (h, w, 3)."""
        whole = columns.start is None  # readers of files take rows, and some no columns
        return self._read(index, (rows,) if whole else (rows, columns))

    def _read(self, where: tuple[int | slice, ...], inside: tuple[slice, ...] = ()) -> NDArray[Any]:
        position = {**self.fixed, **dict(zip(self.stack_axes, where, strict=True))}
        pixels = np.asarray(self.data[(*(position[axis] for axis in range(self.leading)), *inside)])
        return pixels[..., :3] if self.rgb else pixels


def may_tile(size: tuple[int, int], params: AmgParameters) -> bool:
    """Whether a plane of (height, width) ``size`` may be taken tile by tile.

    Where nobody asked for tiles, SAM's own crop layers are what was promised, and a plane of ``LARGE_SIDE`` is small.
    """
    if params.tile_size:
        return max(size) > params.tile_size
    return params.crop_layers == "auto" and max(size) > LARGE_SIDE


def plane_number(index: Index) -> int | list[int]:
    """A plane's index in JSON: a number, or a list of numbers where the stack has several axes or none."""
    return index[0] if len(index) == 1 else list(index)
