"""Masks at full resolution from low-resolution logits: their boxes, pixel counts and pixels, on the host.

The reference enlarges every mask to the model's square, cuts the padding off and enlarges that to
the image, both bilinearly, then measures full frames. Both steps are linear and separable, so
together they are one matrix for the rows and one for the columns, with up to four entries a row.
They are applied to the blocks of the image in which they decide anything, see ``blocks``.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sam_amg.amg.bits import Bits, cut_out
from napari_sam_amg.amg.blocks import BLOCK, EMPTY, Blocks, Grid, Indices, Logits, Patch, axis
from napari_sam_amg.sam.looks import look

Words = NDArray[np.uint32]  # a row of a block each: BLOCK bits

#: The bits of the first n pixels of a row of a block, n = 0 .. BLOCK.
FIRST: Words = np.packbits(np.tri(BLOCK + 1, BLOCK, -1, dtype=bool), axis=1).view(np.uint32)[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What the filters want to know of M masks, and their pixels."""

    boxes: Indices  # (M, 4) XYXY, last column and row included; zeros if no pixel is above the threshold
    larger: Indices  # (M,) pixels above the threshold less the offset
    smaller: Indices  # (M,) pixels above the threshold plus the offset
    canvas: "Canvas"

    def bits(self, rows: Indices) -> list[Bits]:
        """The packed boxes of some of the masks, see ``bits``; of an empty mask that of its box of zeros."""
        return [self.canvas.cut_out(row, self.boxes[row]) for row in rows.tolist()]


class Canvas:
    """The pixels of all masks of some patches, packed: those of the blocks of each patch, patch after patch."""

    def __init__(self, patches: list[Patch]) -> None:
        self._patches = patches
        self._starts = np.cumsum([0, *(patch.shape[0] * BLOCK * patch.shape[1] for patch in patches)])
        self._corners = np.array([(patch.rows.start, patch.columns.start) for patch in patches])
        self._widths = np.array([patch.shape[1] for patch in patches])
        self._words: Words = np.zeros(self._starts[-1], np.uint32)

    def write(self, blocks: Blocks, some: Indices, words: Words) -> None:
        """The words (K, BLOCK), or (K, 1) of equal rows, of K of the blocks."""
        patch = blocks.patch[some]
        width, (first_row, first_column) = self._widths[patch], self._corners[patch].T
        row, column = blocks.row[some] - first_row, blocks.column[some] - first_column
        top = self._starts[patch] + row * BLOCK * width + column
        self._words[top[:, None] + np.arange(BLOCK) * width[:, None]] = words

    def cut_out(self, index: int, box: Indices) -> Bits:
        patch, words = self._patches[index], self._words[self._starts[index] : self._starts[index + 1]]
        if not len(words):
            return np.zeros((1, 1), np.uint8)
        top, left = patch.corner
        x0, y0, x1, y1 = (box - (left, top, left, top)).clip(0).tolist()  # an empty mask's box is not in its patch
        return cut_out(words.view(np.uint8).reshape(BLOCK * patch.shape[0], -1), x0, y0, x1, y1)


