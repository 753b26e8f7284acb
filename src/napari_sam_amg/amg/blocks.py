"""Full-resolution logits by blocks: which blocks of a mask a threshold crosses, and what they are made of.

A pixel is a weighted mean of the low-resolution logits that its row and column name, so it lies
between the least and the greatest of them. The image is cut into blocks of ``BLOCK`` pixels. Where
all logits that a block sees are on one side of a threshold, so are its pixels, and nothing is
multiplied out; what remains are the blocks on a mask's outline. The work for a mask grows with its
outline and not with its area or the size of the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Indices = NDArray[np.int64]

BLOCK = 32  # pixels along the side of a block, a multiple of 8; measured from 8 to 64 at images of 600 to 4096 pixels
_BLOCKS_AT_ONCE = 256  # multiplied out: 1 MB of logits
_SAMPLES_AT_ONCE = 2**17  # gathered: 0.5 MB of logits
_FEW_SAMPLES = 2**13  # of a patch's blocks, together: to gather them costs less than to go by rows and columns


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Low-resolution samples to full-resolution pixels along one axis, in T blocks."""

    weights: NDArray[np.float32]  # (T, BLOCK, taps), zeros beyond the last pixel
    transposed: NDArray[np.float32]  # (T, taps, BLOCK) the same: products of many small matrices want them contiguous
    windows: Indices  # (T, taps) the low-resolution samples that a block sees, a run of them
    length: int  # pixels

    def reach(self, low: int, high: int) -> slice:
        """The blocks that see any of the samples ``low`` .. ``high``, both included."""
        first, last = self.windows[:, 0], self.windows[:, -1]
        return slice(int(np.searchsorted(last, low)), int(np.searchsorted(first, high, side="right")))

    def sources(self, blocks: slice) -> slice:
        """The samples that a non-empty run of blocks sees."""
        return slice(int(self.windows[blocks.start, 0]), int(self.windows[blocks.stop - 1, -1]) + 1)

    def pixels(self, blocks: slice) -> int:
        """How many pixels a run of blocks has."""
        return min(self.length, BLOCK * blocks.stop) - BLOCK * blocks.start


