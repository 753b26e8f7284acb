"""Columns that are measured on demand: the shape of objects, by scikit-image's regionprops, and their intensity.

Shapes are those of a plane, or of the volume for objects through z, of which regionprops has fewer. Lengths are in
pixels and, where the size of a pixel is known, in its unit too: "perimeter" and "perimeter_um".
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.review.edits import Index
from napari_sam_amg.review.remeasure import Box, Grid, Piece, pieces

#: Name of a column, and what it says in a line.
SHAPES: Mapping[str, str] = {
    "perimeter": "length of the outline",
    "eccentricity": "0: a circle, towards 1: a line; of the ellipse with the same moments",
    "solidity": "area over that of the convex hull; below 1 where the outline is dented",
    "circularity": "4 pi area / perimeter^2; 1: a circle; of small objects it can exceed 1, since pixels are square",
    "major_axis": "longer axis of the ellipse with the same moments",
    "minor_axis": "shorter axis of it",
    "orientation": "degrees from the vertical to the longer axis, counterclockwise, -90 to 90",
}
STATISTICS: Mapping[str, str] = {
    "mean": "mean of the intensities", "min": "the lowest", "max": "the highest", "sum": "all added up",
    "std": "standard deviation",
}  # fmt: skip
VOLUME_SHAPES = ("solidity", "major_axis", "minor_axis")  # those that regionprops has of a volume
_LENGTHS = ("perimeter", "major_axis", "minor_axis")
Values = dict[str, dict[int, float]]  # by column and id


@dataclass(frozen=True, slots=True, eq=False)
class Intensities:
    """An image whose intensities are measured."""

    column: str  # its name as columns have it
    plane_of: Callable[[Index], NDArray[Any]]  # (H, W), or (H, W, channels)
    channels: tuple[str, ...] = ("",)  # what follows the name of the column


def column_name(layer: str) -> str:
    """The name of a layer as part of a column's: words that a filter can read."""
    return re.sub(r"\W+", "_", layer).strip("_") or "image"


def shape_names(link: str) -> tuple[str, ...]:
    """Which shapes can be measured: of planes all, through z fewer; through time an object has no one shape."""
    return {"none": tuple(SHAPES), "z": VOLUME_SHAPES}.get(link, ())


def shapes(
    plane_of: Callable[[Index], NDArray[Any]],
    boxes: Mapping[int, Mapping[Index, Box]],
    names: Iterable[str],
    grid: Grid,
) -> Iterator[tuple[int, dict[str, float]]]:
    """The shape of each object, by id: a generator, since 1000 of them take about a second.

    ``boxes``: where each object is, by id and plane.
    """
    wanted = [name for name in names if name in shape_names(grid.link)]
    for label, places in boxes.items():
        parts = pieces(plane_of, label, places)
        if parts:
            yield label, shape(parts, wanted, grid)


def shape(parts: Sequence[Piece], names: Sequence[str], grid: Grid) -> dict[str, float]:
    """Of one object; of several planes that are not linked, of the plane that holds most of it."""
    spacing = _spacing(grid)
    mask = _volume(parts, grid) if grid.link == "z" else max((one.mask for one in parts), key=lambda one: one.sum())
    in_pixels = _properties(mask, names, None)
    row: dict[str, float] = {}
    real = in_pixels if spacing is None else _properties(mask, names, spacing)
    for name in names:
        # what has no unit is that of the real shape, where pixels are no squares
        row[name] = in_pixels[name] if name in _LENGTHS else real[name]
        if name in _LENGTHS and spacing is not None and name in real:
            row[grid.units.column(name, 1)] = real[name]
    return row


def shape_columns(names: Iterable[str], grid: Grid) -> list[str]:
    """Names of the columns that :func:`shapes` gives."""
    spacing, found = _spacing(grid), []
    for name in shape_names(grid.link):
        if name in set(names):
            is_known = spacing is not None and (name != "perimeter" or _is_square(spacing))
            found += [name, grid.units.column(name, 1)] if name in _LENGTHS and is_known else [name]
    return found


def _spacing(grid: Grid) -> tuple[float, ...] | None:
    return grid.units.voxel if grid.link == "z" else grid.units.pixel_size


