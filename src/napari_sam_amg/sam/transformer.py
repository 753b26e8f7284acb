"""SAM's two-way transformer, re-associated so that nothing image-sized is projected per prompt.

The attribute names, and so the state-dict keys, are those of the reference
``segment_anything.modeling.transformer``; the arithmetic is the same up to the order of sums.

Words and shapes used here: P prompts, T tokens a prompt (1 IoU + mask tokens + prompt tokens),
h heads of d channels, N image tokens, C channels. ``queries`` are the prompt tokens (P, T, C),
``keys`` the image tokens (P, N, C).

Why it is cheaper. The reference projects the N image tokens of *every prompt* three times a layer.
Two exact re-associations avoid that:

* in layer 0 the image tokens are the same for every prompt: they are projected once an image;
* later, a score is ``(Wk key) . q = key . (Wk^T q)``: the few tokens are projected instead, since
  T * h is far below the internal width. The position encoding never changes, so its part of every
  score uses projections made once an image.

Types: tokens and weights are float32. What is image-sized has the type of ``ImageSide.keys``, which
may be a 16-bit one; both meet in products whose other side is cast to it.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.layers import norm_last


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedPositions:
    """The position encoding seen through one layer's projections."""

    token_to_image: Tensor  # (h, N, d): pe Wk
    image_to_token: Tensor  # (h, N, d): pe Wq + bq; empty for the final attention, which has none


@dataclass(frozen=True, slots=True, eq=False)
class ImageSide:
    """Everything in the decoder that depends on the image and not on the prompts."""

    keys: Tensor  # (N, C) image tokens: embedding + dense prompt embedding
    first_key: Tensor  # (h, N, d) layer 0, token to image
    first_value: Tensor  # (h, N, d) layer 0, token to image
    first_query: Tensor  # (h, N, d) layer 0, image to token
    positions: tuple[ProjectedPositions, ...]  # layers 1 .. depth - 1, then the final attention
    grid_size: tuple[int, int]  # (rows, columns), N = rows * columns


