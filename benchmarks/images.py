"""The images: those that ship with the plugin, brought to any size, so that anybody can run this."""

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam_amg.plugin.sample_data import DATA
from napari_sam_amg.run import as_rgb

BASE_SIDE = 512  # px


def sample_image(name: str, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) RGB: the square of 512 px from ``name``.tif, scaled; so the content is the same at any size."""
    return _scaled(_square(as_rgb(tifffile.imread(DATA / f"{name}.tif"))), size)


def sample_planes(count: int, size: int) -> NDArray[np.uint8]:
    """(count, size, size): planes of the electron microscopy stack, at most its 8, scaled."""
    stack = tifffile.imread(DATA / "electron_microscopy_stack.tif")
    if count > len(stack):
        raise ValueError(f"planes={count} is not allowed: the sample stack has {len(stack)}")
    return np.stack([_scaled(_square(plane), size) for plane in stack[:count]])


def _square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of an image, which is continued by reflection where it is too small."""
    missing = [max(0, BASE_SIDE - side) for side in image.shape[:2]]
    widths = [(0, amount) for amount in missing] + [(0, 0)] * (image.ndim - 2)
    padded = np.pad(image, widths, mode="symmetric")
    top, left = ((side - BASE_SIDE) // 2 for side in padded.shape[:2])
    return padded[top : top + BASE_SIDE, left : left + BASE_SIDE]


def _scaled(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    interpolation = cv2.INTER_AREA if size < BASE_SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=interpolation), np.uint8)
