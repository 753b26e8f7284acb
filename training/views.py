"""Cutting a square view out of an example: zoom, rotation, flip and place."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.dataset import Example

ZOOM_LIMITS = (0.35, 6.0)
FRAME = 512  # the product scales an image to this
WHOLE = 768  # of larger images the product's enlarged crops are as likely as the image itself
DIAMETERS = (16.0, 110.0)  # px in the view, of the median instance
ANTI_ALIAS = 0.7  # zooms below this blur first

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A square cut-out of an example, not yet coloured."""

    image: Floats  # (S, S, channels), grey values of the file
    labels: NDArray[np.int32]  # (S, S), ids 1 .. n without gaps
    inside: NDArray[np.bool_]  # (S, S), False where the view reaches over the image's edge


def draw_zoom(rng: Generator, example: Example) -> float:
    """Half by what the product does with an image of this size, half by the size of its instances."""
    if rng.random() < 0.55:
        side = max(example.labels.shape)
        largest = 1.8 if side <= WHOLE else 3.6
        zoom = FRAME / side * np.exp(rng.uniform(np.log(0.6), np.log(largest)))
    else:
        zoom = np.exp(rng.uniform(*np.log(DIAMETERS))) / example.diameter
    return float(np.clip(zoom, *ZOOM_LIMITS))


def draw_turn(rng: Generator) -> NDArray[np.float64]:
    """A rotation (one in four by any angle, else by right angles), mirrored half of the time: (2, 2)."""
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.25 else rng.integers(4) * np.pi / 2
    cos, sin = np.cos(angle), np.sin(angle)
    mirror = 1.0 if rng.random() < 0.5 else -1.0
    return np.array([[cos * mirror, -sin], [sin * mirror, cos]])


def draw_center(rng: Generator, labels: NDArray[np.uint16], extent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the view's centre lies (x, y): mostly near an instance, and rarely beyond the edge.

    ``extent``: (x, y) half sizes of the view in image pixels.
    """
    size = np.array(labels.shape[::-1], dtype=np.float64)
    center = rng.uniform(0, size)
    if rng.random() < 0.75:
        near = rng.integers(0, labels.shape, (64, 2))
        hits = near[labels[near[:, 0], near[:, 1]] > 0]
        if len(hits):
            center = hits[0][::-1] + rng.uniform(-0.8, 0.8, 2) * extent
    if rng.random() < 0.1:
        return center
    low, high = np.minimum(extent, size / 2), np.maximum(size - extent, size / 2)
    return np.clip(center, low, high)


def cut_view(rng: Generator, example: Example, side: int) -> View:
    """A random view of ``side`` px."""
    zoom = draw_zoom(rng, example) * np.exp(rng.uniform(-0.12, 0.12, 2))
    to_image = np.diag(1 / zoom) @ draw_turn(rng)
    extent = np.abs(to_image).sum(axis=1) * side / 2
    center = draw_center(rng, example.labels, extent)
    shift = center - 0.5 + to_image @ np.full(2, 0.5 - side / 2)
    matrix = np.column_stack([to_image, shift])
    image = _warp(_smooth(example.image, float(zoom.min())), matrix, side, cv2.INTER_LINEAR)
    labels = _warp(example.labels, matrix, side, cv2.INTER_NEAREST)
    inside = _warp(np.ones(example.labels.shape, np.uint8), matrix, side, cv2.INTER_NEAREST)
    image = image.astype(np.float32).reshape(side, side, -1)
    return View(image, consecutive(labels), inside > 0)


def _smooth(image: NDArray[Any], zoom: float) -> NDArray[Any]:
    return cv2.GaussianBlur(image, (0, 0), 0.4 / zoom) if zoom < ANTI_ALIAS else image


def _warp(array: NDArray[Any], matrix: NDArray[np.float64], side: int, flags: int) -> NDArray[Any]:
    """``matrix``: (2, 3) from view pixels (x, y) to image pixels."""
    return cv2.warpAffine(array, matrix, (side, side), flags=flags | cv2.WARP_INVERSE_MAP, borderValue=(0, 0, 0, 0))


def consecutive(labels: NDArray[np.generic]) -> NDArray[np.int32]:
    """The same instances as ids 1 .. n; 0 stays 0."""
    ids, inverse = np.unique(labels, return_inverse=True)
    first = 0 if ids[0] == 0 else 1
    return (inverse.reshape(labels.shape) + first).astype(np.int32)