def _volume(parts: Sequence[Piece], grid: Grid) -> NDArray[np.bool_]:
    positions = [part.index[grid.axis] for part in parts]
    top, left = (min(part.corner[axis] for part in parts) for axis in (0, 1))
    bottom, right = (max(part.corner[axis] + part.mask.shape[axis] for part in parts) for axis in (0, 1))
    volume = np.zeros((max(positions) - min(positions) + 1, bottom - top, right - left), bool)
    for position, part in zip(positions, parts, strict=True):
        down, across = part.corner[0] - top, part.corner[1] - left
        height, width = part.mask.shape
        volume[position - min(positions), down : down + height, across : across + width] |= part.mask
    return volume


def _properties(mask: NDArray[np.bool_], names: Sequence[str], spacing: Sequence[float] | None) -> dict[str, float]:
    """Shapes of one object with pixels of this size; without those that regionprops has for square pixels alone."""
    from skimage.measure import regionprops  # takes a while to import, and the window shows the names above at once

    region = regionprops(mask.astype(np.uint8), spacing=spacing)[0]
    is_square = spacing is None or _is_square(spacing)
    ways: dict[str, Callable[[], float]] = {
        "perimeter": lambda: region.perimeter,
        "eccentricity": lambda: region.eccentricity,
        "solidity": lambda: region.solidity,
        "circularity": lambda: (
            4 * np.pi * mask.sum() / (regionprops(mask.astype(np.uint8))[0].perimeter or np.nan) ** 2
        ),
        "major_axis": lambda: region.axis_major_length,
        "minor_axis": lambda: region.axis_minor_length,
        "orientation": lambda: np.degrees(region.orientation),
    }
    return {name: _number(ways[name]) for name in names if name != "perimeter" or is_square}


def _number(value: Callable[[], float]) -> float:
    """NaN where there is no such thing: the hull of a flat volume, the axes of a line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(value())
    except (ValueError, ArithmeticError, IndexError):
        return np.nan


def _is_square(spacing: Sequence[float]) -> bool:
    return bool(np.allclose(spacing, spacing[0]))


def intensity_columns(names: Iterable[str], image: Intensities) -> list[str]:
    """Names of the columns that :func:`intensities` gives: "mean_nuclei", "mean_nuclei_c1"."""
    wanted = [name for name in STATISTICS if name in set(names)]
    return [f"{name}_{image.column}{channel}" for channel in image.channels for name in wanted]


def intensities(
    plane_of: Callable[[Index], NDArray[Any]],
    boxes: Mapping[int, Mapping[Index, Box]],
    names: Iterable[str],
    image: Intensities,
) -> Values:
    """Intensities of objects over all of their pixels. Each plane of the image is read once."""
    sums: dict[int, NDArray[np.float64]] = {}
    there: dict[Index, list[tuple[int, Box]]] = {}
    for label, places in boxes.items():
        for index, box in places.items():
            there.setdefault(index, []).append((label, box))
    for index in sorted(there):
        pixels = np.asarray(image.plane_of(index), np.float64)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        labels = plane_of(index)
        for label, box in there[index]:
            _add(sums, label, pixels[box][np.asarray(labels[box]) == label])
    return _values(sums, list(names), image)


def _add(sums: dict[int, NDArray[np.float64]], label: int, values: NDArray[np.float64]) -> None:
    """Count, sum, sum of squares, least and most of each channel: (5, channels)."""
    if not len(values):
        return
    new = np.stack([
        np.full(values.shape[1], float(len(values))), values.sum(0), (values**2).sum(0), values.min(0), values.max(0),
    ])  # fmt: skip
    if label in sums:
        old = sums[label]
        new = np.stack([*(old + new)[:3], np.minimum(old[3], new[3]), np.maximum(old[4], new[4])])
    sums[label] = new


def _values(sums: Mapping[int, NDArray[np.float64]], names: list[str], image: Intensities) -> Values:
    found: Values = {name: {} for name in intensity_columns(names, image)}
    for label, (count, total, squares, least, most) in sums.items():
        mean = total / count
        # rounding can leave less than nothing
        spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
        for statistic, values in zip(STATISTICS, (mean, least, most, total, spread), strict=True):
            for channel, value in zip(image.channels, values, strict=False):
                if (column := f"{statistic}_{image.column}{channel}") in found:
                    found[column][label] = float(value)
    return found
