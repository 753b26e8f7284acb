"""Grids of point prompts."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.params import AmgParameters

#: With ``point_search="hierarchical"``: every 4th point along each side, then every 2nd, then the rest.
STRIDES = (4, 2, 1)


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
    # the reference divides and then cuts off: of 10 points and a factor of 3 there are 10, 3 and 1
    sides = [int(params.points_per_side / params.crop_n_points_downscale_factor**layer) for layer in range(layers)]
    if min(sides) < 1:
        raise ValueError(
            f"points_per_side={params.points_per_side} divided by crop_n_points_downscale_factor="
            f"{params.crop_n_points_downscale_factor} in each of {params.crop_n_layers} crop layers leaves no point"
        )
    return [square_grid(side) for side in sides]


def search_levels(params: AmgParameters) -> list[list[NDArray[np.float64]]]:
    """The grids of ``layer_grids`` in the parts that are asked one after another: a list for every crop layer.

    Each part is (n, 2) points in 0..1; every point is in one of them. With ``point_search="grid"`` there
    is one, the grid itself. With "hierarchical" there are three, by ``STRIDES``; of an explicit grid, which
    has no sides, every 16th point in its order, then every 4th, then the rest. With "guided", which asks objects
    before any of them, the first part is the coarse grid, and each one after it twice as dense; an explicit grid is
    one part, and without a coarse grid there is none. Parts may be empty.

    Source: the coarse grid of "hierarchical segment everything", Shu et al. 2023 (TinySAM, arXiv 2312.13789),
    which goes from every 4th point to all at once.
    """
    grids = layer_grids(params)
    is_explicit = params.point_grids is not None
    if params.point_search == "grid" or (params.point_search == "guided" and is_explicit):
        return [[grid] for grid in grids]
    strides = STRIDES if params.point_search == "hierarchical" else guided_strides(params)
    if is_explicit:
        ranks = [_ranks((len(grid),), [stride**2 for stride in strides]) for grid in grids]
    else:
        ranks = [_ranks((math.isqrt(len(grid)),) * 2, strides) for grid in grids]
    return [[grid[rank == level] for level in range(len(strides))] for grid, rank in zip(grids, ranks, strict=True)]


def guided_strides(params: AmgParameters) -> tuple[int, ...]:
    """Of the grid's points along each side, every how many are in each part: powers of two, the coarse grid's first.

    The coarse grid has about ``coarse_points_per_side`` of ``points_per_side`` points; in crop layers with fewer
    points it has as much fewer.
    """
    assert params.points_per_side is not None
    if not params.coarse_points_per_side:
        return ()
    coarsest = max(0, round(math.log2(params.points_per_side / params.coarse_points_per_side)))
    return tuple(2**power for power in range(coarsest, -1, -1))


def _ranks(shape: tuple[int, ...], strides: Sequence[int]) -> NDArray[np.int64]:
    """In which part each point of an array of points is, row by row; the margins of the first part are equal.

    Each stride is a multiple of the next, so that no part holds points of an earlier one.
    """
    ranks = np.full(shape, len(strides), np.int64)
    if not strides:
        return ranks.ravel()
    start = (shape[0] - 1) % strides[0] // 2
    for level, stride in reversed(list(enumerate(strides))):
        ranks[(slice(start % stride, None, stride),) * len(shape)] = level
    return ranks.ravel()


def count_point_batches(points: int, batch: int) -> int:
    """How many batches ``point_batches`` makes of so many points."""
    return -(-points // batch)  # rounded up


def point_batches(crop: CropBox, grid: NDArray[np.float64], batch: int) -> Iterator[NDArray[np.float64]]:
    """The grid in pixels (x, y) of the crop, at most ``batch`` points at a time."""
    height, width = crop.size
    points = grid * (width, height)
    for start in range(0, len(points), batch):
        yield points[start : start + batch]
