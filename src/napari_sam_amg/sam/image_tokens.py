"""The image tokens of SAM's two-way transformer, which are never computed.

Words and shapes: P prompts, T tokens a prompt, h heads of d channels, N image tokens, C channels.
A *level* is a place between two layers: level 0 before the first, level L after the last.

**What a prompt changes is of low rank.** In each layer the image tokens attend to the T tokens of a
prompt, which adds ``attention (N, h*T) @ update (h*T, C)``; then comes a layer norm. A layer norm
centres a row, divides it by its length, and applies a gain and a bias, and centring is linear, so
at every level, for each prompt,

    keys = scale * (base + attention^T @ updates) * gain + bias

``base`` (N, C) is the same for all prompts; ``scale`` (N,) is one number a row; ``attention`` has the
rows of all layers so far. Nothing of size N * C is left that depends on a prompt:

* a product of the keys with a projection of the tokens is that of ``base``, which is projected *once
  an image*, plus ``attention`` times a small matrix (h*T, h*T), then scaled;
* the squared length of a row, for ``scale``, is a quadratic form in ``attention`` plus a product with
  ``base``, projected once an image too.

It is exact: sums in another order, nothing left out. Against projecting the keys of every prompt,
as the reference does, a prompt costs about a tenth of the arithmetic.

**Bookkeeping.** ``scale`` stands outside of the bracket, so the attention of a layer is divided by the
scale of the level below when it joins. The bias of that level, and of the projection out of the heads,
join the layer's updates: an image token's attention sums to one in each head.

**Layout.** What is image-sized is (P, h*T, N), so a product with the attention is one batch of matrix products.
Products with what all prompts share go head by head, all prompts at once, and are then copied into that
order. The image tokens are the contiguous axis: softmaxes, scales and sums over tokens run along memory.

**Types.** Tokens, weights and scales are float32. What is image-sized has the type of the ``Level``,
which may be a 16-bit one. Means of squares, not sums, are compared, which float16 holds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_sam_amg.sam.attention import Attention
from napari_sam_amg.sam.scratch import Scratch, out


@dataclass(frozen=True, slots=True, eq=False)
class WrittenBase:
    """Mean products of a level's base with what one layer wrote, for the length of a row."""

    projection: Tensor  # (h, d, N): with the layer's projection out of the heads
    bias: Tensor  # (N,) float32: with its share of the biases, summed over the heads


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """What all prompts share of the image tokens between two layers, projected as it will be needed."""

    gain: Tensor  # (C,) of the layer norm
    bias: Tensor  # (C,)
    read_key: Tensor  # (h, d, N): base, as keys of the tokens' attention
    read_position: Tensor | None  # (h, d, N): the position encoding, likewise; at level 0 within read_key
    read_value: Tensor  # (h, N, d): base, as values of the same
    write_query: Tensor | None  # (h, d, N): base, as queries of the image's attention; None after the last layer
    write_position: Tensor | None  # (h, d, N): position encoding and biases; at level 0 within write_query
    mean_square: Tensor  # (N,) float32, of base
    written: tuple[WrittenBase, ...]  # a layer so far


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What one layer added to the image tokens of P prompts."""

    attention: Tensor  # (P, h*T, N), divided by the scale of the level below
    inverse_scale: Tensor | None  # (P, N), that divisor's inverse; None for 1
    values: Tensor  # (P, h, T, d) values of the tokens
    vectors: Tensor  # (P, h*T, C) the same, projected out, with every gain and centring since


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """The image tokens of P prompts at a level: ``scale * (base + attention^T @ vectors) * gain + bias``."""

    scale: Tensor | None  # (P, N) float32; None for 1
    updates: tuple[Update, ...]  # a layer so far
    scratch: Scratch | None = None  # where the attention is kept, and more can be


def centre(x: Tensor) -> Tensor:
    """Less the mean over the channels."""
    return x - x.mean(-1, keepdim=True)


def by_head(tokens: Tensor, scratch: Scratch | None = None) -> Tensor:
    """(P, h, T, x) -> (h, P * T, x)."""
    turned = tokens.transpose(0, 1)
    if scratch is not None:
        turned = scratch.take("by head", tuple(turned.shape), turned).copy_(turned)
    return turned.flatten(1, 2)


def products_by_head(tokens: Tensor, image: Tensor, scratch: Scratch | None) -> Tensor:
    """(P, h, T, d) tokens with (h, d, N) of the image -> (P, h, T, N), a view in the order of the heads."""
    prompts, heads, count, _ = tokens.shape
    shape = (heads, prompts * count, image.shape[2])
    products = torch.bmm(by_head(tokens).to(image.dtype), image, out=out(scratch, "by head", shape, image))
    return products.view(heads, prompts, count, -1).transpose(0, 1)


def shared_products(tokens: Tensor, image: Tensor, scratch: Scratch | None) -> Tensor:
    """(P, h, T, d) tokens with (h, d, N) of the image -> (P, h*T, N), in the scratch's "products"."""
    products = products_by_head(tokens, image, scratch)
    if scratch is not None:
        products = scratch.take("products", tuple(products.shape), products).copy_(products)
    return products.flatten(1, 2)