@dataclass(frozen=True, slots=True, eq=False)
class Upsampler:
    """Full-resolution masks from the model's low-resolution logits."""

    grid: Grid

    def patches(self, logits: Logits, lowest: float) -> list[Patch]:
        """Of each (s, s) plane of (M, s, s) logits, what the pixels above ``lowest`` are made of."""
        in_rows = torch.from_numpy(logits).amax(2).numpy() > lowest  # torch's maximum uses all threads
        bounds = zip(in_rows.argmax(1), logits.shape[1] - in_rows[:, ::-1].argmax(1), in_rows.max(1), strict=True)
        return [
            self._patch(plane, first, stop, lowest) if some else EMPTY
            for plane, (first, stop, some) in zip(logits, bounds, strict=True)
        ]

    def _patch(self, plane: Logits, first: int, stop: int, lowest: float) -> Patch:
        """``first`` .. ``stop``: the rows of the plane that reach above ``lowest``, the last one not included."""
        in_columns = np.flatnonzero(plane[first:stop].max(axis=0) > lowest)
        rows, columns = self.grid.rows.reach(first, stop - 1), self.grid.columns.reach(in_columns[0], in_columns[-1])
        if rows.start >= rows.stop or columns.start >= columns.stop:  # only the padding is above
            return EMPTY
        return Patch(plane[self.grid.rows.sources(rows), self.grid.columns.sources(columns)].copy(), rows, columns)

    def measure(self, logits: Logits, threshold: float, offset: float) -> Measures:
        """Boxes, pixel counts and pixels of the masks behind (M, s, s) logits."""
        lower, upper = threshold - offset, threshold + offset
        patches = self.patches(logits, lower)
        larger, smaller = np.zeros((2, len(patches)), np.int64)
        first = np.full((2, len(patches)), np.iinfo(np.int64).max)  # x, y
        last = np.full((2, len(patches)), -1)
        canvas = Canvas(patches)
        for blocks in self.grid.walk(patches, (lower, threshold, upper)):
            look()
            corner, size = self.grid.corners(blocks)
            area = size[0] * size[1]
            area[blocks.crossed] = 0
            _merge(np.add, larger, blocks.patch, np.where(blocks.least > lower, area, 0))
            _merge(np.add, smaller, blocks.patch, np.where(blocks.least > upper, area, 0))
            whole = np.flatnonzero((blocks.least > threshold) & (area > 0))
            _merge(np.minimum, first, blocks.patch[whole], corner[:, whole])
            _merge(np.maximum, last, blocks.patch[whole], (corner + size - 1)[:, whole])
            canvas.write(blocks, whole, FIRST[size[0, whole], None])
            for index, values in self.grid.logits(blocks):
                patch, origin = blocks.patch[index], corner[:, index]
                _merge(np.add, larger, patch, _count(values > lower))
                _merge(np.add, smaller, patch, _count(values > upper))
                above = values > threshold
                canvas.write(blocks, index, np.packbits(above, axis=2).view(np.uint32)[..., 0])
                some, low, high = _extent(above)
                _merge(np.minimum, first, patch[some], origin[:, some] + low)
                _merge(np.maximum, last, patch[some], origin[:, some] + high)
        boxes = np.concatenate([first, last]).T
        boxes[last[0] < 0] = 0
        return Measures(boxes, larger, smaller, canvas)


@lru_cache(maxsize=4)  # all batches of a crop want the same, and the crops of a layer have up to four sizes
def upsampler(low_res: int, img_size: int, input_size: tuple[int, int], original_size: tuple[int, int]) -> Upsampler:
    """For masks of ``low_res`` x ``low_res`` over an ``img_size`` square of which ``input_size`` (h, w) is image.

    Source of the two steps: ``segment_anything.modeling.Sam.postprocess_masks``.
    """
    rows, columns = (
        axis(low_res, img_size, inside, full) for inside, full in zip(input_size, original_size, strict=True)
    )
    return Upsampler(Grid(rows, columns))


def _merge(how: np.ufunc, into: Indices, patch: Indices, values: Indices) -> None:
    """Reduce values (..., K) of K blocks, which are sorted by patch, into (..., M) of patches: a faster ``how.at``."""
    if not len(patch):
        return
    if patch[0] == patch[-1]:
        into[..., patch[0]] = how(into[..., patch[0]], how.reduce(values, axis=-1))
        return
    starts = np.concatenate([[0], np.flatnonzero(patch[1:] != patch[:-1]) + 1])
    rows = patch[starts]
    into[..., rows] = how(into[..., rows], how.reduceat(values, starts, axis=-1))


def _eights(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Eight pixels as one number, and the blocks last, so that all are reduced at once: (BLOCK, BLOCK / 8, K)."""
    return np.ascontiguousarray(mask.view(np.uint64).transpose(1, 2, 0))


def _count(mask: NDArray[np.bool_]) -> Indices:
    """How many of the pixels (K, BLOCK, BLOCK) of each of K blocks are true.

    The bytes of a number add up to 255 at most, enough for a BLOCK of 40.
    """
    sums = _eights(mask).reshape(-1, len(mask)).sum(axis=0)
    return sums[:, None].view(np.uint8).sum(axis=1, dtype=np.int64)


def _extent(mask: NDArray[np.bool_]) -> tuple[Indices, Indices, Indices]:
    """Which of the blocks (K, BLOCK, BLOCK) have a true pixel, k of them, and their first and last x and y: (2, k)."""
    eights = _eights(mask)
    in_columns = np.ascontiguousarray(np.bitwise_or.reduce(eights, axis=0).T).view(np.bool_)
    in_rows = (np.bitwise_or.reduce(eights, axis=1) > 0).T
    some = np.flatnonzero(in_rows.any(axis=1))
    in_both = np.stack([in_columns[some], in_rows[some]])
    return some, in_both.argmax(axis=2), BLOCK - 1 - in_both[:, :, ::-1].argmax(axis=2)
