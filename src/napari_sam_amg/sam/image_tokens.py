"""The image tokens of SAM's two-way transformer, which are never computed.

Words and shapes: P prompts, T tokens a prompt, h heads of d channels, N image tokens, C channels.
A *level* is a place between two layers: level 0 before the first, level L after the last.

**What a prompt changes is of low rank.** In each layer the image tokens attend to the T tokens of a
prompt, which adds ``attention (N, h*T) @ vectors (h*T, C)``; then comes a layer norm. A layer norm
centres a row, divides it by its length, and applies a gain and a bias, and centring is linear, so
at every level, for each prompt,

    keys = scale * base * gain + attention^T @ vectors + bias

``base`` (N, C) is the same for all prompts; ``scale`` (N,) is one number a row; ``attention`` has the
K = level * h*T rows of all layers so far, divided by the lengths since. Nothing of size N * C is left
that depends on a prompt:

* a product of the keys with a projection of the tokens is that of ``base``, which is projected *once
  an image* (``image_levels``), times the scale, plus a small matrix (h*T, K) times the attention;
* the squared length of a row is a quadratic form in ``attention`` plus a product with ``base``,
  projected once an image too.

It is exact: sums in another order, nothing left out. Against projecting the keys of every prompt,
as the reference does, a prompt costs about a tenth of the arithmetic.

**Biases.** An image token's attention sums to one in each head when it joins. So the bias of the level, and
of the projection out of the heads, join the layer's vectors. Scales of attentions and all that weights alone make of
each other are computed once an image, too: a GPU has little to do for a prompt but to be told.

**Layout.** What is image-sized is (P, h*T, N), so a product with the attention is one batch of matrix products.
Products with what all prompts share go head by head, all prompts at once, and are brought into that
order as the scale is multiplied. The image tokens are the contiguous axis: softmaxes, scales and sums over tokens
run along memory.

On a GPU rows are in another order, without gradients: see ``at_once``.

**Pieces.** Image tokens know nothing of each other but in the softmax over them. With a scratch they are dealt with
some at a time, see ``pieces``, and the means over the pieces are joined.

**Types.** Tokens, weights and scales are float32. What is image-sized has the type of the ``Level``,
which may be a 16-bit one. Means of squares, not sums, are compared, which float16 holds.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.attention import Attention
from napari_sam_amg.sam.gpu_way import takes_gpu_way
from napari_sam_amg.sam.handover import to_device
from napari_sam_amg.sam.image_levels import Level, centre
from napari_sam_amg.sam.looks import look
from napari_sam_amg.sam.pieces import cut, join_means
from napari_sam_amg.sam.scratch import Scratch, out

LOWEST = 40.0  # below the largest score of a row no weight is told from another: e^-40 is 4e-18


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """The image tokens of P prompts above level 0: ``scale * base * gain + attention^T @ vectors + bias``."""

    scale: Tensor  # (P, N) float32
    attention: Tensor  # (P, K, N)
    vectors: Tensor  # (P, K, C) what the tokens gave, projected out, with every gain and centring since
    #: (h, P*T, d + 1) a layer so far: what they gave, and a one for the bias. Empty if nothing more will be written.
    values: tuple[Tensor, ...] = ()

    def of(self, prompts: Tensor) -> "ImageTokens":
        """Those of some prompts, indices on the host in ascending order, to be drawn; a run of them needs no copy."""
        first, last = int(prompts[0]), int(prompts[-1])
        run = last - first + 1 == len(prompts)
        return self.some(slice(first, last + 1) if run else to_device(prompts, self.scale.device))

    def some(self, prompts: slice | Tensor) -> "ImageTokens":
        """Those of some prompts, indices on the device, to be drawn."""
        return ImageTokens(self.scale[prompts], self.attention[prompts], self.vectors[prompts])

    def piece(self, some: slice) -> "ImageTokens":
        """Those of some places, for all prompts."""
        return ImageTokens(self.scale[:, some], self.attention[..., some], self.vectors, self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What T tokens of P prompts ask of the image tokens, in h heads: vectors to multiply those with."""

    rows: Tensor  # (h, P*T, d)
    folded: Tensor | None  # (P, h*T, K) the same for the attention of the image tokens; None at level 0
    prompts: int


