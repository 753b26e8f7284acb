"""SAM's output upscaling, from image tokens that are never computed to the logits of masks.

It is two transposed convolutions whose kernel equals their stride. Such a one never mixes neighbours:
it is a linear map of each token to its (2, 2) block, so both run as matrix products on channels-last
tokens, and the norm over channels is a plain layer norm. The first is linear in the image tokens, so
it takes their few vectors instead of them.

It goes by one row of pixels in each block at a time: all pixels of such a row lie beside each other,
as they do in the mask.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.image_levels import Level
from napari_sam_amg.sam.image_tokens import ImageTokens
from napari_sam_amg.sam.layers import LayerNorm2d, norm_last
from napari_sam_amg.sam.scratch import Scratch, out

UpscalingLayers = tuple[nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU]


@dataclass(frozen=True, slots=True, eq=False)
class Upscaling:
    """What all prompts on an image share of it. Rows of pixels come first: two for each convolution."""

    shared: Tensor  # (2, N, 2 * C / 4) the image tokens' shared part after the first convolution
    first: Tensor  # (2, C, 2 * C / 4) float32
    first_bias: Tensor  # (2, 1, 2 * C / 4)
    norm: LayerNorm2d
    second: Tensor  # (2, C / 4, 2 * C / 8)
    second_bias: Tensor  # (2 * C / 8,)

    def draw(self, tokens: ImageTokens, weights: Tensor, scratch: Scratch | None) -> list[Tensor]:
        """The logits of m masks for each of P prompts, from (P, m, C / 8) weights of the upscaled channels.

        Four of (P, m, N * 4): a row of pixels in the blocks of all image tokens each, from the top.
        """
        dtype = self.shared.dtype
        scale, across = tokens.scale[..., None].to(dtype), tokens.attention.transpose(1, 2)
        weights = weights.to(dtype)
        planes = []
        for shared, first, bias in zip(self.shared, self.first, self.first_bias, strict=True):
            place = out(scratch, "upscaled once", (weights.shape[0], *shared.shape), shared)
            x = torch.addcmul(bias, shared, scale, out=place)  # (P, N, 2 * C / 4)
            x = x.baddbmm_(across, (tokens.vectors @ first).to(dtype))
            x = gelu(norm_last(x.unflatten(2, (2, -1)), self.norm)).flatten(0, 2)
            for second in self.second:
                place = out(scratch, "upscaled twice", (x.shape[0], second.shape[1]), x)
                pixels = gelu(torch.addmm(self.second_bias, x, second, out=place))
                planes.append(products(weights, pixels.view(weights.shape[0], -1, weights.shape[2])))
        return planes


def products(weights: Tensor, pixels: Tensor) -> Tensor:
    """(P, m, c) with (P, n, c) -> (P, m, n). Of 16-bit floats a CPU's product wants the long factor first."""
    if pixels.dtype == torch.float32:
        return weights @ pixels.transpose(1, 2)
    return (pixels @ weights.transpose(1, 2)).transpose(1, 2)


def upscaling(layers: nn.Sequential, base: Tensor, level: Level, dtype: torch.dtype) -> Upscaling:
    """From the decoder's layers and the image tokens' (N, C) base at the last level.

    ``dtype``: of everything image-sized.
    """
    once, norm, _, twice, _ = cast(UpscalingLayers, tuple(layers))
    first = level.gain[:, None] * by_rows(once)
    return Upscaling(
        shared=(base @ first).to(dtype),
        first=first,
        first_bias=(level.bias @ by_rows(once) + bias_of_a_row(once))[:, None].to(dtype),
        norm=norm,
        second=by_rows(twice).to(dtype),
        second_bias=bias_of_a_row(twice).to(dtype),
    )


def by_rows(conv: nn.ConvTranspose2d) -> Tensor:
    """The weight of a 2 x 2, stride-2 transposed convolution as two of linear layers: (2, C_in, 2 * C_out)."""
    return conv.weight.permute(2, 0, 3, 1).flatten(2)


def bias_of_a_row(conv: nn.ConvTranspose2d) -> Tensor:
    """Its bias, likewise: (2 * C_out,)."""
    assert conv.bias is not None
    return conv.bias.repeat(2)


def gelu(x: Tensor) -> Tensor:
    """In place, but where training needs ``x`` as it was."""
    return F.gelu(x) if x.requires_grad else cast(Tensor, torch.ops.aten.gelu_(x))
