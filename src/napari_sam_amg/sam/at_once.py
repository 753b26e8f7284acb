"""What ``image_tokens`` computes, of all image tokens at once, in few operations: the way of a GPU, without gradients.

The same numbers in another layout. Rows of what is image-sized are those of one token after another, head by head:
(P, T*h, N), and of K = T * layers * h of them, layer by layer within a token. So what is multiplied head by head is
written where it belongs, and never copied; and the layers so far are dealt with together, as if each had its own heads.
A processor's cache wants the pieces of ``image_tokens`` instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.attention import Attention
from napari_sam_amg.sam.gpu_way import takes_gpu_way
from napari_sam_amg.sam.image_levels import Level, centre
from napari_sam_amg.sam.image_tokens import ImageTokens


def suits(x: Tensor) -> bool:
    """Whether what is computed from ``x`` is computed so."""
    return takes_gpu_way(x.device) and not torch.is_grad_enabled()


def by_heads(x: Tensor, heads: int) -> Tensor:
    """(P, T, h*d) -> (h, P*T, d), a view."""
    return x.reshape(-1, heads, x.shape[-1] // heads).transpose(0, 1)


def products(rows: Tensor, matrices: Tensor, prompts: int) -> Tensor:
    """(h, P*T, d) rows with (h, d, n) matrices -> (P, T*h, n)."""
    heads, count, _ = rows.shape
    found = matrices.new_empty(count, heads, matrices.shape[2])
    torch.bmm(rows, matrices, out=found.transpose(0, 1))
    return found.view(prompts, -1, matrices.shape[2])


def scores(
    tokens: ImageTokens | None, rows: Tensor, fold: Tensor, base: Tensor, position: Tensor | None, prompts: int
) -> Tensor:
    """Products of (h, P*T, d) ``rows`` with the projected image tokens plus positions: (P, T*h, N).

    ``fold`` (h, d, C), and ``base`` and ``position`` (h, d, N), are the level's for the projection.
    """
    asked = rows.to(base.dtype)
    found = products(asked, base, prompts)
    if tokens is None or position is None:
        return found
    torch.addcmul(products(asked, position, prompts), found, tokens.scale[:, None].to(found.dtype), out=found)
    folded = products(rows, fold, prompts) @ tokens.vectors.transpose(1, 2)
    return found.baddbmm_(folded.to(found.dtype), tokens.attention)


def read(tokens: ImageTokens, level: Level, attention: Attention, queries: Tensor) -> Tensor:
    """As ``image_tokens.read`` above level 0: (P, T, C) queries with their position encoding -> (P, T, C)."""
    prompts, heads = len(queries), attention.num_heads
    asked = attention.q_proj(queries)
    weights = scores(
        tokens, by_heads(asked, heads), level.read_fold, level.read_key, level.read_position, prompts
    ).softmax(-1)
    means = (weights @ tokens.attention.transpose(1, 2)).to(asked.dtype) @ tokens.vectors  # (P, T*h, C)
    weights.mul_(tokens.scale[:, None].to(weights.dtype))
    weights = weights.view(-1, heads, weights.shape[-1]).transpose(0, 1)  # (h, P*T, N)
    value = products(weights, level.read_value, prompts).to(asked.dtype).view(-1, heads, level.read_value.shape[2])
    means = means.view(-1, heads, means.shape[-1]).transpose(0, 1)
    value.transpose(0, 1).baddbmm_(means, attention.in_heads(attention.v_proj).transpose(1, 2))
    return F.linear(value.view(asked.shape), attention.out_proj.weight, level.read_bias)


def write(
    tokens: ImageTokens | None, level: Level, above: Level, attention: Attention, norm: nn.LayerNorm, queries: Tensor,
    given: Tensor,
) -> ImageTokens:  # fmt: skip
    """As ``image_tokens.write``; ``values`` of what comes out are those of all layers, (layers * h, P*T, d + 1)."""
    assert level.write is not None
    assert level.write_query is not None
    prompts, heads = len(queries), attention.num_heads
    asked = by_heads(attention.k_proj(queries), heads)
    found = scores(tokens, asked, level.write.fold, level.write_query, level.write_position, prompts)
    joining = found.view(prompts, queries.shape[1], -1).softmax(1).view_as(found)
    del found
    values = by_heads(F.linear(given, level.write.values, level.write.values_bias), heads)
    vectors = products(values, level.write.vectors, prompts)
    values = values.to(joining.dtype)
    if tokens is not None:
        joining = _joined(tokens.attention, joining, queries.shape[1])
        vectors = _joined(centre(tokens.vectors), vectors, queries.shape[1])
        values = torch.cat([*tokens.values, values])
    inverse = _mean_squares(tokens, above, joining, values, vectors).add_(norm.eps).rsqrt_()
    scale = inverse if tokens is None else tokens.scale * inverse
    return ImageTokens(scale, joining.mul_(inverse[:, None].to(joining.dtype)), vectors * above.gain, (values,))


def _joined(older: Tensor, new: Tensor, count: int) -> Tensor:
    """(P, T * (layers - 1) * h, n) and (P, T*h, n) -> (P, T * layers * h, n) for T = ``count`` tokens."""
    return torch.cat([older.unflatten(1, (count, -1)), new.unflatten(1, (count, -1))], dim=2).flatten(1, 2)


def _mean_squares(
    tokens: ImageTokens | None, level: Level, attention: Tensor, values: Tensor, vectors: Tensor
) -> Tensor:
    """As ``image_tokens.mean_squares``, not less than 0: (P, N). ``attention`` (P, K, N) is that of all layers."""
    assert level.written is not None
    gram = torch.baddbmm(
        vectors.new_empty(vectors.shape[1], vectors.shape[1]), vectors, vectors.transpose(1, 2), beta=0,
        alpha=1 / vectors.shape[2],
    )  # fmt: skip
    found = products(values, level.written, len(vectors))
    if tokens is not None:
        found.mul_(tokens.scale[:, None].to(found.dtype))
    square = found.baddbmm_(gram.to(found.dtype), attention).mul_(attention).sum(1, dtype=torch.float32)
    if tokens is None:
        return square.add_(level.mean_square).clamp_(min=0)
    return square.addcmul_(tokens.scale.square(), level.mean_square).clamp_(min=0)
