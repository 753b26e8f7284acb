"""What all prompts share of SAM's image tokens, projected once an image as ``image_tokens`` needs it."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.attention import Attention


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """What all prompts share of the image tokens between two layers, projected as it will be needed."""

    gain: Tensor  # (C,) of the layer norm
    bias: Tensor  # (C,)
    read_key: Tensor  # (h, d, N): base, as keys of the tokens' attention; at level 0 the transpose is contiguous
    read_position: Tensor | None  # (h, d, N): the position encoding, likewise; at level 0 within read_key
    read_value: Tensor  # (h, N, d): base, as values of the same
    write_query: Tensor | None  # (h, d, N): base, as queries of the image's attention; None after the last layer
    write_position: Tensor | None  # (h, d, N): position encoding and biases; at level 0 within write_query
    mean_square: Tensor  # (N,) float32, of base
    written: tuple[Tensor, ...]  # (h, d + 1, N) a layer so far: mean products of base with what it writes, and its bias

    def piece(self, some: slice) -> "Level":
        """That of some of the image tokens."""
        return replace(
            self,
            read_key=self.read_key[..., some],
            read_position=_columns(self.read_position, some),
            read_value=self.read_value[:, some],
            write_query=_columns(self.write_query, some),
            write_position=_columns(self.write_position, some),
            mean_square=self.mean_square[some],
            written=tuple(each[..., some] for each in self.written),
        )


@dataclass(slots=True, eq=False)
class LevelBuilder:
    """Walks up the levels of an image, projecting its shared part at each.

    ``base``: (N, C) at the current level. ``positions``: (N, C) position encoding.
    """

    base: Tensor
    positions: Tensor
    dtype: torch.dtype
    gain: Tensor
    bias: Tensor
    level: int = 0
    weights: tuple[Tensor, ...] = ()  # (h, d + 1, C) what each layer writes, as base is centred; last, its bias

    def climb(self, write: Attention, norm: nn.LayerNorm) -> None:
        """Through the layer in which the image attends by ``write``, followed by ``norm``."""
        older = tuple(centre(weight * self.gain) for weight in self.weights)
        bias = share_of_biases(write, self.bias).expand(write.num_heads, 1, -1)
        self.weights = (*older, centre(torch.cat([write.out_of_heads(), bias], dim=1)))
        self.base = centre(self.base * self.gain)
        self.gain, self.bias = norm.weight, norm.bias
        self.level += 1

    def describe(self, read: Attention, write: Attention | None) -> Level:
        """The current level, where the tokens attend by ``read``, then the image by ``write``."""
        keys = self.base * self.gain
        read_key, read_position = self._with_positions(keys, read, read.k_proj)
        query = position = None
        if write is not None:
            bias = F.linear(self.bias, write.q_proj.weight, write.q_proj.bias)
            query, position = self._with_positions(keys, write, write.q_proj, bias)
        channels = self.base.shape[1]
        return Level(
            gain=self.gain,
            bias=self.bias,
            read_key=read_key if self.level else read_key.transpose(1, 2).contiguous().transpose(1, 2),
            read_position=read_position,
            read_value=project(keys, read, read.v_proj).transpose(1, 2).contiguous().to(self.dtype),
            write_query=query,
            write_position=position,
            mean_square=self.base.square().mean(1),
            written=tuple(
                torch.einsum("nc,hdc->hdn", self.base, weight / channels).to(self.dtype) for weight in self.weights
            ),
        )

    def _with_positions(
        self, keys: Tensor, attention: Attention, projection: nn.Linear, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Projected image tokens and positions; in one at level 0, where no scale parts them."""
        tokens, positions = project(keys, attention, projection), project(self.positions, attention, projection)
        if bias is not None:
            positions = positions + bias.view(attention.num_heads, -1, 1)
        if self.level == 0:
            return (tokens + positions).to(self.dtype), None
        return tokens.to(self.dtype), positions.to(self.dtype)


def _columns(x: Tensor | None, some: slice) -> Tensor | None:
    return None if x is None else x[..., some]


def centre(x: Tensor) -> Tensor:
    """Less the mean over the channels."""
    return x - x.mean(-1, keepdim=True)


def share_of_biases(write: Attention, bias: Tensor) -> Tensor:
    """(C,) of a level's bias and that of what is written there, for each head: an image token's attention sums to 1."""
    return (write.out_proj.bias + bias) / write.num_heads


def project(x: Tensor, attention: Attention, projection: nn.Linear) -> Tensor:
    """Without its bias: (N, C) -> (h, d, N)."""
    return torch.einsum("nc,hdc->hdn", x, attention.in_heads(projection)).contiguous()