def question(tokens: ImageTokens | None, fold: Tensor, asked: Tensor, like: Tensor) -> Question:
    """Of (P, h, T, d) vectors; ``fold`` (h, d, C) is the level's for the projection that the image tokens take."""
    rows, folded = by_heads(asked), None
    if tokens is not None:
        vectors = by_prompts(torch.bmm(rows, fold), asked.shape[0])
        folded = (vectors @ tokens.vectors.transpose(1, 2)).to(like.dtype)
    return Question(rows.to(like.dtype), folded, asked.shape[0])


def by_heads(tokens: Tensor) -> Tensor:
    """(P, h, T, d) -> (h, P*T, d)."""
    return tokens.transpose(0, 1).flatten(1, 2)


def by_prompts(rows: Tensor, prompts: int) -> Tensor:
    """(h, P*T, d) -> (P, h*T, d)."""
    return rows.unflatten(1, (prompts, -1)).transpose(0, 1).flatten(1, 2)


def products_by_head(rows: Tensor, prompts: int, image: Tensor, scratch: Scratch | None, name: str) -> Tensor:
    """(h, P*T, d) rows with (h, d, N) of the image -> (P, h, T, N), a view in the order of the heads."""
    heads, count, _ = rows.shape
    products = torch.bmm(rows, image, out=out(scratch, name, (heads, count, image.shape[2]), image))
    return products.view(heads, prompts, count // prompts, -1).transpose(0, 1)


def shared_products(
    rows: Tensor, prompts: int, image: Tensor, position: Tensor | None, scale: Tensor | None, scratch: Scratch | None
) -> Tensor:
    """The same, times a scale (P, N), plus that with ``position`` -> (P, h*T, N), in the scratch's "products"."""
    products = products_by_head(rows, prompts, image, scratch, "by head")
    place = out(scratch, "products", tuple(products.shape), products)
    if scale is None:
        products = products if place is None else place.copy_(products)
    elif position is None:
        products = torch.mul(products, scale[:, None, None].to(products.dtype), out=place)
    else:
        positions = products_by_head(rows, prompts, position, scratch, "positions by head")
        products = torch.addcmul(positions, products, scale[:, None, None].to(products.dtype), out=place)
    return products.flatten(1, 2)


def softmax(scores: Tensor, dim: int, scratch: Scratch | None) -> Tensor:
    """Over one axis, in the scratch's "weights"."""
    return torch.softmax(scores, dim, out=out(scratch, "weights", tuple(scores.shape), scores))


def without_denormals(scores: Tensor, largest: Tensor) -> Tensor:
    """Scores over the last axis, those far below the largest raised; in place, but where training needs them.

    Attention is sharp: weights below 1e-38 are common, and a processor takes a hundred times as long
    for each such number, here and in all products. The sum of what is added is 1e-13 of all weights at most.
    """
    if scores.requires_grad:
        return scores
    return torch.maximum(scores, largest - LOWEST, out=scores)


def scores(
    asked: Question, tokens: ImageTokens | None, base: Tensor, position: Tensor | None, scratch: Scratch | None
) -> Tensor:
    """Products of a question with the projected image tokens plus positions -> (P, h*T, N).

    ``base`` and ``position``: the level's for the projection, (h, d, N).
    """
    scale = tokens.scale if tokens else None
    products = shared_products(asked.rows, asked.prompts, base, position, scale, scratch)
    if tokens is not None and asked.folded is not None:
        products.baddbmm_(asked.folded, tokens.attention)
    return products


def read(
    tokens: ImageTokens | None, level: Level, attention: Attention, queries: Tensor, scratch: Scratch | None
) -> Tensor:
    """The tokens attend to the image: (P, T, C) queries with their position encoding -> (P, T, C).

    The value projection comes after the weighted mean of the image tokens; the biases pass through
    the mean, and that of the key projection cancels in the softmax.
    """
    asked = attention.heads(attention.q_proj(queries))  # (P, h, T, d)
    value = read_shared(level, asked) if tokens is None else read_tokens(tokens, level, attention, asked, scratch)
    # shape, not len, which would fix the number of prompts of an exported file
    value = value.unflatten(1, (queries.shape[0], -1)).permute(1, 2, 0, 3).flatten(2)
    return F.linear(value.to(queries.dtype), attention.out_proj.weight, level.read_bias)


def read_shared(level: Level, asked: Tensor) -> Tensor:
    """At level 0, where all prompts see the same image tokens, the tokens of all are one sequence: (h, P*T, d)."""
    rows = by_heads(asked).to(level.read_key.dtype)
    keys = level.read_key.transpose(1, 2)
    return F.scaled_dot_product_attention(rows[None], keys[None], level.read_value[None])[0]


def read_tokens(
    tokens: ImageTokens, level: Level, attention: Attention, asked: Tensor, scratch: Scratch | None
) -> Tensor:
    """Above: (P, h, T, d) queries -> values (h, P*T, d), without biases."""
    prompts, heads, count, _ = asked.shape
    rows = question(tokens, level.read_fold, asked, level.read_key)
    pieces = cut(tokens.scale.shape[1], prompts * heads * count, level.read_key, scratch)
    values, seen, log_sums = [], [], []
    for some in pieces:
        look()
        here, there = tokens.piece(some), level.piece(some)
        found = scores(rows, here, there.read_key, there.read_position, scratch)
        if takes_gpu_way(found.device):  # in training: it has no trouble with denormals, and takes one piece
            weights = softmax(found, -1, scratch)
        else:
            largest = found.detach().amax(-1, keepdim=True)
            weights = softmax(without_denormals(found, largest), -1, scratch)  # (P, h*T, N)
            if len(pieces) > 1:
                # the weight of the largest score is one over the sum of all exponentials of differences to it
                log_sums.append(largest - weights.amax(-1, keepdim=True).log())
        by_head = weights.view(prompts, heads, count, -1).transpose(0, 1)
        place = out(scratch, "by head", tuple(by_head.shape), by_head)
        scaled = torch.mul(by_head, here.scale[:, None].to(weights.dtype), out=place).flatten(1, 2)
        values.append((scaled @ there.read_value).to(asked.dtype))
        # the longer factor first: a CPU takes up to 1.6 times as long the other way round
        seen.append((here.attention @ weights.transpose(1, 2)).to(asked.dtype))  # (P, K, h*T)
    value = join_means(values, [by_heads(log_sum.view(prompts, heads, count, 1)) for log_sum in log_sums])
    means = join_means(seen, [log_sum.transpose(1, 2) for log_sum in log_sums])
    mean = by_heads((means.transpose(1, 2) @ tokens.vectors).unflatten(1, (heads, -1)))  # (h, P*T, C)
    return torch.baddbmm(value, mean, attention.in_heads(attention.v_proj).transpose(1, 2))


def write(
    tokens: ImageTokens | None, level: Level, above: Level, attention: Attention, norm: nn.LayerNorm, queries: Tensor,
    given: Tensor, scratch: Scratch | None,
) -> ImageTokens:  # fmt: skip
    """The image attends to the tokens, and is normalised: the image tokens at the level above.

    ``queries`` (P, T, C), the tokens with their position encoding, are the keys of this attention;
    ``given`` (P, T, C) the tokens without it. ``norm`` follows.
    """
    assert level.write is not None
    assert level.write_query is not None
    like, asked = level.write_query, attention.heads(attention.k_proj(queries))
    prompts, heads, count, _ = asked.shape
    rows = question(tokens, level.write.fold, asked, like)
    values = by_heads(attention.heads(F.linear(given, level.write.values, level.write.values_bias)))
    vectors = by_prompts(torch.bmm(values, level.write.vectors), prompts)
    if tokens is not None:
        vectors = torch.cat([centre(tokens.vectors), vectors], dim=1)
    values_so_far = (*(tokens.values if tokens else ()), values.to(like.dtype))
    gram = (vectors / vectors.shape[-1] @ vectors.transpose(1, 2)).to(like.dtype)  # (P, K, K)
    joined = out(scratch, f"attention of {len(values_so_far)}", (*vectors.shape[:2], like.shape[2]), like)
    scales = []
    for some in cut(like.shape[2], prompts * heads * count, like, scratch):
        look()
        here, there = tokens.piece(some) if tokens else None, level.piece(some)
        assert there.write_query is not None
        found = scores(rows, here, there.write_query, there.write_position, scratch)
        joining = softmax(found.view(prompts, heads, count, -1), 2, scratch).view_as(found)
        square = mean_squares(here, above.piece(some), joining, values_so_far, gram, scratch)
        inverse = (square.clamp(min=0) + norm.eps).rsqrt()  # what should be 0 may be less by rounding
        scales.append(inverse if here is None else here.scale * inverse)
        parts = (joining,) if here is None else (here.attention, joining)
        written = join(parts, inverse.to(joining.dtype), None if joined is None else joined[..., some])
    scale = scales[0] if len(scales) == 1 else torch.cat(scales, dim=1)
    return ImageTokens(scale, written if joined is None else joined, vectors * above.gain, values_so_far)


def join(parts: tuple[Tensor, ...], factor: Tensor, place: Tensor | None) -> Tensor:
    """Several (P, k, N) along their rows, times (P, N)."""
    if place is None:
        return torch.cat([part * factor[:, None] for part in parts], dim=1)
    for part, rows in zip(parts, place.split([part.shape[1] for part in parts], dim=1), strict=True):
        torch.mul(part, factor[:, None], out=rows)
    return place


def mean_squares(
    tokens: ImageTokens | None, level: Level, joining: Tensor, values: tuple[Tensor, ...], gram: Tensor,
    scratch: Scratch | None,
) -> Tensor:  # fmt: skip
    """Of each row of ``scale * base + attention^T @ vectors``, whose mean is 0, before the gain: (P, N).

    That of base, plus twice the mean product of base and update, plus the quadratic form of the
    attention with ``gram``, the mean products (P, K, K) of the vectors. ``tokens`` are those below, ``joining``
    (P, h*T, N) is the attention of the layer, the rest is that of all layers.
    """
    scale = tokens.scale if tokens else None
    square = level.mean_square if scale is None else scale.square() * level.mean_square
    prompts, count, _ = joining.shape
    assert level.written is not None
    for layer, (given, written) in enumerate(zip(values, level.written.split(values[0].shape[0]), strict=True)):
        rows, older = slice(layer * count, (layer + 1) * count), slice(layer * count)
        products = shared_products(given, prompts, written, None, scale, scratch)
        if layer and tokens is not None:
            products.baddbmm_(gram[:, rows, older], tokens.attention[:, older], alpha=2)
        own = joining if layer == len(values) - 1 or tokens is None else tokens.attention[:, rows]
        products.baddbmm_(gram[:, rows, rows], own)
        products = products * own if products.requires_grad else products.mul_(own)
        square = square + sum_rows(products)
    return square


def sum_rows(x: Tensor) -> Tensor:
    """(P, K, N) -> (P, N) float32. On a CPU as a product: torch's sum over an outer axis is slow on several threads."""
    if takes_gpu_way(x.device):
        return x.sum(1, dtype=torch.float32)
    return (x.new_ones(x.shape[0], 1, x.shape[1]) @ x)[:, 0].float()
