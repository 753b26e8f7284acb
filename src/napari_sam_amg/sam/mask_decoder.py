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

from napari_sam_amg.sam.layers import MLP, LayerNorm2d, norm_last
from napari_sam_amg.sam.transformer import ImageSide, TwoWayTransformer


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the transformer found for P prompts."""

    mask_tokens: Tensor  # (P, masks, C)
    keys: Tensor  # (P, N, C) image tokens
    predicted_iou: Tensor  # (P, masks)
    grid_size: tuple[int, int]  # (rows, columns), N = rows * columns


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
    ) -> ImageSide:
        """Once per image: (C, rows, columns) embedding, position encoding, and dense prompt (broadcast).

        ``dtype``: of everything image-sized that follows from it, by default the embedding's.
        """
        return self.transformer.prepare(image_embedding + dense_prompt, image_pe, dtype)

    def read(self, side: ImageSide, sparse_prompts: Tensor) -> Reading:
        """Run the transformer for (P, n, C) sparse prompt embeddings."""
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(sparse_prompts.shape[0], -1, -1), sparse_prompts], dim=1)
        queries, keys = self.transformer(side, tokens)
        mask_tokens = queries[:, 1 : 1 + self.num_mask_tokens]
        return Reading(mask_tokens, keys, self.iou_prediction_head(queries[:, 0]), side.grid_size)

    def draw(self, reading: Reading, prompt_index: Tensor, mask_index: Tensor) -> Tensor:
        """Low-resolution logits of M chosen masks: two (M,) indices -> (M, 4 * rows, 4 * columns).

        ``prompt_index`` is sorted, as ``torch.nonzero`` gives it; prompts that it does not name are
        not upscaled.
        """
        prompts, position = torch.unique_consecutive(prompt_index, return_inverse=True)
        products = self._products(reading.mask_tokens[prompts], reading.keys[prompts])
        return _as_images(products[position, mask_index], reading.grid_size)

    def draw_all(self, reading: Reading) -> Tensor:
        """Low-resolution logits of every mask of every prompt: (P, masks, 4 * rows, 4 * columns)."""
        products = self._products(reading.mask_tokens, reading.keys)
        return _as_images(products.flatten(0, 1), reading.grid_size).unflatten(0, (-1, self.num_mask_tokens))

    def _products(self, mask_tokens: Tensor, keys: Tensor) -> Tensor:
        """Logits in the order of the upscaler: (P, masks, C) and (P, N, C) -> (P, masks, N * 16)."""
        weights = torch.stack(
            [mlp(mask_tokens[:, index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )  # (P, masks, C / 8)
        pixels = self._upscale(keys)  # (P, N * 16, C / 8)
        return weights.to(pixels.dtype) @ pixels.transpose(1, 2)

    def _upscale(self, keys: Tensor) -> Tensor:
        """(P, N, C) -> (P, N * 16, C / 8).

        A transposed convolution whose kernel equals its stride never mixes neighbours: it is a
        linear map of each token to its (2, 2) block, so both run as matrix products on
        channels-last tokens, and the norm over channels is a plain layer norm.
        """
        first, norm, gelu, second, _ = cast(UpscalingLayers, tuple(self.output_upscaling))
        x = gelu(norm_last(_as_linear(keys, first), norm))
        out: Tensor = gelu(_as_linear(x, second))
        return out


def _as_images(logits: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """(M, N * 16), which is (rows, columns, then the two kernels' (2, 2) offsets) -> (M, 4 * rows, 4 * columns)."""
    rows, columns = grid_size
    blocks = logits.view(-1, rows, columns, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return blocks.reshape(-1, 4 * rows, 4 * columns)


def _as_linear(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """(P, L, C_in) -> (P, L * 4, C_out): a 2 x 2, stride-2 transposed convolution of each token."""
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 * 2 * C_out, C_in)
    assert conv.bias is not None
    out = F.linear(x, weight.to(x.dtype), conv.bias.to(x.dtype).repeat(4))
    return out.view(x.shape[0], 4 * x.shape[1], conv.out_channels)
