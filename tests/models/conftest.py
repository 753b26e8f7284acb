"""A small network of this project's own format, and a hollow ViT."""

from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig
from tests.models.test_our_format import CONFIG


@pytest.fixture(scope="session")
def tiny_file() -> dict[str, Any]:
    """What a whole checkpoint of ours holds."""
    encoder = {"channels": CONFIG["channels"], "blocks": CONFIG["blocks"]}
    with torch.random.fork_rng():
        model = build_sam(SamConfig("unet", 64, 8, 32, 2, 4, 16, 16, 4, encoder))
    return {"format": "napari-sam-amg/1", "config": CONFIG, "amg": {}, "model": model.state_dict()}


@pytest.fixture(scope="session")
def hollow_vit_b() -> dict[str, Tensor]:
    """The two tensors by which a ViT-B is known."""
    return {"image_encoder.patch_embed.proj.weight": torch.zeros(()).expand(768, 3, 16, 16)}
