"""Where no more points need to be asked: under masks of which the model is sure.

Source: "hierarchical segment everything", Shu et al. 2023 (TinySAM, arXiv 2312.13789).
"""

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.masks import Candidates


class Coverage:
    """The pixels of one crop that masks cover. Nothing is drawn before it is asked for."""

    def __init__(self, crop: CropBox) -> None:
        self._crop = crop
        self._covered = np.zeros(crop.size, dtype=bool)
        self._waiting: list[Candidates] = []

    def add(self, candidates: Candidates) -> None:
        """Cover what lies inside these masks of the crop."""
        self._waiting.append(candidates)

    def open(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of the points (n, 2), (x, y) in 0..1 of the crop, in whose pixel there is no mask."""
        return grid[self.is_open(grid)]

    def is_open(self, grid: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the points these are: (n,)."""
        while self._waiting:
            self._draw(self._waiting.pop())
        height, width = self._crop.size
        # a point on the last edge, at 1.0, has no pixel of its own
        column, row = np.minimum(grid * (width, height), (width - 1, height - 1)).astype(np.int64).T
        return ~self._covered[row, column]

    def _draw(self, candidates: Candidates) -> None:
        corner = np.tile((self._crop.x0, self._crop.y0), 2)
        for row, (x0, y0, x1, y1) in enumerate((candidates.boxes - corner).clip(0).tolist()):
            self._covered[y0 : y1 + 1, x0 : x1 + 1] |= candidates.cutout(row)
