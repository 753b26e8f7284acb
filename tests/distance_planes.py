"""Maps as a segmentation decoder would make them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam_amg.sam.distance_maps import DistancePlanes


def smooth_planes(shape: tuple[int, int], sigma: float, seed: int) -> DistancePlanes:
    """Smooth noise, each map over 0..1."""
    generator = np.random.default_rng(seed)
    return DistancePlanes(*(_stretched(ndimage.gaussian_filter(generator.random(shape), sigma)) for _ in range(3)))


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float32]:
    values = values - values.min()
    return (values / values.max()).astype(np.float32)


def discs(shape: tuple[int, int], middles: list[tuple[int, int, int]]) -> tuple[DistancePlanes, NDArray[np.int32]]:
    """What a decoder that is right predicts of discs (row, column, radius), and their labels 1, 2, ..."""
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    nearest = np.full(shape, np.inf)
    for index, (row, column, radius) in enumerate(middles, 1):
        away = np.hypot(rows - row, columns - column) / radius
        labels[(away <= 1) & (away < nearest)] = index
        nearest = np.minimum(nearest, away)
    away = np.minimum(nearest, 1).astype(np.float32)  # 0 in the middle, 1 on the outline and outside
    return DistancePlanes((labels > 0).astype(np.float32), away, away), labels
