"""Masks at full resolution from low-resolution logits, as ``upsample`` makes them, where the logits are: on a GPU.

By blocks, too: of a thousand masks of 1024 x 1024 pixels whole frames are 4 GB, to be written and read a few times.
With them an H200 spent 40 of the 92 ms of a run here. All masks are dealt with at once, so that few operations are
started. Only numbers and, of the masks that are asked for, packed boxes cross to the host.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from napari_sam_amg.amg.bits import BYTE, Bits
from napari_sam_amg.amg.blocks import BLOCK, Axis, Indices
from napari_sam_amg.amg.upsample import FIRST, upsampler
from napari_sam_amg.sam.handover import Handover, to_device
from napari_sam_amg.sam.memory import in_halves
from napari_sam_amg.sam.precision import float32_as_such

BYTES_AT_ONCE = 2**28  # of the largest arrays of all masks
BLOCKS_AT_ONCE = 2**16  # multiplied out: 0.3 GB


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """An ``Axis`` of T blocks on a device."""

    weights: Tensor  # (T, BLOCK, taps)
    windows: Tensor  # (T, taps)
    pixels: Tensor  # (T,) how many a block has
    inside: Tensor  # (T, BLOCK) which of its places are pixels
    full: Tensor  # (T,) these as bits, a word
    length: int  # pixels

    @property
    def partial(self) -> bool:
        """Whether the last block has fewer pixels than the others."""
        return self.length % BLOCK > 0


def _side(axis: Axis, device: torch.device) -> Side:
    inside = np.arange(len(axis.weights) * BLOCK).reshape(-1, BLOCK) < axis.length
    pixels = inside.sum(axis=1)
    return Side(
        weights=torch.from_numpy(axis.weights).to(device),
        windows=torch.from_numpy(axis.windows).to(device),
        pixels=torch.from_numpy(pixels.astype(np.int32)).to(device),
        inside=torch.from_numpy(inside).to(device),
        full=torch.from_numpy(FIRST[pixels].view(np.int32)).to(device),
        length=axis.length,
    )


@lru_cache(maxsize=4)  # as of ``upsampler``
def device_upsampler(
    low_res: int, img_size: int, input_size: tuple[int, int], original_size: tuple[int, int], device: torch.device
) -> "DeviceUpsampler":
    """For masks as ``upsample.upsampler`` takes them."""
    grid = upsampler(low_res, img_size, input_size, original_size).grid
    return DeviceUpsampler(_side(grid.rows, device), _side(grid.columns, device))


@dataclass(frozen=True, slots=True, eq=False)
class DeviceUpsampler:
    """Full-resolution masks from the model's low-resolution logits, which are on the same device."""

    rows: Side
    columns: Side

    def measure(self, logits: Tensor, threshold: float, offset: float) -> "DeviceMeasures":
        """Boxes, pixel counts and pixels of the masks behind (M, s, s) logits."""
        (row_blocks, taps), low = self.rows.windows.shape, logits.shape[-1]
        canvas = row_blocks * BLOCK * len(self.columns.windows) * BLOCK // BYTE
        at_once = max(1, BYTES_AT_ONCE // (canvas + 4 * row_blocks * taps * low))
        with torch.inference_mode(), float32_as_such(logits.device):
            parts = in_halves(lambda some: self._measure(some.float(), threshold, offset), logits, at_once)
        numbers, packed = (torch.cat(column) for column in zip(*parts, strict=True))
        return DeviceMeasures(Handover(numbers), packed)

    def _measure(self, logits: Tensor, threshold: float, offset: float) -> tuple[Tensor, Tensor]:
        """Numbers of m masks (m, 6): pixels above the lower and the upper level, first and last x and y; and bits."""
        levels = threshold - offset, threshold + offset
        least, greatest = self._bounds(logits)
        crossed = (least <= levels[0]) & (greatest > levels[0])
        for level in (threshold, levels[1]):
            crossed |= (least <= level) & (greatest > level)
        area = (self.rows.pixels[:, None] * self.columns.pixels).masked_fill(crossed, 0)
        counts = torch.stack([(area * (least > level)).sum((1, 2), dtype=torch.int32) for level in levels], dim=1)
        whole = (least > threshold) & ~crossed
        # in which rows and columns of blocks there is how much of a mask
        in_rows = whole.any(2)[:, :, None] * self.rows.inside.int()
        in_columns = whole.any(1)[:, :, None] * self.columns.inside.int()
        words = whole[:, :, None] * self.columns.full  # (m, rows of blocks, 1, columns of blocks)
        words = words.expand(-1, -1, BLOCK, -1).contiguous()
        for some in crossed.nonzero().split(BLOCKS_AT_ONCE):
            mask, row, column = some.unbind(1)
            values = self._values(logits, mask, row, column)
            over = torch.stack([(values > level).sum((1, 2), dtype=torch.int32) for level in levels], dim=1)
            counts.index_add_(0, mask, over)
            above = values > threshold
            in_rows.view(-1, BLOCK).index_add_(0, mask * in_rows.shape[1] + row, above.any(2).int())
            in_columns.view(-1, BLOCK).index_add_(0, mask * in_columns.shape[1] + column, above.any(1).int())
            words[mask, row, :, column] = _pack(above)
        extents = [_extent(some.flatten(1) > 0) for some in (in_columns, in_rows)]
        return torch.cat([counts, *extents], dim=1), words.flatten(1, 2).view(torch.uint8)

    def _bounds(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the greatest logit that each block of each mask sees: two (m, rows, columns) of blocks."""
        by_row = logits[:, self.rows.windows]  # (m, rows of blocks, taps, s)
        least, greatest = by_row.amin(2), by_row.amax(2)
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


def _pack(above: Tensor) -> Tensor:
    """(K, BLOCK, BLOCK) pixels -> (K, BLOCK) words."""
    weights = 2 ** torch.arange(BYTE - 1, -1, -1, dtype=torch.uint8, device=above.device)
    in_bytes = (above.unflatten(2, (-1, BYTE)) * weights).sum(3, dtype=torch.uint8)
    return in_bytes.view(torch.int32)[..., 0]


def _extent(some: Tensor) -> Tensor:
    """The first and last that is true of each row of (m, n): (m, 2) int32; n and -1 where none is."""
    places = torch.arange(some.shape[1], dtype=torch.int32, device=some.device)
    first = torch.where(some, places, some.shape[1]).amin(1)
    return torch.stack([first, torch.where(some, places, -1).amax(1)], dim=1).to(torch.int32)


class DeviceMeasures:
    """As ``upsample.Measures``; the first question waits for the GPU."""

    def __init__(self, numbers: Handover, packed: Tensor) -> None:
        self._numbers, self._packed = numbers, packed

    @cached_property
    def _columns(self) -> Indices:
        return self._numbers.wait().numpy().astype(np.int64)

    @property
    def larger(self) -> Indices:
        return self._columns[:, 0]

    @property
    def smaller(self) -> Indices:
        return self._columns[:, 1]

    @cached_property
    def boxes(self) -> Indices:
        first_x, last_x, first_y, last_y = self._columns[:, 2:].T
        boxes = np.stack([first_x, first_y, last_x, last_y], axis=1)
        boxes[last_x < 0] = 0
        return boxes

    def bits(self, rows: Indices) -> list[Bits]:
        """The packed boxes of some of the masks."""
        x0, y0, x1, y1 = self.boxes[rows].T
        left, heights, widths = x0 // BYTE, y1 - y0 + 1, x1 // BYTE - x0 // BYTE + 1
        sizes = heights * widths
        flat = Handover(self._gather(rows, left, y0, widths, sizes)).wait().numpy()
        ends = sizes.cumsum()
        return [
            flat[end - size : end].reshape(height, -1)
            for end, size, height in zip(ends.tolist(), sizes.tolist(), heights.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def _gather(self, rows: Indices, left: Indices, top: Indices, widths: Indices, sizes: Indices) -> Tensor:
        """The bytes of all boxes, one after another."""
        total, (_, height, row_bytes) = int(sizes.sum()), self._packed.shape
        starts = (rows * height + top) * row_bytes + left
        table = np.stack([starts, widths, sizes.cumsum() - sizes, sizes])
        numbers = to_device(torch.from_numpy(table), self._packed.device)
        start, width, before = numbers[:3].repeat_interleave(numbers[3], dim=1, output_size=total)
        here = torch.arange(total, device=self._packed.device) - before
        return self._packed.flatten()[start + here // width * row_bytes + here % width]
