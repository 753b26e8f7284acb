"""Masks at full resolution from low-resolution logits, as ``upsample`` makes them, where the logits are: on a GPU.

Whole frames, as in the reference: a GPU writes a thousand of them in the time in which it is told of a few hundred
blocks. They are made some at a time, and measured and packed to bits at once. Only numbers and, of the masks that are
asked for, packed boxes cross to the host, both through pinned memory, so that the GPU need not wait.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.amg.bits import BYTE, Bits
from napari_sam_amg.amg.blocks import Indices
from napari_sam_amg.sam.handover import Handover, to_device
from napari_sam_amg.sam.memory import in_halves

PIXELS_AT_ONCE = 2**27  # of frames: 0.5 GB, and as much again where the image is not of the model's size


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """What M masks of an image of ``original_size`` are made of; ``upsample.upsampler`` says more of the sizes."""

    img_size: int
    input_size: tuple[int, int]
    original_size: tuple[int, int]

    def measure(self, logits: Tensor, threshold: float, offset: float) -> "DenseMeasures":
        """Boxes, pixel counts and pixels of the masks behind (M, s, s) logits. Does not wait for the GPU."""
        at_once = max(1, PIXELS_AT_ONCE // max(self.img_size**2, self.original_size[0] * self.original_size[1]))
        parts = in_halves(lambda some: self._measure(some, threshold, offset), logits, at_once)
        counts, in_rows, in_columns, packed = (torch.cat(column) for column in zip(*parts, strict=True))
        return DenseMeasures(Handover(torch.cat([counts, _extent(in_columns), _extent(in_rows)], dim=1)), packed)

    def _measure(self, logits: Tensor, threshold: float, offset: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two counts of pixels (m, 2), which rows (m, H) and columns (m, W) are in a mask, and its bits (m, H, W / 8).

        Source: ``segment_anything.modeling.Sam.postprocess_masks``, ``utils.amg.calculate_stability_score``.
        """
        frames = F.interpolate(logits[:, None].float(), (self.img_size,) * 2, mode="bilinear", align_corners=False)
        frames = frames[..., : self.input_size[0], : self.input_size[1]]
        if self.input_size != self.original_size:
            frames = F.interpolate(frames, self.original_size, mode="bilinear", align_corners=False)
        frames = frames[:, 0]
        counts = [(frames > level).sum((1, 2), dtype=torch.int32) for level in (threshold - offset, threshold + offset)]
        mask = frames > threshold
        return torch.stack(counts, dim=1), mask.any(2), mask.any(1), _pack(mask)


def _pack(mask: Tensor) -> Tensor:
    """(m, H, W) pixels, eight a byte."""
    padded = F.pad(mask, (0, -mask.shape[2] % BYTE)).unflatten(2, (-1, BYTE)).view(torch.uint8)
    weights = 2 ** torch.arange(BYTE - 1, -1, -1, dtype=torch.uint8, device=mask.device)
    return (padded * weights).sum(3, dtype=torch.uint8)


def _extent(some: Tensor) -> Tensor:
    """The first and last that is true of each row of (M, n): (M, 2) int32; n and -1 where none is."""
    places = torch.arange(some.shape[1], dtype=torch.int32, device=some.device)
    first = torch.where(some, places, some.shape[1]).amin(1)
    return torch.stack([first, torch.where(some, places, -1).amax(1)], dim=1).to(torch.int32)


class DenseMeasures:
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

    def _gather(self, rows: Indices, left: Indices, top: Indices, widths: Indices, sizes: Indices) -> Tensor:
        """The bytes of all boxes, one after another."""
        total, (_, height, row_bytes) = int(sizes.sum()), self._packed.shape
        starts = (rows * height + top) * row_bytes + left
        table = to_device(torch.from_numpy(np.stack([starts, widths, sizes.cumsum() - sizes])), self._packed.device)
        counts = to_device(torch.from_numpy(sizes), self._packed.device)
        start, width, before = table.repeat_interleave(counts, dim=1, output_size=total)
        here = torch.arange(total, device=self._packed.device) - before
        return self._packed.flatten()[start + here // width * row_bytes + here % width]
