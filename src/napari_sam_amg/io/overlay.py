"""A picture of the labels over the image."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

OPACITY = 0.35
_COLOURS = 64
_GOLDEN = 0.618034  # of the circle of hues: neighbours in id are far apart in colour


def draw_overlay(image: NDArray[np.uint8], labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB and its labels (H, W) -> RGB with translucent labels and their outlines."""
    painted = _palette()[labels % _COLOURS]
    opacity = np.where(labels > 0, np.float32(OPACITY), np.float32(0))
    opacity[find_boundaries(labels, mode="inner", background=0)] = 1.0
    blended = image + opacity[..., None] * (painted - image.astype(np.float32))
    return np.rint(blended).astype(np.uint8)


def _palette() -> NDArray[np.float32]:
    """(n, 3) bright RGB colours in 0..255."""
    hues = (index * _GOLDEN % 1 for index in range(_COLOURS))
    return np.array([colorsys.hsv_to_rgb(hue, 0.8, 1.0) for hue in hues], np.float32) * 255
