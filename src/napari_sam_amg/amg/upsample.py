"""Low-resolution logits to full resolution, only where they decide anything.

The reference enlarges every mask to the model's square, cuts the padding off and enlarges that to
the image, both bilinearly, then measures full frames. Both steps are linear and separable, so
together they are one matrix for the rows and one for the columns, with up to four entries a row.

A pixel is a weighted mean of the low-resolution logits that its row and column name, so it lies
between the least and the greatest of them. The image is cut into tiles of ``TILE`` pixels. Where
all logits that a tile sees are on one side of a threshold, so are its pixels, and nothing is
multiplied out; what remains are the tiles on a mask's outline. The work for a mask grows with its
outline and not with its area or the size of the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_sam_amg.amg.boxes import Box, box_of

Logits = NDArray[np.float32]
Indices = NDArray[np.int64]

TILE = 32  # pixels along the side of a tile, a multiple of 8; measured from 8 to 64 at images of 600 to 4096 pixels
_CHUNK = 256  # tiles multiplied out at once: 1 MB of logits


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Low-resolution samples to full-resolution pixels along one axis, in T tiles."""

    weights: NDArray[np.float32]  # (T, TILE, taps), zeros beyond the last pixel
    transposed: NDArray[np.float32]  # (T, taps, TILE) the same: products of many small matrices want them contiguous
    windows: Indices  # (T, taps) the low-resolution samples that a tile sees, a run of them
    length: int  # pixels

    def reach(self, low: int, high: int) -> slice:
        """The tiles that see any of the samples ``low`` .. ``high``, both included."""
        first, last = self.windows[:, 0], self.windows[:, -1]
        return slice(int(np.searchsorted(last, low)), int(np.searchsorted(first, high, side="right")))

    def sources(self, tiles: slice) -> slice:
        """The samples that a non-empty run of tiles sees."""
        return slice(int(self.windows[tiles.start, 0]), int(self.windows[tiles.stop - 1, -1]) + 1)

    def pixels(self, tiles: slice) -> NDArray[np.int64]:
        """How many pixels each of a run of tiles has."""
        return np.minimum(self.length - TILE * np.arange(tiles.start, tiles.stop), TILE)