class MLPBlock(nn.Module):
    def __init__(self, embedding_dim: int, mlp_dim: int, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class Attention(nn.Module):
    """Attention whose internal width is the embedding's divided by ``downsample_rate``."""

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
        """Plain attention, for the few tokens among themselves: (P, T, C) -> (P, T, C)."""
        q, k, v = self.heads(self.q_proj(q)), self.heads(self.k_proj(k)), self.heads(self.v_proj(v))
        attention = (q @ k.transpose(-1, -2) * self.scale).softmax(-1)
        return self.merge(attention @ v)

    def fold(self, x: Tensor, projection: nn.Linear) -> Tensor:
        """Bring per-head vectors back to the embedding's width: (P, h, T, d) -> (P, h*T, C).

        ``key . fold(q)`` equals ``(projection key) . q``, without projecting the key.
        """
        weight = projection.weight.unflatten(0, (self.num_heads, -1))  # (h, d, C)
        return torch.einsum("phtd,hdc->phtc", x, weight).flatten(1, 2)

    def token_queries(self, x: Tensor) -> Tensor:
        return self.heads(self.q_proj(x)) * self.scale

    def token_keys(self, x: Tensor) -> Tensor:
        return self.heads(self.k_proj(x)) * self.scale

    def token_updates(self, x: Tensor) -> Tensor:
        """What each (head, token) adds to an image token that attends to it: (P, T, C) -> (P, h*T, C).

        An image token's weights sum to one in each head, so the output's bias is shared out over
        the heads and needs no pass of its own.
        """
        value = self.heads(self.v_proj(x))  # (P, h, T, d)
        weight = self.out_proj.weight.unflatten(1, (self.num_heads, -1))  # (C, h, d)
        update = torch.einsum("phtd,chd->phtc", value, weight) + self.out_proj.bias / self.num_heads
        return update.flatten(1, 2)


def shared_scores(tokens: Tensor, image: Tensor) -> Tensor:
    """Scores against what all prompts share: (P, h, T, d), (h, N, d) -> (h, P, T, N)."""
    prompts, heads, count, _ = tokens.shape
    flat = tokens.transpose(0, 1).reshape(heads, prompts * count, -1).to(image.dtype)
    return (flat @ image.transpose(1, 2)).view(heads, prompts, count, -1)


def folded_scores(
    tokens: Tensor, attention: Attention, projection: nn.Linear, keys: Tensor, positions: Tensor
) -> Tensor:
    """Scores of (P, h, T, d) tokens against (P, N, C) keys plus positions -> (P, h*T, N)."""
    position_scores = shared_scores(tokens, positions).transpose(0, 1).flatten(1, 2)
    folded = attention.fold(tokens, projection).to(keys.dtype)
    return torch.baddbmm(position_scores, folded, keys.transpose(1, 2))


class TwoWayAttentionBlock(nn.Module):
    def __init__(
        self, embedding_dim: int, num_heads: int, mlp_dim: int, downsample_rate: int, skip_first_layer_pe: bool
    ) -> None:
        super().__init__()
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLPBlock(embedding_dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = Attention(embedding_dim, num_heads, downsample_rate)
        self.skip_first_layer_pe = skip_first_layer_pe

    def attend_to_self(self, queries: Tensor, query_pe: Tensor) -> Tensor:
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries)
        out: Tensor = self.norm1(queries)
        return out

    def attend_to_image(self, queries: Tensor, read: Tensor) -> Tensor:
        """Add what the tokens read from the image, then the token MLP."""
        queries = self.norm2(queries + read)
        out: Tensor = self.norm3(queries + self.mlp(queries))
        return out

    def update_keys(self, keys: Tensor, scores: Tensor, queries: Tensor) -> Tensor:
        """Image tokens attend to the prompt's: keys (P|1, N, C), scores (P, h, T, N) -> (P, N, C).

        The softmax runs over the few tokens as an outer axis, which keeps its memory access linear.
        """
        attention = scores.softmax(2).flatten(1, 2).transpose(1, 2)  # (P, N, h*T)
        updates = self.cross_attn_image_to_token.token_updates(queries).to(keys.dtype)
        return norm_last(torch.baddbmm(keys.expand(queries.shape[0], -1, -1), attention, updates), self.norm4)


def read_image(attention: Attention, queries: Tensor, keys: Tensor, positions: Tensor) -> Tensor:
    """Tokens read the image: queries (P, T, C) with their encoding, keys (P, N, C) -> (P, T, C).

    The value projection comes after the weighted mean of the keys, and the key projection's bias
    cancels in the softmax.
    """
    tokens = attention.token_queries(queries)
    weights = folded_scores(tokens, attention, attention.k_proj, keys, positions).softmax(-1)
    mean = (weights @ keys).to(queries.dtype).unflatten(1, (attention.num_heads, -1))  # (P, h, T, C)
    value_weight = attention.v_proj.weight.unflatten(0, (attention.num_heads, -1))  # (h, d, C)
    value = torch.einsum("phtc,hdc->phtd", mean, value_weight)
    value = value + attention.v_proj.bias.unflatten(0, (attention.num_heads, 1, -1))
    return attention.merge(value)


class TwoWayTransformer(nn.Module):
    """Source: ``segment_anything.modeling.transformer.TwoWayTransformer``."""

    def __init__(
        self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int, attention_downsample_rate: int = 2
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, attention_downsample_rate, index == 0)
            for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(embedding_dim, num_heads, attention_downsample_rate)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def prepare(self, image: Tensor, positions: Tensor, dtype: torch.dtype | None = None) -> ImageSide:
        """Project once what all prompts on an image share.

        ``image`` and ``positions``: (C, rows, columns), the embedding with the dense prompt
        embedding added, and its position encoding. ``dtype``: of the result, by default the image's.
        """
        dtype = dtype or image.dtype
        keys, pe = image.flatten(1).T, positions.flatten(1).T  # (N, C)
        first = self._first_block()
        to_image, to_token = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        projected = [
            ProjectedPositions(
                _position_keys(block.cross_attn_token_to_image, pe).to(dtype),
                _in_heads(block.cross_attn_image_to_token, block.cross_attn_image_to_token.q_proj(pe)).to(dtype),
            )
            for block in self._later_layers()
        ]
        final = _position_keys(self.final_attn_token_to_image, pe).to(dtype)
        projected.append(ProjectedPositions(final, final.new_empty(0)))
        return ImageSide(
            keys=keys.contiguous().to(dtype),
            first_key=_in_heads(to_image, to_image.k_proj(keys + pe)).to(dtype),
            first_value=_in_heads(to_image, to_image.v_proj(keys)).to(dtype),
            first_query=_in_heads(to_token, to_token.q_proj(keys + pe)).to(dtype),
            positions=tuple(projected),
            grid_size=(image.shape[1], image.shape[2]),
        )

    def _first_block(self) -> TwoWayAttentionBlock:
        return cast(TwoWayAttentionBlock, self.layers[0])

    def _later_layers(self) -> list[TwoWayAttentionBlock]:
        return [cast(TwoWayAttentionBlock, layer) for layer in self.layers[1:]]

    def _first_layer(self, side: ImageSide, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Layer 0, where every prompt sees the same image tokens."""
        block = self._first_block()
        queries = block.attend_to_self(tokens, tokens)
        attention = block.cross_attn_token_to_image
        weights = shared_scores(attention.token_queries(queries + tokens), side.first_key).softmax(-1)
        heads, prompts, count, size = weights.shape
        value = weights.view(heads, prompts * count, size) @ side.first_value  # (h, P*T, d)
        read = attention.merge(value.view(heads, prompts, count, -1).transpose(0, 1).to(tokens.dtype))
        queries = block.attend_to_image(queries, read)
        token_keys = block.cross_attn_image_to_token.token_keys(queries + tokens)
        scores = shared_scores(token_keys, side.first_query).transpose(0, 1)
        return queries, block.update_keys(side.keys[None], scores, queries)

    def forward(self, side: ImageSide, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(P, T, C) tokens -> tokens (P, T, C) and image tokens (P, N, C) after all layers."""
        queries, keys = self._first_layer(side, tokens)
        for block, positions in zip(self._later_layers(), side.positions[:-1], strict=True):
            queries = block.attend_to_self(queries, tokens)
            read = read_image(block.cross_attn_token_to_image, queries + tokens, keys, positions.token_to_image)
            queries = block.attend_to_image(queries, read)
            attention = block.cross_attn_image_to_token
            token_keys = attention.token_keys(queries + tokens)
            scores = folded_scores(token_keys, attention, attention.q_proj, keys, positions.image_to_token)
            keys = block.update_keys(keys, scores.unflatten(1, (attention.num_heads, -1)), queries)
        read = read_image(self.final_attn_token_to_image, queries + tokens, keys, side.positions[-1].token_to_image)
        return self.norm_final_attn(queries + read), keys


def _position_keys(attention: Attention, pe: Tensor) -> Tensor:
    """pe Wk a head; the bias is left out, since it cancels in the softmax: (N, C) -> (h, N, d)."""
    return _in_heads(attention, F.linear(pe, attention.k_proj.weight))


def _in_heads(attention: Attention, projected: Tensor) -> Tensor:
    """(N, h*d) -> (h, N, d), contiguous."""
    return attention.heads(projected).contiguous()
