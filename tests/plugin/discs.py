"""An analytic model: finds bright discs exactly, in milliseconds."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from skimage.measure import label, regionprops

from napari_sam_amg.sam.model import DecodedMasks, resized_shape
from napari_sam_amg.sam.registry import ModelInfo

IMG_SIZE, LOW_RES = 256, 128


def disc_image(centres: list[tuple[int, int]], radius: int = 7, shape: tuple[int, int] = (64, 80)) -> np.ndarray:
    """(H, W) uint8, discs of 200 on 20."""
    rows, columns = np.indices(shape)
    image = np.full(shape, 20, np.uint8)
    for y, x in centres:
        image[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 200
    return image


@dataclass
class DiscModel:
    """Predicts, for a point on a bright disc, that disc."""

    mask_threshold: float = 0.0
    hold_after: int | None = None  # batches; the next one waits for ``release``
    release: threading.Event = field(default_factory=threading.Event)
    embedded: int = 0  # images seen
    decoded: int = 0  # batches
    device: str = "cpu"
    info: ModelInfo = field(default_factory=lambda: ModelInfo("discs", "vit_t", "discs.pt", "0" * 64, {}))

    def embed(self, image: np.ndarray) -> Any:
        self.embedded += 1
        size = (image.shape[0], image.shape[1])
        discs = [(*region.centroid, region.area) for region in regionprops(label(image[..., 0] > 100))]
        return SimpleNamespace(
            discs=np.array(discs).reshape(-1, 3),
            img_size=IMG_SIZE,
            original_size=size,
            input_size=resized_shape(*size, IMG_SIZE),
        )

    def decode(self, embedding: Any, points: np.ndarray, keep: Callable[[torch.Tensor], torch.Tensor]) -> DecodedMasks:
        self.decoded += 1
        if self.hold_after is not None and self.decoded > self.hold_after:
            assert self.release.wait(timeout=60)
        hits = [(row, disc) for row, (x, y) in enumerate(points) for disc in embedding.discs if _inside(disc, y, x)]
        scale = IMG_SIZE / max(embedding.original_size)
        grid = (np.indices((LOW_RES, LOW_RES)) + 0.5) * IMG_SIZE / LOW_RES / scale - 0.5  # (2, s, s) image pixels
        logits = [_radius(disc) - np.hypot(grid[0] - disc[0], grid[1] - disc[1]) for _, disc in hits]
        iou = torch.full((len(hits),), 0.95)
        chosen = keep(iou)
        return DecodedMasks(
            torch.tensor([row for row, _ in hits], dtype=torch.int64)[chosen],
            iou[chosen],
            torch.tensor(np.array(logits).reshape(-1, LOW_RES, LOW_RES), dtype=torch.float32)[chosen],
        )


def _radius(disc: np.ndarray) -> float:
    return float((disc[2] / np.pi) ** 0.5)


def _inside(disc: np.ndarray, y: float, x: float) -> bool:
    return np.hypot(disc[0] - y, disc[1] - x) < _radius(disc)
