"""SAM's mask decoder, in two steps: read the image for all prompts, then draw the masks worth it.

Source: ``segment_anything.modeling.mask_decoder.MaskDecoder``; same state-dict keys, same result.

The predicted IoU needs one token only, while the upscaler that turns image tokens into a mask is a
quarter of the decoder's work. So ``read`` gives the predicted IoU of every mask of every prompt,
and ``draw`` upscales for the surviving ones.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam_amg.sam.image_tokens import ImageTokens
from napari_sam_amg.sam.layers import MLP, LayerNorm2d, norm_last
from napari_sam_amg.sam.scratch import Scratch, out
from napari_sam_amg.sam.transformer import ImageSide, TwoWayTransformer

TOKENS_AT_ONCE = 2048  # image tokens upscaled at once, of all prompts: their pixels stay in a CPU's cache


@dataclass(frozen=True, slots=True, eq=False)
class DecoderSide:
    """Everything in the decoder that depends on the image and not on the prompts."""

    transformer: ImageSide
    upscaled: Tensor  # (N, C), or 2 * 2 * C / 4: their shared part after the first upscaling, without its bias


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the transformer found for P prompts."""

    side: DecoderSide
    mask_tokens: Tensor  # (P, masks, C)
    keys: ImageTokens
    predicted_iou: Tensor  # (P, masks)


UpscalingLayers = tuple[nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU]


