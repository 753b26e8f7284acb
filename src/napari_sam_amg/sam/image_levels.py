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
    read_key: Tensor  # (h, d, N): base, as keys of the tokens' attention; at level 0 the transpose is contiguous, above
    # it the attention's scale is in it, as in all that a question is multiplied with
    read_position: Tensor | None  # (h, d, N): the position encoding, likewise; at level 0 within read_key
    read_value: Tensor  # (h, N, d): base, as values of the same
    read_fold: Tensor  # (h, d, C): brings a question to the width of the vectors
    read_bias: Tensor  # (C,): of what is read, the projection out of the heads' with all that passes through it
    write_query: Tensor | None  # (h, d, N): base, as queries of the image's attention; None after the last layer
    write_position: Tensor | None  # (h, d, N): position encoding and biases; at level 0 within write_query
    write: "Writing | None"  # None after the last layer
    mean_square: Tensor  # (N,) float32, of base
    #: (layers so far * h, d + 1, N): twice the mean products of base and what each writes, with its bias; or None
    written: Tensor | None

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
            written=_columns(self.written, some),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """How what the tokens give becomes vectors. The last of d + 1 channels of each head is 1, and brings the bias."""

    values: Tensor  # (h * (d + 1), C)
    values_bias: Tensor  # (h * (d + 1),)
    vectors: Tensor  # (h, d + 1, C), centred
    fold: Tensor  # (h, d, C), as ``read_fold``


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
        self.weights = (*older, written_vectors(write, self.bias))
        self.base = centre(self.base * self.gain)
        self.gain, self.bias = norm.weight, norm.bias
        self.level += 1

    def describe(self, read: Attention, write: Attention | None) -> Level:
        """The current level, where the tokens attend by ``read``, then the image by ``write``."""
        keys = self.base * self.gain
        # at level 0 the tokens' attention is torch's own, which has the scale itself
        read_key, read_position = self._with_positions(keys, read, read.k_proj, scale=read.scale if self.level else 1)
        query = position = None
        if write is not None:
            bias = F.linear(self.bias, write.q_proj.weight, write.q_proj.bias)
            query, position = self._with_positions(keys, write, write.q_proj, bias, write.scale)
        value_bias = F.linear(self.bias, read.v_proj.weight, read.v_proj.bias)
        channels = self.base.shape[1]
        return Level(
            gain=self.gain,
            bias=self.bias,
            read_key=read_key if self.level else read_key.transpose(1, 2).contiguous().transpose(1, 2),
            read_position=read_position,
            read_value=project(keys, read, read.v_proj).transpose(1, 2).contiguous().to(self.dtype),
            read_fold=read.in_heads(read.k_proj) * read.scale,
            read_bias=F.linear(value_bias, read.out_proj.weight, read.out_proj.bias),
            write_query=query,
            write_position=position,
            write=None if write is None else self._writing(write),
            mean_square=self.base.square().mean(1),
            written=None
            if not self.weights
            else torch.einsum("nc,hdc->hdn", self.base, torch.cat(self.weights) * (2 / channels)).to(self.dtype),
        )

    def _writing(self, write: Attention) -> Writing:
        heads = write.num_heads
        values = F.pad(write.v_proj.weight.unflatten(0, (heads, -1)), (0, 0, 0, 1))
        bias = F.pad(write.v_proj.bias.unflatten(0, (heads, -1)), (0, 1), value=1.0)
        fold = write.in_heads(write.q_proj) * write.scale
        return Writing(values.flatten(0, 1), bias.flatten(), written_vectors(write, self.bias), fold)

    def _with_positions(
        self, keys: Tensor, attention: Attention, projection: nn.Linear, bias: Tensor | None = None, scale: float = 1
    ) -> tuple[Tensor, Tensor | None]:
        """Projected image tokens and positions; in one at level 0, where no scale parts them."""
        tokens, positions = project(keys, attention, projection), project(self.positions, attention, projection)
        if bias is not None:
            positions = positions + bias.view(attention.num_heads, -1, 1)
        if scale != 1:
            tokens, positions = tokens * scale, positions * scale
        if self.level == 0:
            return (tokens + positions).to(self.dtype), None
        return tokens.to(self.dtype), positions.to(self.dtype)


def _columns(x: Tensor | None, some: slice) -> Tensor | None:
    return None if x is None else x[..., some]


def centre(x: Tensor) -> Tensor:
    """Less the mean over the channels."""
    return x - x.mean(-1, keepdim=True)


def written_vectors(write: Attention, bias: Tensor) -> Tensor:
    """(h, d + 1, C) what a channel of each head writes, and last the biases of the level and of what is written there.

    An image token's attention sums to 1 in each head, so each brings its share of the biases. Centred.
    """
    share = ((write.out_proj.bias + bias) / write.num_heads).expand(write.num_heads, 1, -1)
    return centre(torch.cat([write.out_of_heads(), share], dim=1))


def project(x: Tensor, attention: Attention, projection: nn.Linear) -> Tensor:
    """Without its bias: (N, C) -> (h, d, N)."""
    return torch.einsum("nc,hdc->hdn", x, attention.in_heads(projection)).contiguous()