def add_attention(products: Tensor, weights: Tensor, attention: Tensor) -> None:
    """Add (P, h*T, h*T) weights times attention to products, both (P, h*T, N), in place."""
    products.baddbmm_(weights.to(attention.dtype), attention)


def softmax(products: Tensor, dim: int, scratch: Scratch | None, name: str) -> Tensor:
    """Over one axis, in the scratch's ``name``."""
    return torch.softmax(products, dim, out=out(scratch, name, tuple(products.shape), products))


def multiply_rows(x: Tensor, factor: Tensor) -> Tensor:
    """(P, K, N) times (P, N); in place, but where training needs ``x`` as it was."""
    factor = factor[:, None].to(x.dtype)
    return x * factor if x.requires_grad else x.mul_(factor)


def scores(
    tokens: ImageTokens, level: Level, attention: Attention, projection: nn.Linear, asked: Tensor, base: Tensor,
    position: Tensor | None,
) -> Tensor:  # fmt: skip
    """Products of (P, h, T, d) vectors with the projected image tokens plus positions -> (P, h*T, N).

    ``projection`` is of the image tokens; ``base`` and ``position`` are the level's for it.
    """
    products = shared_products(asked, base, tokens.scratch)
    if tokens.scale is None:
        return products
    folded = attention.fold(asked, projection) * level.gain  # (P, h*T, C)
    for update in tokens.updates:
        add_attention(products, folded @ update.vectors.transpose(1, 2), update.attention)
    products = multiply_rows(products, tokens.scale)
    if position is not None:
        products.view(*asked.shape[:3], -1).add_(products_by_head(asked, position, tokens.scratch))
    return products


def read(tokens: ImageTokens, level: Level, attention: Attention, queries: Tensor) -> Tensor:
    """The tokens attend to the image: (P, T, C) queries with their position encoding -> (P, T, C).

    The value projection comes after the weighted mean of the image tokens; the biases pass through
    the mean, and that of the key projection cancels in the softmax.
    """
    asked = attention.heads(attention.q_proj(queries)) * attention.scale  # (P, h, T, d)
    prompts, heads, count, _ = asked.shape
    found = scores(tokens, level, attention, attention.k_proj, asked, level.read_key, level.read_position)
    weights = softmax(found, -1, tokens.scratch, "weights")  # (P, h*T, N)
    if tokens.scale is not None:
        weights = multiply_rows(weights, tokens.scale)
    value = by_head(weights.view(prompts, heads, count, -1), tokens.scratch) @ level.read_value  # (h, P*T, d)
    value = value.view(heads, prompts, count, -1).transpose(0, 1).to(queries.dtype)
    value_weight = attention.in_heads(attention.v_proj)  # (h, d, C)
    for update in tokens.updates:
        seen = weights @ update.attention.transpose(1, 2)  # (P, h*T, h*T)
        mean = (seen.to(queries.dtype) @ (update.vectors * level.gain)).unflatten(1, (heads, -1))  # (P, h, T, C)
        value = value + torch.einsum("phtc,hdc->phtd", mean, value_weight)
    bias = torch.nn.functional.linear(level.bias, attention.v_proj.weight, attention.v_proj.bias)
    return attention.merge(value + bias.view(heads, 1, -1))