class MaskDecoder(nn.Module):
    """Predicts masks from an image embedding and prompt embeddings."""

    def __init__(
        self,
        transformer_dim: int,
        transformer: TwoWayTransformer,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, transformer_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, transformer_dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(transformer_dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(transformer_dim // 4, transformer_dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, transformer_dim // 8, 3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth)

    def prepare(
        self, image_embedding: Tensor, image_pe: Tensor, dense_prompt: Tensor, dtype: torch.dtype | None = None
    ) -> DecoderSide:
        """Once per image: (C, rows, columns) embedding, position encoding, and dense prompt (broadcast).

        ``dtype``: of everything image-sized that follows from it, by default the embedding's.
        """
        side = self.transformer.prepare(image_embedding + dense_prompt, image_pe, dtype)
        upscaled = F.linear(side.last, _as_matrix(self._upscaling()[0]))
        return DecoderSide(side, upscaled.to(dtype or image_embedding.dtype))

    def read(self, side: DecoderSide, sparse_prompts: Tensor, scratch: Scratch | None = None) -> Reading:
        """Run the transformer for (P, n, C) sparse prompt embeddings.

        With ``scratch`` the reading is lost with the next one that uses it; without, everything is new
        memory, and gradients flow.
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(sparse_prompts.shape[0], -1, -1), sparse_prompts], dim=1)
        queries, keys = self.transformer(side.transformer, tokens, scratch)
        mask_tokens = queries[:, 1 : 1 + self.num_mask_tokens]
        return Reading(side, mask_tokens, keys, self.iou_prediction_head(queries[:, 0]))

    def draw(self, reading: Reading, prompt_index: Tensor, mask_index: Tensor) -> Tensor:
        """Low-resolution logits of M chosen masks: two (M,) indices -> (M, 4 * rows, 4 * columns).

        ``prompt_index`` is sorted, as ``torch.nonzero`` gives it; prompts that it does not name are
        not upscaled. Goes by blocks of rows, each from the image tokens to the logits.
        """
        rows, columns = reading.side.transformer.grid_size
        prompts, position = torch.unique_consecutive(prompt_index, return_inverse=True)
        at_once = max(1, TOKENS_AT_ONCE // (columns * max(1, len(prompts))))
        weights = self._hypernetworks(reading.mask_tokens[prompts])
        first = self._upscale_first(reading, prompts)
        logits = first.bias.new_empty(len(prompt_index), rows, 4, columns, 4)
        for start in range(0, rows, at_once):
            stop = min(rows, start + at_once)
            products = self._products(first, weights, slice(start * columns, stop * columns))
            logits[:, start:stop] = _as_images(products[position, mask_index], (stop - start, columns))
        return logits.flatten(3, 4).flatten(1, 2)

    def draw_all(self, reading: Reading) -> Tensor:
        """Low-resolution logits of every mask of every prompt: (P, masks, 4 * rows, 4 * columns)."""
        rows, columns = reading.side.transformer.grid_size
        first = self._upscale_first(reading, None)
        products = self._products(first, self._hypernetworks(reading.mask_tokens), slice(0, rows * columns))
        logits = _as_images(products.flatten(0, 1), (rows, columns)).flatten(3, 4).flatten(1, 2)
        return logits.unflatten(0, (-1, self.num_mask_tokens))

    def _hypernetworks(self, mask_tokens: Tensor) -> Tensor:
        """What each mask weighs the upscaled channels with: (P, masks, C) -> (P, masks, C / 8)."""
        networks = enumerate(self.output_hypernetworks_mlps)
        return torch.stack([network(mask_tokens[:, index]) for index, network in networks], dim=1)

    def _products(self, first: "_FirstUpscaling", weights: Tensor, block: slice) -> Tensor:
        """Logits of n image tokens in the order of the upscaler: (P, masks, n * 16)."""
        pixels = self._upscale(first, block)  # (P, n * 16, C / 8)
        return weights.to(pixels.dtype) @ pixels.transpose(1, 2)

    def _upscaling(self) -> UpscalingLayers:
        return cast(UpscalingLayers, tuple(self.output_upscaling))

    def _upscale_first(self, reading: Reading, prompts: Tensor | None) -> "_FirstUpscaling":
        """The first upscaling is linear in the image tokens, so it takes their few vectors instead of them."""
        keys, dtype = reading.keys, reading.side.upscaled.dtype
        last, conv = reading.side.transformer.levels[-1], self._upscaling()[0]
        assert keys.scale is not None
        vectors = [F.linear(update.vectors * last.gain, _as_matrix(conv)).to(dtype) for update in keys.updates]
        return _FirstUpscaling(
            shared=reading.side.upscaled,
            attention=[update.attention for update in keys.updates],
            vectors=vectors if prompts is None else [each[prompts] for each in vectors],
            scale=(keys.scale if prompts is None else keys.scale[prompts])[..., None].to(dtype),
            bias=F.linear(last.bias, _as_matrix(conv), _four_biases(conv)).to(dtype),
            prompts=prompts,
            scratch=keys.scratch,
        )

    def _upscale(self, first: "_FirstUpscaling", block: slice) -> Tensor:
        """n image tokens of P prompts -> (P, n * 16, C / 8).

        A transposed convolution whose kernel equals its stride never mixes neighbours: it is a
        linear map of each token to its (2, 2) block, so both run as matrix products on
        channels-last tokens, and the norm over channels is a plain layer norm.
        """
        conv, norm, _, second, _ = self._upscaling()
        x = first.block(block)  # (P, n, C)
        x = gelu(norm_last(x.view(x.shape[0], 4 * x.shape[1], conv.out_channels), norm))
        return gelu(_as_linear(x, second, first.scratch))


@dataclass(frozen=True, slots=True, eq=False)
class _FirstUpscaling:
    """The first upscaling of P prompts: ``scale * (shared + sum of attention @ vectors) + bias``."""

    shared: Tensor  # (N, C), or 2 * 2 * C / 4
    attention: list[Tensor]  # (all prompts, h*T, N) a layer
    vectors: list[Tensor]  # (P, h*T, C) a layer
    scale: Tensor  # (P, N, 1)
    bias: Tensor  # (C,)
    prompts: Tensor | None  # (P,) which of all; None for all
    scratch: Scratch | None

    def block(self, tokens: slice) -> Tensor:
        """Of n image tokens: (P, n, C)."""
        shared = self.shared[tokens]
        x = shared.expand(self.scale.shape[0], -1, -1)
        place = out(self.scratch, "upscaled once", tuple(x.shape), x)
        for attention, vectors in zip(self.attention, self.vectors, strict=True):
            rows = attention[:, :, tokens]
            rows = rows if self.prompts is None else rows.index_select(0, self.prompts)
            x = torch.baddbmm(x, rows.transpose(1, 2), vectors, out=place)
        return torch.addcmul(self.bias, x, self.scale[:, tokens], out=place)


def gelu(x: Tensor) -> Tensor:
    """In place, but where training needs ``x`` as it was."""
    return F.gelu(x) if x.requires_grad else cast(Tensor, torch.ops.aten.gelu_(x))


def _as_images(logits: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """(M, N * 16), which is (rows, columns, then the two kernels' (2, 2) offsets) -> (M, rows, 4, columns, 4)."""
    rows, columns = grid_size
    blocks = logits.view(-1, rows, columns, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return blocks.reshape(-1, rows, 4, columns, 4)


def _as_matrix(conv: nn.ConvTranspose2d) -> Tensor:
    """A 2 x 2, stride-2 transposed convolution's weight as one of a linear layer: (2 * 2 * C_out, C_in)."""
    return conv.weight.permute(2, 3, 1, 0).flatten(0, 2)


def _four_biases(conv: nn.ConvTranspose2d) -> Tensor:
    """Its bias, likewise: (2 * 2 * C_out,)."""
    assert conv.bias is not None
    return conv.bias.repeat(4)


def _as_linear(x: Tensor, conv: nn.ConvTranspose2d, scratch: Scratch | None) -> Tensor:
    """(P, L, C_in) -> (P, L * 4, C_out): a 2 x 2, stride-2 transposed convolution of each token."""
    matrix = _as_matrix(conv).to(x.dtype)
    place = out(scratch, "upscaled twice", (x.shape[0] * x.shape[1], matrix.shape[0]), x)
    pixels = torch.addmm(_four_biases(conv).to(x.dtype), x.flatten(0, 1), matrix.T, out=place)
    return pixels.view(x.shape[0], 4 * x.shape[1], conv.out_channels)
