"""Where no more points need to be asked: under masks of which the model is sure.

Source: "hierarchical segment everything", Shu et al. 2023 (TinySAM, arXiv 2312.13789).
"""

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.blocks import EMPTY
from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.masks import Candidates


class Coverage:
    """The pixels of one crop that masks cover. Nothing is drawn before it is asked for."""

    def __init__(self, crop: CropBox, mask_threshold: float) -> None:
        self._crop, self._mask_threshold = crop, mask_threshold
        self._covered = np.zeros(crop.size, dtype=bool)
        self._waiting: list[Candidates] = []

    def add(self, candidates: Candidates) -> None:
        """Cover what lies inside these masks of the crop."""
        self._waiting.append(candidates)

    def open(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of the points (n, 2), (x, y) in 0..1 of the crop, in whose pixel there is no mask."""
        while self._waiting:
            self._draw(self._waiting.pop())
        height, width = self._crop.size
        # a point on the last edge, at 1.0, has no pixel of its own
        column, row = np.minimum(grid * (width, height), (width - 1, height - 1)).astype(np.int64).T
        return grid[~self._covered[row, column]]

    def _draw(self, candidates: Candidates) -> None:
        for patch, upsampler in zip(candidates.patches, candidates.upsamplers, strict=True):
            if patch is not EMPTY:
                mask = upsampler.pixels(patch, self._mask_threshold)
                top, left = patch.corner
                self._covered[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