def axis(low: int, square: int, inside: int, full: int) -> Axis:
    """The two bilinear steps along one axis: ``low`` -> ``square``, cut to ``inside``, -> ``full`` samples."""
    identity = torch.eye(low)[None]
    enlarged = F.interpolate(identity, size=square, mode="linear", align_corners=False)[..., :inside]
    weights = F.interpolate(enlarged, size=full, mode="linear", align_corners=False)[0].T.contiguous().numpy()
    blocks = -(-full // BLOCK)
    cut_up = np.zeros((blocks * BLOCK, low), np.float32)
    cut_up[:full] = weights
    by_block = cut_up.reshape(blocks, BLOCK, low)
    seen = (by_block != 0).any(axis=1)
    first, last = seen.argmax(axis=1), low - 1 - seen[:, ::-1].argmax(axis=1)
    taps = int((last - first).max()) + 1
    # no window goes beyond what any pixel sees: what lies in the padding need not be known
    windows = np.minimum(first, last.max() + 1 - taps)[:, None] + np.arange(taps)
    cut = np.take_along_axis(by_block, windows[:, None], axis=2)
    return Axis(cut, np.ascontiguousarray(cut.transpose(0, 2, 1)), windows, full)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The low-resolution logits that a mask is made of."""

    logits: Logits  # (h, w)
    rows: slice  # blocks of the image (or crop) that they determine
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Blocks."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) of the first pixel."""
        return BLOCK * self.rows.start, BLOCK * self.columns.start


EMPTY = Patch(np.empty((0, 0), np.float32), slice(0, 0), slice(0, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks of some patches, and the logits that those see which a level crosses."""

    patch: Indices  # (K,) of which patch
    row: Indices  # (K,) which block of the image (or crop)
    column: Indices
    least: Logits  # (K,) of the samples that the block sees
    greatest: Logits
    crossed: Indices  # which of the K
    samples: Logits  # (len(crossed), taps, taps) what these see


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The blocks of an image (or crop)."""

    rows: Axis
    columns: Axis

    def walk(self, patches: list[Patch], levels: tuple[float, ...]) -> Iterator[Blocks]:
        """All blocks of all patches, some patches at a time, and which blocks any of the levels crosses."""
        taps = self.rows.windows.shape[1] * self.columns.windows.shape[1]
        samples = np.array([taps * rows * columns for rows, columns in (patch.shape for patch in patches)], np.int64)
        few = (samples > 0) & (samples <= _FEW_SAMPLES)
        for group in _groups(np.flatnonzero(few), samples):
            where = _number([patches[index] for index in group])
            seen = self._gather([patches[index] for index in group], *where)
            flat = seen.reshape(len(seen), -1)
            least, greatest = flat.min(axis=1), flat.max(axis=1)
            crossed = _crossed(least, greatest, levels)
            yield Blocks(group[where[0]], *where[1:], least, greatest, crossed, seen[crossed])
        for index in np.flatnonzero(samples > _FEW_SAMPLES):
            patch = patches[index]
            which, row, column = _number([patch])
            least, greatest = self._bounds(patch)
            crossed = _crossed(least, greatest, levels)
            seen = self._gather([patch], which[crossed], row[crossed], column[crossed])
            yield Blocks(np.full(len(which), index), row, column, least, greatest, crossed, seen)

    def logits(self, blocks: Blocks) -> Iterator[tuple[Indices, Logits]]:
        """Which of the blocks, and their full-resolution logits (k, BLOCK, BLOCK), k at a time: all that are crossed.

        Beyond the image's last row and column they are minus infinity.
        """
        for start in range(0, len(blocks.crossed), _BLOCKS_AT_ONCE):
            some = slice(start, start + _BLOCKS_AT_ONCE)
            index = blocks.crossed[some]
            row, column = blocks.row[index], blocks.column[index]
            by_row: Logits = self.rows.weights[row] @ blocks.samples[some]
            values: Logits = by_row @ self.columns.transposed[column]
            left_rows, left_columns = self.rows.length - BLOCK * row, self.columns.length - BLOCK * column
            for block in np.flatnonzero((left_rows < BLOCK) | (left_columns < BLOCK)):
                values[block, left_rows[block] :] = values[block, :, left_columns[block] :] = -np.inf
            yield index, values

    def corners(self, blocks: Blocks) -> tuple[Indices, Indices]:
        """The first x and y of each block, and how many pixels it has along both: two (2, K)."""
        corners = BLOCK * np.stack([blocks.column, blocks.row])
        return corners, np.minimum(np.array([[self.columns.length], [self.rows.length]]) - corners, BLOCK)

    def _gather(self, patches: list[Patch], which: Indices, row: Indices, column: Indices) -> Logits:
        """What K blocks see, each of one of the patches: (K, taps, taps)."""
        sizes, widths = np.array([(patch.logits.size, patch.logits.shape[1]) for patch in patches]).T
        top, left = np.array([(patch.rows.start, patch.columns.start) for patch in patches]).T
        # where in the samples of all patches, one after another, a patch has the image's first sample, or would have it
        origins = sizes.cumsum() - sizes - self.rows.windows[top, 0] * widths - self.columns.windows[left, 0]
        rows = origins[which, None] + self.rows.windows[row] * widths[which, None]
        samples = np.concatenate([patch.logits.ravel() for patch in patches])
        return samples[rows[:, :, None] + self.columns.windows[column][:, None, :]]

    def _bounds(self, patch: Patch) -> tuple[Logits, Logits]:
        """The least and the greatest logit that each block of a patch sees: two (K,)."""
        rows, columns = self.rows.windows[patch.rows], self.columns.windows[patch.columns]
        by_row = patch.logits[(rows - rows[0, 0]).T]  # (taps, row blocks, w)
        columns = (columns - columns[0, 0]).T
        return by_row.min(0)[:, columns].min(1).ravel(), by_row.max(0)[:, columns].max(1).ravel()


def _groups(indices: Indices, samples: Indices) -> list[Indices]:
    """The indices, in order, in groups of about _SAMPLES_AT_ONCE samples."""
    ends = samples[indices].cumsum() // _SAMPLES_AT_ONCE
    return [group for group in np.split(indices, np.flatnonzero(np.diff(ends)) + 1) if len(group)]


def _number(patches: list[Patch]) -> tuple[Indices, Indices, Indices]:
    """All blocks of the patches, patch after patch: of which patch, and which row and column of the image's blocks."""
    corners = np.array([(patch.rows.start, patch.columns.start) for patch in patches])
    shapes = np.array([patch.shape for patch in patches])
    counts = shapes.prod(axis=1)
    which = np.repeat(np.arange(len(patches)), counts)
    row, column = np.divmod(np.arange(len(which)) - (counts.cumsum() - counts)[which], shapes[which, 1])
    return which, row + corners[which, 0], column + corners[which, 1]


def _crossed(least: Logits, greatest: Logits, levels: tuple[float, ...]) -> Indices:
    """The blocks in which a level lies between the least and the greatest logit."""
    return np.flatnonzero(np.any([(least <= level) & (greatest > level) for level in levels], axis=0))
