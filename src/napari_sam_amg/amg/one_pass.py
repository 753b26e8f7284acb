"""What a large plane shows, measured while its rows go by once: nothing of its size is held.

:func:`contrast.measure` goes over a plane twice, since hot pixels are replaced, and how bright one is must be known
first. Here those that may be hot are noted, which are few, and what they added is taken back at the end.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.contrast import SQUARE, PlaneContrast, contrast_of, sample_type, sampling_step
from napari_sam_amg.amg.hot_pixels import (
    HOT_SHARE,
    brightest_beside,
    finite_floats,
    known,
    margin_of,
    row_slices,
    without_least,
)
from napari_sam_amg.amg.no_data import BESIDE, closed, count_without_data
from napari_sam_amg.amg.plane_rows import PlaneRows

CELL = 1024  # px; parts of a plane so large are compared, and those that show most are kept
LOOKS = 3  # of them
SMALLEST_CELL = 256  # px; what is left of a larger plane at its end is none if it is smaller
UNSURE = 0.999  # of the margin by which a pixel is hot: 32-bit floats round

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one look at a plane says."""

    contrast: PlaneContrast | None  # None if no pixel is finite
    cells: tuple[NDArray[Any], ...]  # pixels (h, w) or (h, w, 3) of the parts that show most, as they are stored


