"""Grids of point prompts."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.params import AmgParameters


def square_grid(points_per_side: int) -> NDArray[np.float64]:
    """Cell centres of a grid over the unit square: (n * n, 2) points (x, y), row by row.

    Source: ``segment_anything.utils.amg.build_point_grid``.
    """
    offset = 1 / (2 * points_per_side)
    side = np.linspace(offset, 1 - offset, points_per_side)
    x, y = np.meshgrid(side, side)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def layer_grids(params: AmgParameters) -> list[NDArray[np.float64]]:
    """One grid of (n, 2) points in 0..1 per crop layer, layer 0 first.

    Source: ``segment_anything.utils.amg.build_all_layer_point_grids``.
    """
    layers = params.crop_n_layers + 1
    if params.point_grids is not None:
        if len(params.point_grids) != layers:
            raise ValueError(
                f"point_grids holds {len(params.point_grids)} grids, but crop_n_layers={params.crop_n_layers} "
                f"needs {layers}: one for the image and one for every crop layer"
            )
        return [np.asarray(grid, dtype=np.float64).reshape(-1, 2) for grid in params.point_grids]
    assert params.points_per_side is not None
    sides = [int(params.points_per_side / params.crop_n_points_downscale_factor**layer) for layer in range(layers)]
    if min(sides) < 1:
        raise ValueError(
            f"points_per_side={params.points_per_side} divided by crop_n_points_downscale_factor="
            f"{params.crop_n_points_downscale_factor} in each of {params.crop_n_layers} crop layers leaves no point"
        )
    return [square_grid(side) for side in sides]


def point_batches(crop: CropBox, grid: NDArray[np.float64], batch: int) -> Iterator[NDArray[np.float64]]:
    """The grid in pixels (x, y) of the crop, at most ``batch`` points at a time."""
    height, width = crop.size
    points = grid * (width, height)
    for start in range(0, len(points), batch):
        yield points[start : start + batch]