def write(
    tokens: ImageTokens, level: Level, above: Level, attention: Attention, norm: nn.LayerNorm, queries: Tensor,
    values: Tensor,
) -> ImageTokens:  # fmt: skip
    """The image attends to the tokens, and is normalised: the image tokens at the level above.

    ``queries`` (P, T, C), the tokens with their position encoding, are the keys of this attention;
    ``values`` (P, T, C) the tokens without it. ``norm`` follows.
    """
    asked = attention.heads(attention.k_proj(queries)) * attention.scale
    prompts, heads, count, _ = asked.shape
    assert level.write_query is not None
    found = scores(tokens, level, attention, attention.q_proj, asked, level.write_query, level.write_position)
    by_token = found.view(prompts, heads, count, -1)
    weights = softmax(by_token, 2, tokens.scratch, f"attention {len(tokens.updates)}").view_as(found)
    inverse = None if tokens.scale is None else tokens.scale.reciprocal()
    if inverse is not None:
        weights = multiply_rows(weights, inverse)
    given = attention.heads(attention.v_proj(values))  # (P, h, T, d)
    vectors = torch.einsum("phtd,hdc->phtc", given, attention.out_of_heads()).flatten(1, 2)
    bias = (attention.out_proj.bias + level.bias) / heads
    older = [
        Update(update.attention, update.inverse_scale, update.values, centre(update.vectors * level.gain))
        for update in tokens.updates
    ]
    updates = (*older, Update(weights, inverse, given, centre(vectors + bias)))
    mean_square = mean_squares(above, updates, tokens.scratch).clamp(min=0)  # what should be 0 may be less by rounding
    if tokens.scale is None:
        scale = (mean_square + norm.eps).rsqrt()
    else:
        scale = tokens.scale * (tokens.scale.square() * mean_square + norm.eps).rsqrt()
    return ImageTokens(scale, updates, tokens.scratch)


def mean_squares(level: Level, updates: tuple[Update, ...], scratch: Scratch | None) -> Tensor:
    """Of each row of ``base + attention^T @ vectors``, whose mean is 0: (P, N).

    That of base, plus twice the mean product of base and update, plus the quadratic form of the
    attention with the updates' Gram matrix.
    """
    channels = level.gain.shape[0]
    square = level.mean_square
    for index, (update, written) in enumerate(zip(updates, level.written, strict=True)):
        products = shared_products(2 * update.values, written.projection, scratch)
        for other in updates[: index + 1]:
            gram = update.vectors @ other.vectors.transpose(1, 2) / channels  # (P, h*T, h*T)
            add_attention(products, gram if other is update else 2 * gram, other.attention)
        products = products * update.attention if products.requires_grad else products.mul_(update.attention)
        square = square + sum_rows(products)
        bias = 2 * written.bias
        square = square + (bias if update.inverse_scale is None else bias * update.inverse_scale)
    return square


def sum_rows(x: Tensor) -> Tensor:
    """(P, K, N) -> (P, N) float32. As a product: torch's sum over an outer axis is slow on several threads."""
    return (x.new_ones(x.shape[0], 1, x.shape[1]) @ x)[:, 0].float()


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
    weights: tuple[tuple[Tensor, Tensor], ...] = ()  # (h, d, C) and (C,), what each layer writes, as base is centred

    def climb(self, write: Attention, norm: nn.LayerNorm) -> None:
        """Through the layer in which the image attends by ``write``, followed by ``norm``."""
        bias = centre(write.out_proj.bias + self.bias)
        older = tuple((centre(weight * self.gain), centre(vector * self.gain)) for weight, vector in self.weights)
        self.weights = (*older, (centre(write.out_of_heads()), bias))
        self.base = centre(self.base * self.gain)
        self.gain, self.bias = norm.weight, norm.bias
        self.level += 1

    def describe(self, read: Attention, write: Attention | None) -> Level:
        """The current level, where the tokens attend by ``read``, then the image by ``write``."""
        keys = self.base * self.gain
        read_key, read_position = self._with_positions(keys, read, read.k_proj)
        query = position = None
        if write is not None:
            bias = nn.functional.linear(self.bias, write.q_proj.weight, write.q_proj.bias)
            query, position = self._with_positions(keys, write, write.q_proj, bias)
        channels = self.base.shape[1]
        return Level(
            gain=self.gain,
            bias=self.bias,
            read_key=read_key,
            read_position=read_position,
            read_value=project(keys, read, read.v_proj).transpose(1, 2).contiguous().to(self.dtype),
            write_query=query,
            write_position=position,
            mean_square=self.base.square().mean(1),
            written=tuple(
                WrittenBase(torch.einsum("nc,hdc->hdn", self.base, weight / channels).to(self.dtype), vector)
                for weight, vector in ((w, self.base @ v / channels) for w, v in self.weights)
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


def project(x: Tensor, attention: Attention, projection: nn.Linear) -> Tensor:
    """Without its bias: (N, C) -> (h, d, N)."""
    return torch.einsum("nc,hdc->hdn", x, attention.in_heads(projection)).contiguous()
