"""The sizes that tell one SAM model from another, and where a loaded one comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SamConfig:
    """Everything needed to build a model before its weights are loaded."""

    architecture: str  # "vit_h", "vit_l", "vit_b", "vit_t" or "unet"
    img_size: int = 1024  # side of the padded, square input (px)
    stride: int = 16  # input pixels per image token
    embed_dim: int = 256  # channels of the image embedding
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_head_hidden_dim: int = 256
    mask_in_chans: int = 16
    encoder: Mapping[str, Any] = field(default_factory=dict)  # arguments of the image encoder

    @property
    def grid_side(self) -> int:
        """Image tokens along one side of the input."""
        return self.img_size // self.stride


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Where a loaded model comes from, and the parameter defaults that belong to it."""

    name: str  # a known name, or the file's name without its ending
    architecture: str  # "vit_h", "vit_l", "vit_b", "vit_t" or "unet"
    path_name: str  # the checkpoint's file name
    sha256: str  # of the checkpoint file
    amg_defaults: Mapping[str, float | str]  # AMG parameters by name; empty: the general defaults
    no_decoder: str = "it has none"  # why there is no segmentation decoder, in words; empty if there is one
    decoder_sha256: str = ""  # of the file of the segmentation decoder, if that is another one
