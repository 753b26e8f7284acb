"""Models with a segmentation decoder: one without a network, to which blobs are bright, and a tiny random SAM."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch import nn

from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import ModelInfo, SamConfig
from napari_sam_amg.sam.distance_maps import DistanceMaps
from napari_sam_amg.sam.model import Sam
from napari_sam_amg.sam.unetr import SegmentationDecoder
from tests.disc_model import BlobEmbedding, BlobModel
from tests.random_weights import randomized

INFO = ModelInfo("blobs_lm", "none", "blobs_lm.pt", "1" * 64, {"points_per_side": 16}, no_decoder="")
TINY = SamConfig(
    "vit_b",
    img_size=64,
    encoder={
        "embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 16, "window_size": 14, "global_attn_indexes": (0,),
    },
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SeenEmbedding(BlobEmbedding):
    maps: DistanceMaps | None = None


@dataclass
class FinetuneModel(BlobModel):
    """What ``BlobModel`` is, whose decoder is right: its maps are made of the image."""

    info: ModelInfo = field(default_factory=lambda: INFO)
    sees_objects: bool = True

    def embed(self, image: np.ndarray) -> SeenEmbedding:
        seen = super().embed(image)
        height, width = seen.input_size
        bright = cv2.resize(image[..., 0], (width, height), interpolation=cv2.INTER_NEAREST) > 127
        maps = np.ones((1, 3, self.img_size, self.img_size), np.float32)
        maps[:, 0] = 0  # no foreground in the padding, and everything far from it
        maps[0, :, :height, :width] = _maps(bright)
        decoded = DistanceMaps(nn.Identity(), torch.from_numpy(maps), seen.input_size, seen.original_size)
        values = {name: getattr(seen, name) for name in seen.__dataclass_fields__ if name != "maps"}
        return SeenEmbedding(**values, maps=decoded)


def _maps(bright: np.ndarray) -> np.ndarray:
    """Foreground, and how far from the middle of its blob each pixel is, 0 to 1; for both distances the same."""
    depth = cv2.distanceTransform(np.pad(bright, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    _, blobs = cv2.connectedComponents(bright.astype(np.uint8))
    deepest = np.ones(blobs.max() + 1, np.float32)
    np.maximum.at(deepest, blobs, depth)
    away = np.where(bright, 1 - depth / deepest[blobs], 1)
    return np.stack([bright, away, away])


def tiny_finetune() -> Sam:
    """A ViT of 64 px and one block, and a whole decoder; random weights, always the same."""
    model = build_sam(TINY).to_empty(device="cpu")
    model.register_buffer("pixel_mean", Sam(TINY, nn.Identity()).pixel_mean, persistent=False)
    model.register_buffer("pixel_std", Sam(TINY, nn.Identity()).pixel_std, persistent=False)
    model = randomized(model)
    model.segmentation_decoder = randomized(SegmentationDecoder())
    model.info = replace(INFO, name="tiny_lm", architecture="vit_b")
    return model