def look(rows: PlaneRows, colour: bool, dtype: np.dtype[Any]) -> Look:
    """Walk down a plane once. Percentiles are those of :func:`contrast.measure`, sums but for the order of adding."""
    height, width = rows.size
    step = sampling_step(rows.size)
    sample: NDArray[Any] = np.full(
        (-(-height // step), -(-width // step), *([3] if colour else [])), np.nan, sample_type(dtype)
    )
    sums, cells, suspects, gaps = Sums(), _Cells(rows.size), _Suspects(), 0
    for some in row_slices(height, width):
        top = max(some.start - 1, 0)
        first = max(top - BESIDE, 0)
        stored = rows.get(first, min(some.stop + 1 + BESIDE, height))
        seen = closed(stored, slice(top - first, some.stop + 1 - first))
        inner = slice(some.start - top, some.stop - top)
        pixels = stored[some.start - first : some.stop - first]
        gaps += count_without_data(pixels)
        values = seen[inner]
        means = sums.add(values)
        row = -(-some.start // step)
        sampled = values[row * step - some.start :: step, ::step]
        sample[row : row + len(sampled)] = sampled
        if not colour:
            suspects.add(seen, inner, values, means, some.start)
        cells.add(pixels, means)
    margin = suspects.margin
    hot = suspects.hot(margin)
    sums.replace(hot)
    if len(hot.rows):
        in_sample = (hot.rows % step == 0) & (hot.columns % step == 0)
        sample[hot.rows[in_sample] // step, hot.columns[in_sample] // step] = hot.medians[in_sample]
    finite = sample[np.isfinite(sample)]
    return Look(contrast_of(finite, sums, margin, gaps) if len(finite) else None, cells.fullest())


@dataclass(frozen=True, slots=True, eq=False)
class HotPixels:
    """N pixels of a plane that are to be replaced."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Floats
    medians: Floats  # of the 3 x 3 pixels around each; NaN where these have no data
    means: Floats  # of the square that each lies in; NaN if in none


class _Suspects:
    """Pixels that may be hot, by what is known of the plane so far: the margin only grows."""

    def __init__(self) -> None:
        self._darkest, self._brightest = np.float32(np.inf), np.float32(-np.inf)
        self._noted: list[tuple[NDArray[Any], ...]] = []

    @property
    def margin(self) -> float:
        """As ``hot_pixels.hot_margin``; infinity as long as there is nothing."""
        return margin_of(self._darkest, self._brightest)

    def add(self, seen: Floats, inner: slice, values: Floats, means: Floats, start: int) -> None:
        """``seen``: rows with one more above and below; ``values``, ``means``: of the rows, from ``start`` on."""
        smooth = finite_floats(seen)
        median = cv2.medianBlur(smooth, 3)[inner]
        around = brightest_beside(smooth)[inner]
        smooth = smooth[inner]
        self._darkest = known(median).min(initial=self._darkest)
        self._brightest = known(median).max(initial=self._brightest)
        with np.errstate(over="ignore", invalid="ignore"):
            least = UNSURE * HOT_SHARE * float(self._brightest - self._darkest)
            rows, columns = np.nonzero((smooth > around + least) & np.isfinite(values))
        if not len(rows):
            return
        square_rows, square_columns = rows // SQUARE, columns // SQUARE
        in_square = (square_rows < means.shape[0]) & (square_columns < means.shape[1])
        square_means = np.full(len(rows), np.nan)
        square_means[in_square] = means[square_rows[in_square], square_columns[in_square]]
        at = rows, columns
        self._noted.append((rows + start, columns, smooth[at], around[at], values[at], median[at], square_means))

    def hot(self, margin: float) -> HotPixels:
        none = np.empty(0)
        noted = zip(*self._noted, strict=True) if self._noted else [(none,)] * 7
        rows, columns, smooth, around, values, medians, means = (np.concatenate(column) for column in noted)
        with np.errstate(over="ignore"):
            hot = smooth > around + margin
        return HotPixels(
            rows[hot].astype(np.int64),
            columns[hot].astype(np.int64),
            values[hot],
            without_least(medians[hot]),
            means[hot],
        )


class Sums:
    """Variance of the pixels, and of the means of squares, as ``contrast._Moments``, of which nothing is kept."""

    def __init__(self) -> None:
        self._origin: float | None = None  # large values that differ by little must not drown the difference
        self._pixels, self._squares = np.zeros(3), np.zeros(3)  # count, sum, sum of squares

    def add(self, values: Floats) -> Floats:
        """The means of the squares in some rows, (rows, columns) of whole squares."""
        grey = values.mean(axis=2) if values.ndim == 3 else values
        rows, columns = (length // SQUARE for length in grey.shape)
        means = np.empty((rows, columns))
        if means.size:
            whole = grey[: rows * SQUARE, : columns * SQUARE]
            means = np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))
        finite = grey[np.isfinite(grey)]
        if self._origin is None and len(finite):
            self._origin = float(finite[0])
        self._pixels += self._powers(finite)
        self._squares += self._powers(means[np.isfinite(means)])
        return means

    def replace(self, hot: HotPixels) -> None:
        """Take some pixels back, and their medians instead."""
        self._pixels += self._powers(hot.medians[np.isfinite(hot.medians)]) - self._powers(hot.values)
        squares = np.stack([hot.rows // SQUARE, hot.columns // SQUARE], axis=1)[np.isfinite(hot.means)]
        change = ((hot.medians - hot.values) / SQUARE**2)[np.isfinite(hot.means)]
        _, first, which = np.unique(squares, axis=0, return_index=True, return_inverse=True)
        before = hot.means[np.isfinite(hot.means)][first]
        after = before + np.bincount(which.ravel(), change, minlength=len(first))
        self._squares += self._powers(after) - self._powers(before)

    def _powers(self, values: Floats) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            values = values - (self._origin or 0.0)
            return np.array([len(values), values.sum(), values @ values])

    @property
    def content(self) -> float:
        """See ``contrast.PlaneContrast``."""
        return _variance(self._squares) ** 0.5

    @property
    def structure(self) -> float:
        """See ``contrast._Moments.structure``."""
        variance = _variance(self._pixels)
        if not self._squares[0] or not 0 < variance < np.inf:
            return np.inf
        return float(SQUARE**2 * self.content**2 / variance)


def _variance(powers: Floats) -> float:
    count, total, squares = powers.tolist()
    with np.errstate(over="ignore", invalid="ignore"):
        variance = squares / count - (total / count) ** 2 if count else 0.0
    return max(variance, 0.0)


class _Cells:
    """Keeps those parts of a plane whose squares differ most."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._smallest = min(SMALLEST_CELL, *size)
        self._lefts = range(0, size[1], CELL)
        self._pixels: list[NDArray[Any]] = []  # of the row of cells that goes by
        self._means: list[Floats] = []
        self._kept: list[tuple[float, NDArray[Any]]] = []

    def add(self, pixels: NDArray[Any], means: Floats) -> None:
        """The next rows of the plane."""
        if sum(map(len, self._pixels)) + len(pixels) > CELL:
            self._close()
        self._pixels.append(pixels)
        self._means.append(means)

    def _close(self) -> None:
        rows = sum(map(len, self._pixels))
        means = np.concatenate(self._means)
        for left in self._lefts if rows >= self._smallest else ():
            some = means[:, left // SQUARE : (left + CELL) // SQUARE]
            some = some[np.isfinite(some)]
            shows = float(some.std()) if len(some) else 0.0
            parts = [pixels[:, left : left + CELL] for pixels in self._pixels]
            if shows > 0 and parts[0].shape[1] >= self._smallest and shows > self._least():
                self._kept.append((shows, np.concatenate(parts)))
                self._kept = sorted(self._kept, key=lambda kept: -kept[0])[:LOOKS]
        self._pixels, self._means = [], []

    def _least(self) -> float:
        return self._kept[-1][0] if len(self._kept) == LOOKS else 0.0

    def fullest(self) -> tuple[NDArray[Any], ...]:
        """At the end: the parts that show most, that which does most first."""
        if self._pixels:
            self._close()
        return tuple(pixels for _, pixels in self._kept)
