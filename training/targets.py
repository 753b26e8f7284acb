"""What the model is asked about a view, and the right answers: points and dense maps."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from napari_sam_amg.sam.unet_encoder import CENTER_UNIT, MAP_STRIDE
from training.views import Floats

MIN_AREA = 20  # px; smaller instances are not asked for
RING = 9  # px; hard background points lie within half of this of an instance

Labels = NDArray[np.int32]


def large_instances(labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Ids of the instances worth a point, and their areas."""
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    ids = np.flatnonzero(areas >= MIN_AREA)
    return ids, areas[ids].astype(np.float64)


def pick_pixels(rng: Generator, mask: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """``count`` pixels (x, y) of a mask: (count, 2)."""
    flat = rng.choice(np.flatnonzero(mask), count)
    return np.column_stack([flat % mask.shape[1], flat // mask.shape[1]])


def object_points(rng: Generator, labels: Labels, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Points (count, 2) on instances, and whose they are (count,).

    Half of the time every instance is as likely, else every pixel.
    """
    ids, areas = large_instances(labels)
    chance = areas / areas.sum() if rng.random() < 0.4 else None
    chosen = rng.choice(ids, count, replace=len(ids) < count, p=chance)
    points = [pick_pixels(rng, labels == label_id, 1) for label_id in chosen]
    return np.concatenate([np.empty((0, 2), np.intp), *points]), chosen


def background_points(rng: Generator, labels: Labels, inside: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Up to ``count`` points off every instance, a third of them close to one."""
    background = (labels == 0) & inside
    near = cv2.dilate((labels > 0).astype(np.uint8), np.ones((RING, RING), np.uint8)) > 0
    ring = background & near
    close = int((rng.random(count) < 0.35).sum()) if ring.any() else 0
    parts = [pick_pixels(rng, mask, n) for mask, n in ((ring, close), (background, count - close)) if n and mask.any()]
    return np.concatenate([np.empty((0, 2), np.intp), *parts])


def dense_target(labels: Labels) -> Floats:
    """Foreground, boundary, and offset (row, column) to the instance's centre: (4, S / 2, S / 2)."""
    small = labels[::MAP_STRIDE, ::MAP_STRIDE]
    as_float = small.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    boundary = cv2.dilate(as_float, kernel) != cv2.erode(as_float, kernel)
    offset = center_offsets(labels)[:, ::MAP_STRIDE, ::MAP_STRIDE] / CENTER_UNIT
    return np.concatenate([(small > 0)[None], boundary[None], offset]).astype(np.float32)


def center_offsets(labels: Labels) -> NDArray[np.float64]:
    """From each pixel to the mean pixel of its instance: (2, S, S) rows, columns."""
    flat, areas = labels.ravel(), np.bincount(labels.ravel())
    grid = np.indices(labels.shape, dtype=np.float64)
    means = [np.bincount(flat, axis.ravel()) / np.maximum(areas, 1) for axis in grid]
    return np.stack([mean[labels] for mean in means]) - grid