def axis(low: int, square: int, inside: int, full: int) -> Axis:
    """The two bilinear steps along one axis: ``low`` -> ``square``, cut to ``inside``, -> ``full`` samples."""
    identity = torch.eye(low)[None]
    enlarged = F.interpolate(identity, size=square, mode="linear", align_corners=False)[..., :inside]
    weights = F.interpolate(enlarged, size=full, mode="linear", align_corners=False)[0].T.contiguous().numpy()
    tiles = -(-full // TILE)
    tiled = np.zeros((tiles * TILE, low), np.float32)
    tiled[:full] = weights
    by_tile = tiled.reshape(tiles, TILE, low)
    seen = (by_tile != 0).any(axis=1)
    first, last = seen.argmax(axis=1), low - 1 - seen[:, ::-1].argmax(axis=1)
    taps = int((last - first).max()) + 1
    windows = np.minimum(first, low - taps)[:, None] + np.arange(taps)
    cut = np.take_along_axis(by_tile, windows[:, None], axis=2)
    return Axis(cut, np.ascontiguousarray(cut.transpose(0, 2, 1)), windows, full)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The low-resolution logits that a mask is made of."""

    logits: Logits  # (h, w)
    rows: slice  # tiles of the image (or crop) that they determine
    columns: slice

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) of the first pixel."""
        return TILE * self.rows.start, TILE * self.columns.start


EMPTY = Patch(np.empty((0, 0), np.float32), slice(0, 0), slice(0, 0))


@dataclass(frozen=True, slots=True)
class Measure:
    """What the filters want to know of a mask."""

    box: Box | None  # XYXY, last column and row included; None if no pixel is above the threshold
    larger: int  # pixels above the threshold less the offset
    smaller: int  # pixels above the threshold plus the offset


@dataclass(frozen=True, slots=True, eq=False)
class Upsampler:
    """Full-resolution masks from the model's low-resolution logits."""

    rows: Axis
    columns: Axis

    def patches(self, logits: Logits, lowest: float) -> list[Patch]:
        """Of each (s, s) plane of (M, s, s) logits, what the pixels above ``lowest`` are made of."""
        above = logits > lowest
        in_rows, in_columns = np.max(above, axis=2), np.max(above, axis=1)
        size = logits.shape[-1]
        bounds = zip(
            in_rows.argmax(1), size - 1 - in_rows[:, ::-1].argmax(1),
            in_columns.argmax(1), size - 1 - in_columns[:, ::-1].argmax(1),
            in_rows.max(1), strict=True,
        )  # fmt: skip
        return [
            self._patch(plane, self.rows.reach(top, bottom), self.columns.reach(left, right)) if some else EMPTY
            for plane, (top, bottom, left, right, some) in zip(logits, bounds, strict=True)
        ]

    def _patch(self, plane: Logits, rows: slice, columns: slice) -> Patch:
        if rows.start >= rows.stop or columns.start >= columns.stop:  # only the padding is above
            return EMPTY
        return Patch(plane[self.rows.sources(rows), self.columns.sources(columns)].copy(), rows, columns)

    def measure(self, patch: Patch, threshold: float, offset: float) -> Measure:
        """Box and pixel counts of the mask in a patch made with ``lowest`` <= ``threshold - offset``."""
        if patch is EMPTY:
            return Measure(None, 0, 0)
        lower, upper = threshold - offset, threshold + offset
        least, greatest = self._bounds(patch)
        crossed = _crossed(least, greatest, (lower, threshold, upper))
        areas = np.where(crossed, 0, self.rows.pixels(patch.rows)[:, None] * self.columns.pixels(patch.columns))
        larger, smaller = int(areas[least > lower].sum()), int(areas[least > upper].sum())
        boxes = [self._box_of_tiles(patch, least > threshold)]
        for row, column, values in self._logits(patch, *np.nonzero(crossed)):
            larger += int(np.count_nonzero(values > lower))
            smaller += int(np.count_nonzero(values > upper))
            boxes.append(_box_of_pixels(patch, row, column, values > threshold))
        found = np.array([box for box in boxes if box is not None])
        if not len(found):
            return Measure(None, larger, smaller)
        x0, y0 = found[:, :2].min(0).tolist()
        x1, y1 = found[:, 2:].max(0).tolist()
        return Measure((x0, y0, x1, y1), larger, smaller)

    def pixels(self, patch: Patch, threshold: float) -> NDArray[np.bool_]:
        """Which pixels are above the threshold, from ``patch.corner`` on."""
        least, greatest = self._bounds(patch)
        above = least > threshold
        tiles = np.empty((above.shape[0], TILE, above.shape[1], TILE), dtype=bool)
        tiles[:] = above[:, None, :, None]
        for row, column, values in self._logits(patch, *np.nonzero(_crossed(least, greatest, (threshold,)))):
            tiles[row, :, column] = values > threshold
        height, width = self.rows.pixels(patch.rows).sum(), self.columns.pixels(patch.columns).sum()
        return tiles.reshape(TILE * above.shape[0], TILE * above.shape[1])[:height, :width]

    def _box_of_tiles(self, patch: Patch, whole: NDArray[np.bool_]) -> Box | None:
        """The box of tiles (row tiles, column tiles) of the patch."""
        box = box_of(whole)
        if box is None:
            return None
        x, y = patch.columns.start, patch.rows.start
        right = min(TILE * (x + box[2] + 1), self.columns.length) - 1
        bottom = min(TILE * (y + box[3] + 1), self.rows.length) - 1
        return TILE * (x + box[0]), TILE * (y + box[1]), right, bottom

    def _windows(self, patch: Patch) -> tuple[Indices, Indices]:
        """The samples of the patch that its row and column tiles see: two (tiles, taps)."""
        rows, columns = self.rows.windows[patch.rows], self.columns.windows[patch.columns]
        return rows - rows[0, 0], columns - columns[0, 0]

    def _bounds(self, patch: Patch) -> tuple[Logits, Logits]:
        """The least and the greatest logit that each tile sees: two (row tiles, column tiles)."""
        rows, columns = self._windows(patch)
        by_row = patch.logits[rows.T]  # (taps, row tiles, w)
        return by_row.min(0)[:, columns.T].min(1), by_row.max(0)[:, columns.T].max(1)

    def _logits(self, patch: Patch, row: Indices, column: Indices) -> Iterator[tuple[Indices, Indices, Logits]]:
        """The full-resolution logits (K, TILE, TILE) of chosen tiles of a patch, K at a time.

        Beyond the image's last row and column they are minus infinity.
        """
        rows, columns = self._windows(patch)
        for start in range(0, len(row), _CHUNK):
            r, c = row[start : start + _CHUNK], column[start : start + _CHUNK]
            sources = patch.logits[rows[r][:, :, None], columns[c][:, None, :]]  # (K, taps, taps)
            by_row = self.rows.weights[patch.rows.start + r] @ sources
            values = by_row @ self.columns.transposed[patch.columns.start + c]
            left_rows = self.rows.length - TILE * (patch.rows.start + r)
            left_columns = self.columns.length - TILE * (patch.columns.start + c)
            for tile in np.flatnonzero((left_rows < TILE) | (left_columns < TILE)):
                values[tile, left_rows[tile] :] = values[tile, :, left_columns[tile] :] = -np.inf
            yield r, c, values


def _crossed(least: Logits, greatest: Logits, levels: tuple[float, ...]) -> NDArray[np.bool_]:
    """The tiles in which a level lies between the least and the greatest logit."""
    return np.any([(least <= level) & (greatest > level) for level in levels], axis=0)


def _box_of_pixels(patch: Patch, row: Indices, column: Indices, mask: NDArray[np.bool_]) -> Box | None:
    """The box of the true pixels (K, TILE, TILE) of K tiles; they are looked at eight at a time."""
    eight = mask.view(np.uint64)
    tile, y = np.nonzero(eight.any(axis=2))
    if not len(tile):
        return None
    y += TILE * (patch.rows.start + row[tile])
    tile, x = np.nonzero(np.bitwise_or.reduce(eight, axis=1).view(np.bool_))
    x += TILE * (patch.columns.start + column[tile])
    return int(x.min()), int(y.min()), int(x.max()), int(y.max())


def upsampler(low_res: int, img_size: int, input_size: tuple[int, int], original_size: tuple[int, int]) -> Upsampler:
    """For masks of ``low_res`` x ``low_res`` over an ``img_size`` square of which ``input_size`` (h, w) is image.

    Source of the two steps: ``segment_anything.modeling.Sam.postprocess_masks``.
    """
    rows, columns = (
        axis(low_res, img_size, inside, full) for inside, full in zip(input_size, original_size, strict=True)
    )
    return Upsampler(rows, columns)
