"""A model without a network: bright blobs on black are its objects, distance to their edge its logits.

It stands in for ``Sam`` where a test is about what comes after the network, so that the expected
masks are known exactly and take milliseconds.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from napari_sam_amg.sam.answers import DecodedMasks, one_by_one
from napari_sam_amg.sam.config import ModelInfo
from napari_sam_amg.sam.model import resized_shape

BLOB_IOU = (0.7, 0.95, 0.6)  # of the three masks of a point on a blob; the second is the blob itself
EMPTY_IOU = 0.05


@dataclass(frozen=True, eq=False)
class BlobEmbedding:
    distances: np.ndarray  # (n, low, low) signed distance to the edge of every blob, > 0 inside
    regions: np.ndarray  # (H, W) 0 is background
    input_size: tuple[int, int]
    original_size: tuple[int, int]
    img_size: int
    maps: None = None  # it sees nothing before it is asked


@dataclass
class BlobModel:
    img_size: int = 256
    low_res: int = 128
    mask_threshold: float = 0.0
    precision: str = "exact"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    info: ModelInfo = field(
        default_factory=lambda: ModelInfo("blobs", "none", "blobs.pt", "0" * 64, {"points_per_side": 16})
    )
    embedded: list = field(default_factory=list)  # the images that were embedded
    decoded: int = 0  # points decoded so far

    def embed(self, image):
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        self.embedded.append(image)
        count, regions = cv2.connectedComponents((image[..., 0] > 127).astype(np.uint8))
        size = resized_shape(*image.shape[:2], self.img_size)
        distances = [self._signed_distance(regions == region, size) for region in range(1, count)]
        planes = np.array(distances, np.float32).reshape(-1, self.low_res, self.low_res)
        return BlobEmbedding(planes, regions, size, image.shape[:2], self.img_size)

    def _signed_distance(self, region, size):
        square = np.zeros((self.img_size, self.img_size), np.uint8)
        resized = cv2.resize(region.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        square[: size[0], : size[1]] = resized
        inside = cv2.distanceTransform(square, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - square, cv2.DIST_L2, 5)
        return cv2.resize(inside, (self.low_res, self.low_res), interpolation=cv2.INTER_AREA)

    def decode(self, embedding, points, keep) -> DecodedMasks:
        self.decoded += len(points)
        column, row = np.floor(points).astype(int).T
        region = embedding.regions[row, column]
        iou = self.rate(region)
        prompt, mask = torch.nonzero(keep(iou), as_tuple=True)
        logits = [self._logits(embedding, region[p], m) for p, m in zip(prompt.tolist(), mask.tolist(), strict=True)]
        stacked = torch.as_tensor(np.array(logits, np.float32).reshape(-1, self.low_res, self.low_res))
        return DecodedMasks(prompt, iou[prompt, mask], stacked)

    def decode_batches(self, embedding, batches, keep):
        return one_by_one(self.decode, embedding, batches, keep)

    def rate(self, region) -> torch.Tensor:
        """(n, 3) predicted IoU of the masks of points, by the blob on which each lies; 0 is the background."""
        return torch.where(torch.as_tensor(region > 0)[:, None], torch.tensor(BLOB_IOU), EMPTY_IOU)

    def _logits(self, embedding, region: int, mask: int) -> np.ndarray:
        if region == 0:
            return np.full((self.low_res, self.low_res), -10.0, np.float32)
        return embedding.distances[region - 1] + (mask - 1)  # the masks: one px smaller, the blob, one px larger


def blobs(shape=(96, 128), discs=((20, 20, 8), (60, 30, 12), (100, 70, 15))) -> np.ndarray:
    """A uint8 image with bright discs (x, y, radius) on black."""
    image = np.zeros(shape, np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, 200, -1)
    return image


def disc_image(centres, radius: int = 7, shape=(64, 80)) -> np.ndarray:
    """Discs of one radius at (y, x)."""
    return blobs(shape, [(x, y, radius) for y, x in centres])


def keep_all(iou: Tensor) -> Tensor:
    return torch.ones_like(iou, dtype=torch.bool)
