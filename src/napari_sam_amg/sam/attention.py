"""The layers of SAM's two-way transformer that hold weights; names and state-dict keys are the reference's.

Source: ``segment_anything.modeling.transformer`` and ``segment_anything.modeling.common``.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MLPBlock(nn.Module):
    def __init__(self, embedding_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class Attention(nn.Module):
    """Attention whose internal width is the embedding's divided by ``downsample_rate``.

    Shapes: P prompts, T tokens each, C channels, h heads of d channels.
    """

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        self.internal_dim = embedding_dim // downsample_rate
        self.num_heads = num_heads
        if self.internal_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide the internal width {self.internal_dim}")
        self.q_proj = nn.Linear(embedding_dim, self.internal_dim)
        self.k_proj = nn.Linear(embedding_dim, self.internal_dim)
        self.v_proj = nn.Linear(embedding_dim, self.internal_dim)
        self.out_proj = nn.Linear(self.internal_dim, embedding_dim)

    def heads(self, x: Tensor) -> Tensor:
        """(..., L, h*d) -> (..., h, L, d)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3)

    def merge(self, x: Tensor) -> Tensor:
        """(..., h, L, d) -> (..., L, C): heads joined and projected out."""
        out: Tensor = self.out_proj(x.transpose(-2, -3).flatten(-2))
        return out

    @property
    def scale(self) -> float:
        return 1.0 / math.sqrt(self.internal_dim // self.num_heads)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Plain attention, for the few tokens among themselves, of what was projected: (P, T, h*d) -> (P, T, C)."""
        return self.merge(F.scaled_dot_product_attention(self.heads(q), self.heads(k), self.heads(v)))

    def in_heads(self, projection: nn.Linear) -> Tensor:
        """The weight of a projection into the heads: (h, d, C)."""
        return projection.weight.unflatten(0, (self.num_heads, -1))

    def out_of_heads(self) -> Tensor:
        """The weight of the projection out of the heads: (h, d, C)."""
        return self.out_proj.weight.unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """Several linear layers as one."""

    weight: Tensor  # (n, C)
    bias: Tensor  # (n,)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., n)."""
        return F.linear(x, self.weight, self.bias)


def stacked(*layers: nn.Linear) -> Projections:
    return Projections(torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))
