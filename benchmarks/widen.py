"""The embedded model's function in SAM's dimensions: what the benchmark decodes.

Random SAM weights answer every point with one mask of the whole frame, so nothing after the decoder
is exercised. Published weights are not in this repository. So the embedded model is widened without
changing what it computes: every channel is there twice (every hidden unit of an MLP several times),
and a weight that reads n copies of its input is divided by n. Layer norms see the same mean and
variance; attention has more heads of the same size. A test holds the masks to the embedded model's.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.config import SamConfig
from napari_sam_amg.sam.model import Sam

#: SAM's decoder, as in ``segment_anything.build_sam``.
SAM_DIMENSIONS: dict[str, Any] = {
    "img_size": 1024,
    "stride": 16,
    "embed_dim": 256,
    "decoder_depth": 2,
    "decoder_heads": 8,
    "decoder_mlp_dim": 2048,
    "iou_head_hidden_dim": 256,
    "mask_in_chans": 16,
}


class PooledEncoder(nn.Module):
    """A small encoder behind SAM's interface: (B, 3, 1024, 1024) -> (B, 256, 64, 64).

    The input is averaged down to what the small encoder takes, and its channels are repeated.
    """

    channels: Tensor

    def __init__(self, encoder: nn.Module, img_size: int, pooling: int, channels: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.img_size = img_size
        self.pooling = pooling
        self.register_buffer("channels", channels, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.encoder(F.avg_pool2d(x, self.pooling))[:, self.channels]
        return out


def widened(small: Sam) -> Sam:
    """A model in SAM's dimensions that gives the masks of ``small``, float error apart.

    A point (x, y) of the small model's input is (pooling * x + (pooling - 1) / 2, ...) here, since
    both mean the pixel's centre. The encoder's modules are shared, not copied.
    """
    config = SamConfig("widened", **SAM_DIMENSIONS)
    if config.grid_side != small.config.grid_side:
        raise ValueError(f"the model has {small.config.grid_side} image tokens a side, SAM has {config.grid_side}")
    channels = repeated_channels(small.config.embed_dim, config.embed_dim)
    pooling = config.img_size // small.config.img_size
    wide = Sam(config, PooledEncoder(small.image_encoder, config.img_size, pooling, channels))
    for part in ("prompt_encoder", "mask_decoder"):
        _widen(getattr(small, part), getattr(wide, part), channels)
    wide.info = small.info
    return wide.requires_grad_(False).eval()


def repeated_channels(small: int, wide: int) -> Tensor:
    """Which channel of the small embedding each of the wide one holds: (wide,) indices.

    A position's encoding is [sines | cosines], so each half is repeated within its half.
    """
    halves = torch.arange(small).view(2, small // 2)
    return halves.repeat(1, wide // small).flatten()


def _widen(small: nn.Module, wide: nn.Module, channels: Tensor) -> None:
    """Fill ``wide`` from the module of the same structure."""
    sources = dict(small.named_modules())
    with torch.no_grad():
        for name, target in wide.named_modules():
            tensors = [*target.named_parameters(recurse=False), *target.named_buffers(recurse=False)]
            for key, tensor in tensors:
                source = getattr(sources[name], key)
                read = _input_axis(target) if key == "weight" else None
                tensor.copy_(_repeated(source, tensor.shape, read, channels))
        if hasattr(wide, "output_hypernetworks_mlps"):  # a pixel is a product over channels, each there n times
            copies = wide.iou_token.embedding_dim // small.iou_token.embedding_dim  # type: ignore[union-attr, operator]
            for mlp in wide.output_hypernetworks_mlps:  # type: ignore[union-attr]
                mlp.layers[-1].weight /= copies
                mlp.layers[-1].bias /= copies


def _input_axis(module: nn.Module) -> int | None:
    """The axis of a weight that is summed over, None if there is none."""
    if isinstance(module, nn.ConvTranspose2d):
        return 0
    return 1 if isinstance(module, nn.Linear | nn.Conv2d) else None


def _repeated(source: Tensor, shape: torch.Size, read: int | None, channels: Tensor) -> Tensor:
    """A tensor repeated along its axes up to ``shape``, divided by the copies of the input it reads."""
    out = source
    for axis, (size, wide) in enumerate(zip(source.shape, shape, strict=True)):
        if wide == size:
            continue
        embedding = size == channels.unique().numel() and wide == len(channels)
        index = channels if embedding else torch.arange(size).repeat(wide // size)
        out = out.index_select(axis, index)
        if axis == read:
            out = out * (size / wide)
    return out
