"""A convolutional image encoder for the embedded SAM: a residual UNet with an output stride of 8.

It stands where the reference has ``ImageEncoderViT``. Two things are its own:

* Fine features reach the embedding by ``pixel_unshuffle``, so that the mask decoder's upscaler,
  which never mixes neighbouring tokens, can draw boundaries at stride 2.
* A small dense head predicts foreground, boundary and the offset to the centre of the instance.
  The position encoding of the predicted centre is added to the embedding, which tells the decoder
  which cells belong together. The same maps get a loss of their own in training.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.layers import LayerNorm2d, convolve_normed
from napari_sam_amg.sam.prompt_encoder import PositionEmbeddingRandom

STRIDE = 8  # input pixels a cell of the embedding
MAP_STRIDE = 2  # input pixels a pixel of the dense maps
CENTER_UNIT = 16.0  # input pixels a unit of the predicted centre offset
DENSE_MAPS = 4  # foreground logit, boundary logit, row offset, column offset
_MAP_SCALE = STRIDE // MAP_STRIDE


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm, run as one convolution but in training: (B, a, H, W) -> (B, b, H', W')."""

    def __init__(self, a: int, b: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(b))

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = cast(tuple[nn.Conv2d, nn.BatchNorm2d], tuple(self))
        return norm(conv(x)) if self.training else convolve_normed(x, conv, norm)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)
        nn.init.constant_(cast(nn.BatchNorm2d, self.second[1]).weight, 0.2)  # start close to the identity

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.second(F.relu_(self.first(x))).add_(x))


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Halve the resolution, then ``blocks`` residual blocks."""
    down = (ConvNorm(inputs, outputs, stride=2), nn.ReLU(inplace=True))
    return nn.Sequential(*down, *(ResidualBlock(outputs) for _ in range(blocks)))


class UnetEncoder(nn.Module):
    """(B, 3, H, W) normalised image -> (B, embed_dim, H / 8, W / 8) embedding.

    ``img_size``: side of the square input; ``channels`` and ``blocks``: widths and residual blocks of
    the stages at stride 2, 4, 8, 16 and 32; ``center_cells``: along each side of a cell of the embedding,
    parts that have a predicted centre of their own, so that a cell on the border of two instances knows both.
    """

    def __init__(
        self,
        img_size: int = 512,
        embed_dim: int = 128,
        channels: Sequence[int] = (32, 64, 128, 192, 256),
        blocks: Sequence[int] = (0, 1, 2, 2, 2),
        center_cells: int = 1,
    ) -> None:
        super().__init__()
        if len(channels) != 5 or len(blocks) != 5:
            raise ValueError(f"channels={tuple(channels)} and blocks={tuple(blocks)} must have 5 entries each")
        if center_cells < 1 or _MAP_SCALE % center_cells:
            raise ValueError(f"center_cells={center_cells} must divide {_MAP_SCALE}")
        self.img_size = img_size
        self.center_cells = center_cells
        widths = (3, *channels)
        self.stages = nn.ModuleList(stage(widths[i], widths[i + 1], blocks[i]) for i in range(5))
        self.lateral = nn.ModuleList(ConvNorm(channels[i], embed_dim, 1) for i in (2, 3, 4))
        self.fine = nn.ModuleList((ConvNorm(channels[0], 8, 1), ConvNorm(channels[1], 24, 1)))
        self.fine_to_embedding = ConvNorm(8 * 16 + 24 * 4, embed_dim, 1)
        self.merge_16 = ResidualBlock(embed_dim)
        self.merge_8 = ResidualBlock(embed_dim)
        self.neck = nn.Sequential(nn.Conv2d(embed_dim, embed_dim, 1, bias=False), LayerNorm2d(embed_dim))
        self.dense_head = nn.Conv2d(embed_dim, DENSE_MAPS * _MAP_SCALE**2, 1)
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.center_projection = nn.Linear(center_cells**2 * embed_dim, embed_dim, bias=False)
        nn.init.normal_(self.center_projection.weight, std=0.02)

    def forward(
        self, x: Tensor, origin: Tensor | None = None, with_maps: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """``origin``: (B, 2) cell (row, column) of the input's corner, for crops of a larger frame.

        ``with_maps``: as ``embed_with_maps``, for those who listen to the module's calls.
        """
        embedding, maps = self.embed_with_maps(x, origin)
        return (embedding, maps) if with_maps else embedding

    def embed_with_maps(self, x: Tensor, origin: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The embedding, and the dense maps (B, 4, H / 2, W / 2) that have a loss in training."""
        features = self.extract_features(x)
        maps = F.pixel_shuffle(self.dense_head(features), _MAP_SCALE)
        centers, weight = self._pool_centers(maps.float(), origin)
        encoding = self.pe_layer.encode(centers / self.img_size) * weight[..., None]
        return features + self.center_projection(self._by_cell(encoding).to(features.dtype)).permute(0, 3, 1, 2), maps

    def extract_features(self, x: Tensor) -> Tensor:
        """Down the stages and back up to stride 8."""
        levels = [x.contiguous(memory_format=torch.channels_last)]
        for down in self.stages:
            levels.append(down(levels[-1]))
        _, at_2, at_4, at_8, at_16, at_32 = levels
        y = F.relu_(self.lateral[1](at_16) + F.interpolate(self.lateral[2](at_32), scale_factor=2.0))
        y = F.interpolate(self.merge_16(y), scale_factor=2.0)
        y = F.relu_(self.lateral[0](at_8) + y + self._fine_features(at_2, at_4))
        out: Tensor = self.neck(self.merge_8(y))
        return out

    def _fine_features(self, at_2: Tensor, at_4: Tensor) -> Tensor:
        parts = (F.pixel_unshuffle(F.relu_(self.fine[0](at_2)), 4), F.pixel_unshuffle(F.relu_(self.fine[1](at_4)), 2))
        out: Tensor = self.fine_to_embedding(torch.cat(parts, dim=1))
        return out

    def _by_cell(self, parts: Tensor) -> Tensor:
        """Join the k x k parts of each cell: (B, k * h, k * w, C) -> (B, h, w, k * k * C)."""
        k = self.center_cells
        return parts.unflatten(2, (-1, k)).unflatten(1, (-1, k)).transpose(2, 3).flatten(3)

    def _pool_centers(self, maps: Tensor, origin: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean predicted centre (x, y) of each part of a cell in input pixels, and its foreground.

        (B, k * h, k * w, 2) and (B, k * h, k * w) for k = ``center_cells``.
        """
        rows, columns = (torch.arange(n, device=maps.device) * float(MAP_STRIDE) for n in maps.shape[2:])
        y = rows[:, None] + CENTER_UNIT * maps[:, 2]
        x = columns + CENTER_UNIT * maps[:, 3]
        foreground = maps[:, 0].sigmoid()
        stacked = torch.stack([x * foreground, y * foreground, foreground], dim=1)
        sum_x, sum_y, weight = F.avg_pool2d(stacked, _MAP_SCALE // self.center_cells).unbind(1)
        centers = torch.stack([sum_x, sum_y], dim=-1) / (weight[..., None] + 1e-3)
        if origin is not None:
            centers = centers + STRIDE * origin.flip(1)[:, None, None]
        return centers, weight
