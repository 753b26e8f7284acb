"""SAM's output upscaling, from image tokens that are never computed to the logits of masks.

It is two transposed convolutions whose kernel equals their stride. Such a one never mixes neighbours:
it is a linear map of each token to its (2, 2) block, so both run as matrix products, and the norm over channels as a
layer norm. The first is linear in the image tokens, so it takes their few vectors instead of them; so is the centring
of the norm, which its weights do. The image tokens stay the contiguous axis, as everywhere in the decoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.gpu_way import takes_gpu_way
from napari_sam_amg.sam.image_levels import Level, centre
from napari_sam_amg.sam.image_tokens import ImageTokens
from napari_sam_amg.sam.layers import LayerNorm2d
from napari_sam_amg.sam.looks import look
from napari_sam_amg.sam.pieces import cut
from napari_sam_amg.sam.scratch import Scratch, out

NUMBERS_AT_ONCE = 2**20  # of a piece; half as many take longer, up to a tenth

UpscalingLayers = tuple[nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU]


@dataclass(frozen=True, slots=True, eq=False)
class Upscaling:
    """What all prompts on an image share of it. Pixels of a convolution's (2, 2) blocks come before channels."""

    grid_size: tuple[int, int]  # (rows, columns), N = rows * columns
    shared: Tensor  # (4 * C / 4, N) the image tokens' shared part after the first convolution, centred
    first: Tensor  # (4 * C / 4, C) float32, centred; the gain of the layer norm before it is in ``shared`` and vectors
    first_bias: Tensor  # (4 * C / 4, 1), centred
    norm: LayerNorm2d
    second: Tensor  # (2, 2 * C / 8, C / 4), by rows of pixels
    second_bias: Tensor  # (2 * C / 8, 1)

    def draw(
        self, tokens: ImageTokens, weights: Tensor, scratch: Scratch | None, first_rows: int | None = None
    ) -> Iterator[tuple[slice, int, Tensor]]:
        """The logits of m masks for each of P prompts, from (P, m, C / 8) weights of the upscaled channels.

        Some rows of the grid at a time, and one row of pixels of the second convolution's blocks, 0 or 1: the logits
        are (P, 2, 4, m, rows, columns). The 2 are the rows of pixels of the first convolution's blocks: pixel row
        2 * first + second of 4 is meant. The 4 are columns of pixels. ``first_rows`` of the grid, by default all.
        """
        columns = self.grid_size[1]
        vectors = (self.first @ tokens.vectors.transpose(1, 2)).to(self.shared.dtype)  # (P, 4 * C / 4, K)
        prompts, masks, _ = weights.shape
        weights = weights.to(self.shared.dtype)[:, None].expand(-1, 8, -1, -1).flatten(0, 1)
        rows = prompts * self.shared.shape[0]
        count = self.shared.shape[1] if first_rows is None else first_rows * columns
        for some in cut(count, rows, self.shared, scratch, columns, NUMBERS_AT_ONCE):
            look()
            here, shared = tokens.piece(some), self.shared[:, some]
            place = out(scratch, "upscaled once", (prompts, *shared.shape), shared)
            x = torch.addcmul(self.first_bias, shared, here.scale[:, None].to(shared.dtype), out=place)
            x = x.baddbmm_(vectors, here.attention).unflatten(1, (4, -1))
            x = gelu(divided(x, self.norm, scratch)).flatten(0, 1)  # (P * 4, C / 4, N)
            for row, second in enumerate(self.second):
                place = out(scratch, "upscaled twice", (x.shape[0], second.shape[0], x.shape[2]), x)
                pixels = gelu(torch.baddbmm(self.second_bias, second.expand(x.shape[0], -1, -1), x, out=place))
                logits = torch.bmm(weights, pixels.view(prompts * 8, weights.shape[-1], -1))  # (P * 8, m, N)
                del pixels  # those of the next row would be made beside them
                grid_rows = slice(some.start // columns, some.stop // columns)
                yield grid_rows, row, logits.view(prompts, 2, 4, masks, -1, columns)


def divided(x: Tensor, norm: LayerNorm2d, scratch: Scratch | None) -> Tensor:
    """A layer norm over the C channels of (P, m, C, N), whose mean is 0; in place, but where training needs x."""
    if takes_gpu_way(x.device) or x.dtype == torch.float16:  # no memory for squares, which float16 does not hold
        means = torch.linalg.vector_norm(x, dim=2, keepdim=True, dtype=torch.float32).square() / x.shape[2]
    else:
        squares = torch.mul(x, x, out=out(scratch, "upscaled twice", tuple(x.shape), x))
        means = x.new_full((*x.shape[:2], 1, x.shape[2]), 1 / x.shape[2]) @ squares  # as a product: see sum_rows
    inverse = (means.float() + norm.eps).rsqrt().to(x.dtype)
    gain, bias = norm.weight[:, None].to(x.dtype), norm.bias[:, None].to(x.dtype)
    if x.requires_grad:
        return x * inverse * gain + bias
    if takes_gpu_way(x.device):
        return torch.addcmul(bias, x.mul_(inverse), gain, out=x)
    return x.mul_(inverse).mul_(gain).add_(bias)


def upscaling(
    layers: nn.Sequential, grid_size: tuple[int, int], base: Tensor, level: Level, dtype: torch.dtype
) -> Upscaling:
    """From the decoder's layers and the image tokens' (N, C) base at the last level.

    ``dtype``: of everything image-sized.
    """
    once, norm, _, twice, _ = cast(UpscalingLayers, tuple(layers))
    weight, bias = by_pixels(once)
    first = centre(weight)  # (4, C, C / 4)
    second, second_bias = by_pixels(twice)
    return Upscaling(
        grid_size=grid_size,
        shared=((base * level.gain) @ first).transpose(1, 2).flatten(0, 1).to(dtype),
        first=first.transpose(1, 2).flatten(0, 1),
        first_bias=centre(level.bias @ weight + bias).view(-1, 1).to(dtype),
        norm=norm,
        second=second.transpose(1, 2).reshape(2, -1, second.shape[1]).to(dtype),
        second_bias=second_bias.repeat(2)[:, None].to(dtype),
    )


def by_pixels(conv: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """The weight of a 2 x 2, stride-2 transposed convolution as of linear layers: (4, C_in, C_out); and the bias."""
    assert conv.bias is not None
    return conv.weight.permute(2, 3, 0, 1).flatten(0, 1), conv.bias


def gelu(x: Tensor) -> Tensor:
    """In place, but where training needs ``x`` as it was."""
    return F.gelu(x) if x.requires_grad else cast(Tensor, torch.ops.aten.gelu_(x))
