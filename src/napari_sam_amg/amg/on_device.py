"""Masks at full resolution from low-resolution logits, as ``upsample`` makes them, where the logits are: on a GPU.

By blocks, too: of a thousand masks of 1024 x 1024 pixels whole frames are 4 GB, to be written and read a few times.
With them an H200 spent 40 of the 92 ms of a run here. All masks are dealt with at once, so that few operations are
started. Only numbers and, of the masks that are asked for, packed boxes cross to the host.

Of few masks, as a guided search finds them, whole frames are soon written, in a third of the operations, and none of
them is waited for; their bits cross to the host with the numbers.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.amg.bits import BYTE, Bits, cut_out
from napari_sam_amg.amg.blocks import BLOCK, Axis, Indices
from napari_sam_amg.amg.upsample import FIRST, upsampler
from napari_sam_amg.sam.handover import Handover, to_device
from napari_sam_amg.sam.memory import concatenated, in_halves
from napari_sam_amg.sam.precision import float32_as_such

BYTES_AT_ONCE = 2**28  # of the largest arrays of all masks
BLOCKS_AT_ONCE = 2**16  # multiplied out: 0.3 GB
#: Pixels of all masks up to which whole frames are written: 64 masks of 512 x 512. By counting, not measured on a GPU:
#: their products are 13 * 10**9 multiplications, as long as the start of the 35 operations that are saved.
FEW_PIXELS = 2**24
UPPER = 2**32  # two counts of pixels in one number: what is above this many counts the second one


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """An ``Axis`` of T blocks on a device."""

    weights: Tensor  # (T, BLOCK, taps)
    windows: Tensor  # (T, taps)
    pixels: Tensor  # (T,) how many a block has
    inside: Tensor  # (T, BLOCK) which of its places are pixels
    full: Tensor  # (T,) these as bits, a word
    dense: Tensor  # (pixels, s) the same weights, of all samples
    length: int  # pixels

    @property
    def partial(self) -> bool:
        """Whether the last block has fewer pixels than the others."""
        return self.length % BLOCK > 0


def _side(axis: Axis, low_res: int, device: torch.device) -> Side:
    inside = np.arange(len(axis.weights) * BLOCK).reshape(-1, BLOCK) < axis.length
    pixels = inside.sum(axis=1)
    dense = np.zeros((*inside.shape, low_res), np.float32)
    np.put_along_axis(dense, axis.windows[:, None], axis.weights, axis=2)
    return Side(
        weights=torch.from_numpy(axis.weights).to(device),
        windows=torch.from_numpy(axis.windows).to(device),
        pixels=torch.from_numpy(pixels.astype(np.int32)).to(device),
        inside=torch.from_numpy(inside).to(device),
        full=torch.from_numpy(FIRST[pixels].view(np.int32)).to(device),
        dense=torch.from_numpy(dense.reshape(-1, low_res)[: axis.length]).to(device),
        length=axis.length,
    )


@lru_cache(maxsize=4)  # as of ``upsampler``
def device_upsampler(
    low_res: int, img_size: int, input_size: tuple[int, int], original_size: tuple[int, int], device: torch.device
) -> "DeviceUpsampler":
    """For masks as ``upsample.upsampler`` takes them."""
    grid = upsampler(low_res, img_size, input_size, original_size).grid
    rows, columns = _side(grid.rows, low_res, device), _side(grid.columns, low_res, device)
    bits = 2 ** torch.arange(BYTE - 1, -1, -1, dtype=torch.uint8, device=device)
    counted = torch.tensor([0, 1, 1, 1 + UPPER], device=device)
    return DeviceUpsampler(rows, columns, rows.pixels[:, None] * columns.pixels, counted, bits)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceUpsampler:
    """Full-resolution masks from the model's low-resolution logits, which are on the same device."""

    rows: Side
    columns: Side
    areas: Tensor  # (rows, columns) of blocks: their pixels
    counted: Tensor  # (4,) int64: what a pixel counts that is above so many of the three levels
    bits: Tensor  # (BYTE,) uint8: of the pixels in a byte

    def measure(self, logits: Tensor, threshold: float, offset: float) -> "DeviceMeasures":
        """Boxes, pixel counts and pixels of the masks behind (M, s, s) logits."""
        lower, upper = threshold - offset, threshold + offset
        with torch.inference_mode(), float32_as_such(logits.device):
            if len(logits) * self.rows.length * self.columns.length <= FEW_PIXELS:
                counts, seen, packed = map(Handover, self._measure_whole(logits.float(), lower, threshold, upper))
                return DeviceMeasures(counts, seen, self.rows.length, packed)
            there = to_device(torch.tensor([lower, threshold, upper]), logits.device)
            parts = in_halves(
                lambda some: self._measure(some.float(), there, [lower, threshold, upper]),
                logits,
                self._at_once(logits),
            )
        found = [concatenated(column) for column in zip(*parts, strict=True)]
        return DeviceMeasures(Handover(found[0]), Handover(found[1]), len(self.rows.windows) * BLOCK, found[2])

    def _at_once(self, logits: Tensor) -> int:
        """How many masks."""
        row_blocks, taps = self.rows.windows.shape
        canvas = row_blocks * BLOCK * len(self.columns.windows) * BLOCK // BYTE
        return max(1, BYTES_AT_ONCE // (canvas + 4 * row_blocks * taps * logits.shape[-1]))

    def _measure_whole(
        self, logits: Tensor, lower: float, threshold: float, upper: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As ``_measure``, by whole frames."""
        rows = self.rows.dense[:, : logits.shape[1]]  # padding below the image may not have been drawn
        values = torch.matmul(rows, logits) @ self.columns.dense.T
        inside = values > threshold
        counts = (values > lower).sum((1, 2)).add_((values > upper).sum((1, 2)), alpha=UPPER)
        seen = torch.cat([inside.any(2), inside.any(1)], dim=1)
        if self.columns.length % BYTE:
            inside = F.pad(inside, (0, -self.columns.length % BYTE))
        return counts, seen, self._in_bytes(inside)

    def _measure(self, logits: Tensor, levels: Tensor, each: list[float]) -> tuple[Tensor, Tensor, Tensor]:
        """Of m masks: pixels (m,) above the lower level, and UPPER times those above the upper one; (m, n) in which
        rows, then columns, of whole blocks they have any; and bits.
        """
        lower, threshold, upper = each
        least, greatest = self._bounds(logits)
        above = torch.bucketize(least, levels, out_int32=True)  # how many levels all of a block is above
        crossed = above != torch.bucketize(greatest, levels, out_int32=True)
        above.masked_fill_(crossed, 0)
        counts = (self.counted[above] * self.areas).sum((1, 2))
        whole = above > 1
        in_rows = whole.sum(2, dtype=torch.int32)[:, :, None] * self.rows.inside
        in_columns = whole.sum(1, dtype=torch.int32)[:, :, None] * self.columns.inside
        pixels = torch.cat([in_rows, in_columns], dim=1)  # (m, rows and columns of blocks, BLOCK): more than 0 if any
        words = whole[:, :, None].expand(-1, -1, BLOCK, -1) * self.columns.full
        lines, count = pixels.view(-1, BLOCK), pixels.shape[1]
        for some in crossed.nonzero().split(BLOCKS_AT_ONCE):
            mask, row, column = some.unbind(1)
            values = self._values(logits, mask, row, column)
            over = (values > lower).sum((1, 2)).add_((values > upper).sum((1, 2)), alpha=UPPER)
            counts.index_add_(0, mask, over)
            inside = values > threshold
            first = mask * count
            lines.index_add_(0, first + row, inside.sum(2, dtype=torch.int32))
            lines.index_add_(0, first.add_(in_rows.shape[1]).add_(column), inside.sum(1, dtype=torch.int32))
            words[mask, row, :, column] = self._pack(inside)
        return counts, pixels.flatten(1) > 0, words.flatten(1, 2).view(torch.uint8)

    def _bounds(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the greatest logit that each block of each mask sees: two (m, rows, columns) of blocks."""
        least, greatest = torch.aminmax(logits[:, self.rows.windows], dim=2)  # of (m, rows of blocks, taps, s)
        return least[..., self.columns.windows].amin(3), greatest[..., self.columns.windows].amax(3)

    def _values(self, logits: Tensor, mask: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """The logits of K blocks at full resolution, (K, BLOCK, BLOCK); minus infinity beyond the image."""
        rows, columns = self.rows.windows[row], self.columns.windows[column]
        samples = logits[mask[:, None, None], rows[:, :, None], columns[:, None]]
        values = self.rows.weights[row] @ samples @ self.columns.weights[column].transpose(1, 2)
        if self.rows.partial or self.columns.partial:
            inside = self.rows.inside[row][:, :, None] & self.columns.inside[column][:, None]
            values.masked_fill_(~inside, -torch.inf)
        return values

    def _pack(self, above: Tensor) -> Tensor:
        """(K, BLOCK, BLOCK) pixels -> (K, BLOCK) words."""
        return self._in_bytes(above).view(torch.int32)[..., 0]

    def _in_bytes(self, above: Tensor) -> Tensor:
        """(n, rows, columns) pixels -> (n, rows, columns / BYTE)."""
        return (above.unflatten(2, (-1, BYTE)) * self.bits).sum(3, dtype=torch.uint8)


class DeviceMeasures:
    """As ``upsample.Measures``; the first question waits for the GPU.

    ``rows``: how many of the rows and columns that were ``seen`` are rows.
    """

    def __init__(self, counts: Handover, seen: Handover, rows: int, packed: Tensor | Handover) -> None:
        self._counts, self._seen, self._rows, self._packed = counts, seen, rows, packed

    @property
    def larger(self) -> Indices:
        return self._counts.wait().numpy() % UPPER

    @property
    def smaller(self) -> Indices:
        return self._counts.wait().numpy() // UPPER

    @cached_property
    def boxes(self) -> Indices:
        seen = self._seen.wait().numpy()
        in_rows, in_columns = seen[:, : self._rows], seen[:, self._rows :]
        first = [some.argmax(axis=1) for some in (in_columns, in_rows)]
        last = [some.shape[1] - 1 - some[:, ::-1].argmax(axis=1) for some in (in_columns, in_rows)]
        boxes = np.stack([*first, *last], axis=1)
        boxes[~in_rows.any(axis=1)] = 0
        return boxes

    def bits(self, rows: Indices) -> list[Bits]:
        """The packed boxes of some of the masks."""
        if isinstance(self._packed, Handover):
            packed = self._packed.wait().numpy()
            return [cut_out(packed[row], *self.boxes[row].tolist()) for row in rows.tolist()]
        return self._gathered(rows, self._packed)

    def _gathered(self, rows: Indices, packed: Tensor) -> list[Bits]:
        """They alone cross to the host."""
        x0, y0, x1, y1 = self.boxes[rows].T
        left, heights, widths = x0 // BYTE, y1 - y0 + 1, x1 // BYTE - x0 // BYTE + 1
        sizes = heights * widths
        flat = Handover(_gather(packed, rows, left, y0, widths, sizes)).wait().numpy()
        ends = sizes.cumsum()
        return [
            flat[end - size : end].reshape(height, -1)
            for end, size, height in zip(ends.tolist(), sizes.tolist(), heights.tolist(), strict=True)
        ]


@torch.inference_mode()
def _gather(packed: Tensor, rows: Indices, left: Indices, top: Indices, widths: Indices, sizes: Indices) -> Tensor:
    """The bytes of all boxes, one after another, of (M, rows, bytes)."""
    total, (_, height, row_bytes) = int(sizes.sum()), packed.shape
    before = sizes.cumsum() - sizes
    starts = (rows * height + top) * row_bytes + left
    table = np.stack([starts - before, widths, before, row_bytes - widths, sizes])
    numbers = to_device(torch.from_numpy(table), packed.device)
    start, width, before, gap = numbers[:4].repeat_interleave(numbers[4], dim=1, output_size=total)
    here = torch.arange(total, device=packed.device)
    skipped = (here - before).floor_divide_(width).mul_(gap)  # bytes between the rows of a box
    return packed.flatten()[skipped.add_(start).add_(here)]
