"""Low-resolution logits to full resolution, only where a mask can be.

The reference enlarges every mask to the model's square, cuts the padding off and enlarges that to
the image, both bilinearly, then measures full frames. Both steps are linear and separable, so
together they are one matrix for the rows and one for the columns, with a few entries a row. A pixel
is a weighted mean of the low-resolution logits that its row and column name: it can pass a
threshold only if one of those does. So a mask is measured and cut out exactly by multiplying out
the pixels which see a logit above the lowest threshold, and no others.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Low-resolution to full-resolution along one axis."""

    weights: NDArray[np.float32]  # (full, low)
    first: NDArray[np.int64]  # (full,) first low-resolution sample that a pixel sees
    last: NDArray[np.int64]  # (full,) last one

    def reach(self, low: int, high: int) -> slice:
        """The pixels that see any of the samples ``low`` .. ``high``, both included."""
        return slice(int(np.searchsorted(self.last, low)), int(np.searchsorted(self.first, high, side="right")))

    def sources(self, pixels: slice) -> slice:
        """The samples that a non-empty run of pixels sees."""
        return slice(int(self.first[pixels.start]), int(self.last[pixels.stop - 1]) + 1)


def resampling(low: int, square: int, inside: int, full: int) -> Resampling:
    """The two bilinear steps along one axis: ``low`` -> ``square``, cut to ``inside``, -> ``full`` samples."""
    identity = torch.eye(low)[None]
    enlarged = F.interpolate(identity, size=square, mode="linear", align_corners=False)[..., :inside]
    weights: NDArray[np.float32] = (
        F.interpolate(enlarged, size=full, mode="linear", align_corners=False)[0].T.contiguous().numpy()
    )
    seen = weights != 0
    return Resampling(weights, seen.argmax(axis=1), low - 1 - seen[:, ::-1].argmax(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The low-resolution logits that a mask is made of."""

    logits: Logits  # (h, w)
    rows: slice  # pixels of the image (or crop) that they determine
    columns: slice


@dataclass(frozen=True, slots=True, eq=False)
class Upsampler:
    """Full-resolution logits of any part of an image, from the model's low-resolution ones."""

    rows: Resampling
    columns: Resampling

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

    def full(self, patch: Patch) -> Logits:
        """The full-resolution logits at ``patch.rows`` x ``patch.columns``."""
        if patch is EMPTY:
            return np.empty((0, 0), np.float32)
        rows = self.rows.weights[patch.rows, self.rows.sources(patch.rows)]
        columns = self.columns.weights[patch.columns, self.columns.sources(patch.columns)]
        return np.asarray(rows @ patch.logits @ columns.T, dtype=np.float32)


EMPTY = Patch(np.empty((0, 0), np.float32), slice(0, 0), slice(0, 0))


def upsampler(low_res: int, img_size: int, input_size: tuple[int, int], original_size: tuple[int, int]) -> Upsampler:
    """For masks of ``low_res`` x ``low_res`` over an ``img_size`` square of which ``input_size`` (h, w) is image.

    Source of the two steps: ``segment_anything.modeling.Sam.postprocess_masks``.
    """
    rows, columns = (
        resampling(low_res, img_size, inside, full) for inside, full in zip(input_size, original_size, strict=True)
    )
    return Upsampler(rows, columns)
