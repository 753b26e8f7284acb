"""Small layers that several parts of SAM share."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.looks import look
from napari_sam_amg.sam.scratch import Scratch

WORK_BETWEEN_LOOKS = 3 * 10**9  # multiplications of a linear layer, on a CPU: a tenth of a second on one core


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of an (B, C, H, W) tensor.

    Source: ``segment_anything.modeling.common.LayerNorm2d``.
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return norm_last(x.permute(0, 2, 3, 1), self).permute(0, 3, 1, 2)


def norm_last(x: Tensor, norm: LayerNorm2d | nn.LayerNorm) -> Tensor:
    """A layer norm over the last axis of a tensor, of whichever type: its kernel sums in float32."""
    return F.layer_norm(x, (x.shape[-1],), norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def linear(x: Tensor, layer: nn.Linear, scratch: Scratch | None, name: str) -> Tensor:
    """``layer(x)``, (..., a) -> (..., b), in the scratch's memory of this name if there is a scratch."""
    if scratch is None:
        out: Tensor = layer(x)
        return out
    out = scratch.take(name, (*x.shape[:-1], layer.out_features), x)
    rows = max(1, WORK_BETWEEN_LOOKS // layer.weight.numel())
    for some, place in zip(x.flatten(0, -2).split(rows), out.flatten(0, -2).split(rows), strict=True):
        look()
        torch.addmm(layer.bias, some, layer.weight.t(), out=place)
    return out


def gelu_(x: Tensor) -> Tensor:
    """GELU in place: on a CPU new memory for the result costs several times what the function does."""
    out: Tensor = torch.ops.aten.gelu_(x)
    return out


def convolve_normed(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """``norm(conv(x))`` by the norm's running statistics, as one convolution; the convolution has no bias."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = conv.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), conv.stride, conv.padding, groups=conv.groups)


class MLP(nn.Module):
    """Linear layers with ReLU between. Source: ``segment_anything.modeling.mask_decoder.MLP``."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out
