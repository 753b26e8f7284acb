"""Intensities of any kind to the 8-bit RGB that SAM sees, the same way for a whole stack."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import PlaneStack

LOW_PERCENTILE = 0.1
HIGH_PERCENTILE = 99.8
SAMPLED_PLANES = 8  # of a stack, spread evenly
SAMPLED_PIXELS = 1_000_000  # of a plane

#: Added before rounding to 8 bits, so that a value which falls on a half does so in every number
#: type. Without it uint8 data and its float copy round apart; 255 * float32's epsilon is 3e-5.
TIE_BREAK = 7.3e-4

HOLLOW = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)  # the eight neighbours
HOT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class IntensityRange:
    """The values shown black and white."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"intensities from {self.low:g} to {self.high:g} are no range: low must be below high")


def percentile_range(stack: PlaneStack) -> IntensityRange:
    """The range that leaves out the darkest 0.1 % and the brightest 0.2 % of a stack's finite pixels.

    Up to 8 planes are read, one at a time. The percentiles are order statistics, so multiplying
    the image multiplies them exactly; hot pixels are replaced first, so that not even one changes
    them. Raises ``ValueError`` if no pixel is finite or all are equal.
    """
    indices = stack.indices
    chosen = np.unique(np.linspace(0, len(indices) - 1, SAMPLED_PLANES).round().astype(int))
    values = np.concatenate([_sample(stack.plane(indices[position])) for position in chosen])
    if not len(values):
        raise ValueError("the image has no finite pixel: every value is NaN or infinite")
    low, high = np.percentile(values, [LOW_PERCENTILE, HIGH_PERCENTILE], method="nearest")
    if low == high:  # nearly empty: a few objects on a constant background
        low, high = values.min(), values.max()
    if low == high:
        raise ValueError(f"the image is constant: every pixel is {low:g}, there is nothing to segment")
    return IntensityRange(float(low), float(high))


def _sample(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Finite pixels of a plane, about a million at most, hot pixels replaced."""
    height, width = plane.shape[:2]
    step = max(1, int((height * width / SAMPLED_PIXELS) ** 0.5))
    values = remove_hot_pixels(plane.astype(np.float64))[::step, ::step].ravel()
    return values[np.isfinite(values)]


def remove_hot_pixels(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace single pixels far above all eight neighbours by the 3 x 3 median.

    Far is half the range of the median-filtered plane: a camera defect is that far, the image of
    even a point source is spread over several pixels. Colour planes are returned as they are.
    """
    if plane.ndim == 3:
        return plane
    smooth = np.nan_to_num(plane.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    median = cv2.medianBlur(smooth, 3)
    highest_neighbour = cv2.dilate(smooth, HOLLOW)
    span = float(median.max() - median.min())
    hot = (smooth > highest_neighbour + HOT_SHARE * span) & (span > 0)
    return np.where(hot, median, plane)


def to_rgb(plane: NDArray[Any], intensities: IntensityRange) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) of any real type -> (H, W, 3) uint8, what the model sees.

    NaN becomes black, values beyond the range black or white.
    """
    values = remove_hot_pixels(plane.astype(np.float64))
    with np.errstate(invalid="ignore"):
        scaled = (values - intensities.low) / (intensities.high - intensities.low)
    scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    grey = np.floor(scaled * 255 + 0.5 + TIE_BREAK).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
