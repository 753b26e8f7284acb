"""The embedded SAM: our encoder with SAM's prompt encoder and mask decoder."""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from napari_sam_amg.sam.mask_decoder import MaskDecoder
from napari_sam_amg.sam.prompt_encoder import PromptEncoder
from napari_sam_amg.sam.transformer import TwoWayTransformer
from napari_sam_amg.sam.unet_encoder import STRIDE, UnetEncoder
from training.recipe import ModelConfig

FREQUENCIES = (0.5, 12.0)  # cycles across half the frame; spread evenly in their logarithm


class EmbeddedSam(nn.Module):
    """The three parts under the names that the reference's ``Sam`` has."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        side = config.img_size // STRIDE
        self.config = config
        self.image_encoder = UnetEncoder(
            config.img_size, config.embed_dim, config.channels, config.blocks, config.center_cells
        )
        frame = (config.img_size, config.img_size)
        self.prompt_encoder = PromptEncoder(config.embed_dim, (side, side), frame, config.mask_in_chans)
        transformer = TwoWayTransformer(config.depth, config.embed_dim, config.num_heads, config.mlp_dim)
        self.mask_decoder = MaskDecoder(
            config.embed_dim,
            transformer,
            config.num_multimask_outputs,
            iou_head_hidden_dim=config.iou_head_hidden_dim,
        )

    def dense_prompt(self) -> Tensor:
        """The "no mask" embedding: (C, 1, 1)."""
        return self.prompt_encoder.no_mask_embed.weight[0, :, None, None]


def position_frequencies(features: int) -> Tensor:
    """Fourier frequencies (2, features) of all scales, in directions that cover the circle.

    The reference draws them from one Gaussian; a small model learns faster from several scales.
    """
    low, high = FREQUENCIES
    scale = torch.exp(torch.linspace(math.log(low), math.log(high), features))
    golden = math.pi * (3 - math.sqrt(5))
    angle = torch.arange(features) * golden
    return torch.stack([angle.cos(), angle.sin()]) * scale


def build_model(config: ModelConfig, seed: int) -> EmbeddedSam:
    """A model with fresh weights."""
    torch.manual_seed(seed)
    model = EmbeddedSam(config)
    for layer in (model.prompt_encoder.pe_layer, model.image_encoder.pe_layer):
        layer.positional_encoding_gaussian_matrix.copy_(position_frequencies(config.embed_dim // 2))
    model.image_encoder.to(memory_format=torch.channels_last)
    return model


def config_entry(config: ModelConfig) -> dict[str, Any]:
    """The checkpoint's ``config``: plain values only."""
    return {"architecture": "unet"} | {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
