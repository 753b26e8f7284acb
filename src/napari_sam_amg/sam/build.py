"""A network from its sizes."""

import torch
from torch import nn

from napari_sam_amg.sam.config import SamConfig
from napari_sam_amg.sam.image_encoder import ImageEncoderViT
from napari_sam_amg.sam.model import Sam
from napari_sam_amg.sam.tiny_vit import TinyViT
from napari_sam_amg.sam.unet_encoder import UnetEncoder


def build_sam(config: SamConfig) -> Sam:
    """A model of these sizes without its weights: a vision transformer is left on the meta device."""
    if config.architecture == "unet":
        return Sam(config, UnetEncoder(config.img_size, config.embed_dim, **config.encoder))
    with torch.device("meta"):  # to make up 600 million numbers that are replaced at once takes seconds
        encoder: nn.Module
        if config.architecture == "vit_t":
            encoder = TinyViT(config.img_size, out_chans=config.embed_dim, **config.encoder)
        else:
            encoder = ImageEncoderViT(config.img_size, out_chans=config.embed_dim, **config.encoder)
    return Sam(config, encoder)
