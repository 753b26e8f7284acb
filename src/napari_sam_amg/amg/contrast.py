"""How much a plane shows, and which planes of a stack show something: what the range of intensities is taken from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.hot_pixels import clean_rows, hot_margin, row_slices
from napari_sam_amg.amg.no_data import count_without_data

LOW_PERCENTILE = 0.1
HIGH_PERCENTILE = 99.8
SAMPLED_PIXELS = 1_000_000  # of a plane; of larger ones every second, third, ... along both sides

SQUARE = 8  # px
#: Of the variance of a plane, how many times more the means of SQUARE x SQUARE px must vary than those of noise: noise
#: gives 1, objects of that size up to 64.
STRUCTURE = 4.0
ALIKE = 4.0  # times less or more contrast than the planes that show most: further off, a plane does not decide
FEW = 3  # planes; of more than these, one that shows most by far may be damaged
WIDE = 0.3  # of a plane, brighter than the middle of its range: a flash or leaking light, where objects leave more free
OUTLYING = 10  # one plane of so many may lie outside the range of a stack at either end


@dataclass(frozen=True, slots=True)
class PlaneContrast:
    """What one plane shows. Values are order statistics, so they scale as the image does."""

    low: float  # LOW_PERCENTILE of its pixels, hot ones and narrow gaps replaced; the least, if half and more are equal
    high: float  # HIGH_PERCENTILE of them, or the greatest
    bright: float  # share of the pixels that are brighter than the middle between low and high
    structure: float  # how many times more neighbours are alike than in noise
    content: float  # standard deviation of the squares' means, in the image's own units
    hot_margin: float = math.inf  # how far above its neighbours a hot pixel is, see hot_pixels.hot_margin
    without_data: int = 0  # pixels that are NaN or infinite, see no_data

    @property
    def contrast(self) -> float:
        return self.high - self.low


def sampling_step(plane_size: tuple[int, int]) -> int:
    """Every how manieth pixel, along both sides, is looked at for percentiles."""
    height, width = plane_size
    return max(1, int((height * width / SAMPLED_PIXELS) ** 0.5))


def measure(plane: NDArray[Any]) -> PlaneContrast | None:
    """Measure a plane (H, W) or (H, W, 3); None if no pixel is finite. It is walked some rows at a time."""
    height, width = plane.shape[:2]
    step, margin = sampling_step((height, width)), hot_margin(plane)
    sample: NDArray[Any] = np.empty(plane[::step, ::step].size, sample_type(plane.dtype))
    moments, filled, gaps = _Moments(), 0, 0
    for rows in row_slices(height, width):
        values = clean_rows(plane, rows, margin)
        some = values[-rows.start % step :: step, ::step].ravel()
        some = some[np.isfinite(some)]
        sample[filled : filled + len(some)] = some
        filled += len(some)
        gaps += count_without_data(plane[rows])
        moments.add(values)
    if not filled:
        return None
    return contrast_of(sample[:filled], moments, margin, gaps)


class Spread(Protocol):
    """How much pixels differ, and the means of squares; see ``PlaneContrast``."""

    @property
    def structure(self) -> float: ...

    @property
    def content(self) -> float: ...


def contrast_of(sample: NDArray[Any], moments: Spread, margin: float, gaps: int) -> PlaneContrast:
    """Of a plane: ``sample``, every n-th of its pixels, is put in another order; ``moments`` are of all."""
    low, high = _percentiles(sample)
    bright = np.count_nonzero(sample > low / 2 + high / 2) / len(sample)
    return PlaneContrast(low, high, bright, moments.structure, moments.content, margin, gaps)


def sample_type(dtype: np.dtype[Any]) -> type:
    """The smallest floats that hold values of a type, and their medians, exactly."""
    narrow = dtype.itemsize <= 2 or dtype.newbyteorder("=") == np.float32
    return np.float32 if narrow else np.float64


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """As ``np.percentile`` with method "nearest", in place and without its float32 ranks."""
    ranks = [int(np.rint((len(values) - 1) * (percentile / 100))) for percentile in (LOW_PERCENTILE, HIGH_PERCENTILE)]
    values.partition(ranks)
    low, high = (float(values[rank]) for rank in ranks)
    if low == high:  # nearly empty: a few objects on a constant background
        low, high = float(values.min()), float(values.max())
    return low, high


class _Moments:
    """Variance of the pixels, and of the means of squares, gathered row by row."""

    def __init__(self) -> None:
        self.count, self.origin, self.sum, self.squares = 0, 0.0, 0.0, 0.0
        self.means: list[NDArray[Any]] = []

    def add(self, values: NDArray[np.float64]) -> None:
        grey = values.mean(axis=2) if values.ndim == 3 else values
        rows, columns = (length // SQUARE for length in grey.shape)
        if rows:
            whole = grey[: rows * SQUARE, : columns * SQUARE]
            means: NDArray[Any] = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
            self.means.append(means[np.isfinite(means)])
        finite = grey[np.isfinite(grey)]
        if not self.count and len(finite):
            self.origin = float(finite[0])  # large values that differ by little must not drown the difference
        with np.errstate(over="ignore", invalid="ignore"):
            finite -= self.origin
            self.sum += float(finite.sum())
            self.squares += float(finite @ finite)
        self.count += len(finite)

    @property
    def content(self) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            means = np.concatenate(self.means) - self.origin
            return float(means.std()) if len(means) else 0.0

    @property
    def structure(self) -> float:
        """Infinity where it cannot be told: pixels that are no numbers leave no square, or values are too large."""
        mean = self.sum / self.count if self.count else 0.0
        variance = self.squares / self.count - mean * mean if self.count else 0.0  # mean**2 raises where this is inf
        if not any(map(len, self.means)) or not 0 < variance < np.inf:
            return np.inf
        return SQUARE**2 * self.content**2 / variance


def planes_that_show(planes: Sequence[PlaneContrast]) -> list[int]:
    """Which of the planes decide about the range: positions, in order; none if all are constant.

    Those in which neighbours are more alike than in noise, if there are such, else all that are not constant. Of these,
    those whose contrast is at least a quarter and at most four times the greatest. Of more than three planes the second
    greatest counts as that, if the first is bright over a wide area: a single damaged plane does not hide all others.
    """
    some = [position for position, plane in enumerate(planes) if plane.contrast > 0]
    some = [position for position in some if planes[position].structure > STRUCTURE] or some
    strongest = sorted((planes[position] for position in some), key=lambda plane: -plane.contrast)
    if len(strongest) > FEW and strongest[0].bright > WIDE:
        del strongest[0]
    most = strongest[0].contrast if strongest else 0.0
    return [position for position in some if most / ALIKE <= planes[position].contrast <= most * ALIKE]


def common_range(planes: Sequence[PlaneContrast]) -> tuple[float, float]:
    """From the lowest low to the highest high, but for one plane in ten at either end. At least one plane is needed."""
    outside = len(planes) // OUTLYING
    lows, highs = sorted(plane.low for plane in planes), sorted(plane.high for plane in planes)
    return lows[outside], highs[-1 - outside]
