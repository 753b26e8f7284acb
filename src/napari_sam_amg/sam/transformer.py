"""SAM's two-way transformer: prompt tokens and image tokens attend to each other in turns.

The attribute names, and so the state-dict keys, are those of the reference
``segment_anything.modeling.transformer``; the result is the same up to the order of sums. How the
image tokens are dealt with, which makes it about ten times cheaper, is in ``image_tokens``.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from napari_sam_amg.sam import at_once, image_tokens
from napari_sam_amg.sam.attention import Attention, MLPBlock, Projections, stacked
from napari_sam_amg.sam.image_levels import Level, LevelBuilder
from napari_sam_amg.sam.image_tokens import ImageTokens
from napari_sam_amg.sam.scratch import Scratch


@dataclass(frozen=True, slots=True, eq=False)
class ImageSide:
    """Everything in the transformer that depends on the image and not on the prompts."""

    levels: tuple[Level, ...]  # before each layer, and after the last
    last: Tensor  # (N, C) float32: base of the image tokens after the last layer
    grid_size: tuple[int, int]  # (rows, columns), N = rows * columns
    own: tuple[Projections, ...]  # of the tokens among themselves, a layer each


class TwoWayAttentionBlock(nn.Module):
    def __init__(
        self, embedding_dim: int, num_heads: int, mlp_dim: int, downsample_rate: int, skip_first_layer_pe: bool
    ) -> None:
        super().__init__()
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLPBlock(embedding_dim, mlp_dim)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = Attention(embedding_dim, num_heads, downsample_rate)
        self.skip_first_layer_pe = skip_first_layer_pe

    def own_projections(self) -> Projections:
        """Of what the tokens give each other: all three, or those for which their encoding is added."""
        attention = self.self_attn
        with_pe = attention.q_proj, attention.k_proj
        return stacked(*with_pe, attention.v_proj) if self.skip_first_layer_pe else stacked(*with_pe)

    def forward(
        self,
        queries: Tensor,
        placed: Tensor,
        query_pe: Tensor,
        keys: ImageTokens | None,
        level: Level,
        above: Level,
        own: Projections,
        scratch: Scratch | None,
    ) -> tuple[Tensor, Tensor, ImageTokens]:
        """(P, T, C) tokens, the same with their encoding, it, and the image tokens at ``level`` -> all of it ``above``.

        The encoding stays as it is.
        """
        if self.skip_first_layer_pe:
            queries = self.self_attn(*own(queries).chunk(3, dim=-1))
        else:
            queries = queries + self.self_attn(*own(placed).chunk(2, dim=-1), self.self_attn.v_proj(queries))
        queries = self.norm1(queries)
        queries = self.norm2(queries + read(keys, level, self.cross_attn_token_to_image, queries + query_pe, scratch))
        queries = self.norm3(queries + self.mlp(queries))
        placed = queries + query_pe
        attention = self.cross_attn_image_to_token
        return queries, placed, write(keys, level, above, attention, self.norm4, placed, queries, scratch)


def read(
    tokens: ImageTokens | None, level: Level, attention: Attention, queries: Tensor, scratch: Scratch | None
) -> Tensor:
    if tokens is not None and at_once.suits(queries):
        return at_once.read(tokens, level, attention, queries)
    return image_tokens.read(tokens, level, attention, queries, scratch)


def write(
    tokens: ImageTokens | None, level: Level, above: Level, attention: Attention, norm: nn.LayerNorm, queries: Tensor,
    given: Tensor, scratch: Scratch | None,
) -> ImageTokens:  # fmt: skip
    if at_once.suits(queries):
        return at_once.write(tokens, level, above, attention, norm, queries, given)
    return image_tokens.write(tokens, level, above, attention, norm, queries, given, scratch)


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
        embedding added, and its position encoding. ``dtype``: of what is image-sized, by default the image's.
        """
        keys, pe = image.flatten(1).T.contiguous(), positions.flatten(1).T.contiguous()  # (N, C)
        channels = image.shape[0]
        builder = LevelBuilder(keys, pe, dtype or image.dtype, image.new_ones(channels), image.new_zeros(channels))
        levels = []
        for block in self._blocks():
            levels.append(builder.describe(block.cross_attn_token_to_image, block.cross_attn_image_to_token))
            builder.climb(block.cross_attn_image_to_token, block.norm4)
        levels.append(builder.describe(self.final_attn_token_to_image, None))
        own = tuple(block.own_projections() for block in self._blocks())
        return ImageSide(tuple(levels), builder.base, (image.shape[1], image.shape[2]), own)

    def _blocks(self) -> list[TwoWayAttentionBlock]:
        return [cast(TwoWayAttentionBlock, layer) for layer in self.layers]

    def forward(
        self, side: ImageSide, tokens: Tensor, wanted: tuple[slice, ...], scratch: Scratch | None = None
    ) -> tuple[Tensor, ImageTokens]:
        """(P, T, C) tokens -> those at the places ``wanted``, and the image tokens, after all layers."""
        queries, placed, image = tokens, tokens, None  # the first layer adds no encoding
        for block, level, above, own in zip(self._blocks(), side.levels[:-1], side.levels[1:], side.own, strict=True):
            queries, placed, image = block(queries, placed, tokens, image, level, above, own, scratch)
        assert image is not None
        attention = self.final_attn_token_to_image
        asking, placed = (torch.cat([x[:, some] for some in wanted], dim=1) for x in (queries, placed))
        found = read(image, side.levels[-1], attention, placed, scratch)
        return self.norm_final_attn(asking + found), image
