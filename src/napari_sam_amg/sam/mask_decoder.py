"""SAM's mask decoder, in two steps: read the image for all prompts, then draw the masks worth it.

Source: ``segment_anything.modeling.mask_decoder.MaskDecoder``; same state-dict keys, same result.

The predicted IoU needs one token only, while the upscaler that turns image tokens into a mask is a
quarter of the decoder's work. So ``read`` gives the predicted IoU of every mask of every prompt,
and ``draw`` upscales for the surviving ones.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from napari_sam_amg.sam.gpu_way import takes_cpu_way
from napari_sam_amg.sam.handover import to_device
from napari_sam_amg.sam.image_tokens import ImageTokens
from napari_sam_amg.sam.layers import MLP, LayerNorm2d
from napari_sam_amg.sam.mask_upscaling import Upscaling, upscaling
from napari_sam_amg.sam.scratch import Scratch
from napari_sam_amg.sam.transformer import ImageSide, TwoWayTransformer

#: Image tokens upscaled at once, of all prompts: on a CPU their pixels should stay in its cache.
CPU_TOKENS_AT_ONCE = 8192
#: Numbers in one of the two large arrays, by the bytes of a number: 0.4 GB, or 0.3 GB of 16-bit ones.
GPU_NUMBERS_AT_ONCE = {4: 96 * 2**20, 2: 144 * 2**20}


@dataclass(frozen=True, slots=True, eq=False)
class DecoderSide:
    """Everything in the decoder that depends on the image and not on the prompts."""

    transformer: ImageSide
    upscaling: Upscaling
    hypernetworks: tuple[tuple[Tensor, Tensor], ...]  # weights (n, a, b) and biases (n, 1, b) of n masks, a layer each


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the transformer found for P prompts."""

    side: DecoderSide
    masks: range  # of the decoder's which it is about
    mask_tokens: Tensor  # (P, len(masks), C)
    image_tokens: ImageTokens
    predicted_iou: Tensor  # (P, len(masks))
    scratch: Scratch | None  # where what is image-sized lives


class MaskDecoder(nn.Module):
    """Predicts masks from an image embedding and prompt embeddings."""

    def __init__(
        self,
        transformer_dim: int,
        transformer: TwoWayTransformer,
        num_multimask_outputs: int = 3,
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
        self.iou_prediction_head = MLP(transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, 3)

    def prepare(
        self, image_embedding: Tensor, image_pe: Tensor, dense_prompt: Tensor, dtype: torch.dtype | None = None
    ) -> DecoderSide:
        """Once per image: (C, rows, columns) embedding, position encoding, and dense prompt (broadcast).

        ``dtype``: of everything image-sized that follows from it, by default the embedding's.
        """
        dtype = dtype or image_embedding.dtype
        side = self.transformer.prepare(image_embedding + dense_prompt, image_pe, dtype)
        drawing = upscaling(self.output_upscaling, side.grid_size, side.last, side.levels[-1], dtype)
        networks = [cast(MLP, network).layers for network in self.output_hypernetworks_mlps]
        layers = [[cast(nn.Linear, layer) for layer in row] for row in zip(*networks, strict=True)]
        weights = [torch.stack([layer.weight.t() for layer in row]) for row in layers]
        biases = [torch.stack([layer.bias[None] for layer in row]) for row in layers]
        return DecoderSide(side, drawing, tuple(zip(weights, biases, strict=True)))

    def read(
        self, side: DecoderSide, sparse_prompts: Tensor, scratch: Scratch | None = None, masks: range | None = None
    ) -> Reading:
        """Run the transformer for (P, n, C) sparse prompt embeddings, for some masks, by default for all.

        The tokens of other masks take part in all layers, and are not brought to an end.
        With ``scratch`` the reading is lost with the next one that uses it; without, everything is new
        memory, and gradients flow.
        """
        masks = range(self.num_mask_tokens) if masks is None else masks
        return Reading(side, masks, *self.transform(side.transformer, sparse_prompts, scratch, masks), scratch)

    def transform(
        self, side: ImageSide, sparse_prompts: Tensor, scratch: Scratch | None, masks: range
    ) -> tuple[Tensor, ImageTokens, Tensor]:
        """As ``read``: the tokens of the masks, the image tokens, and the predicted IoUs."""
        outputs = (each.weight.expand(sparse_prompts.shape[0], -1, -1) for each in (self.iou_token, self.mask_tokens))
        tokens = torch.cat([*outputs, sparse_prompts], dim=1)
        wanted = slice(0, 1), slice(masks.start + 1, masks.stop + 1)  # the first token, and one a mask
        found, image_tokens = self.transformer(side, tokens, wanted, scratch)
        predicted_iou: Tensor = self.iou_prediction_head(found[:, 0])[:, masks.start : masks.stop]
        return found[:, 1:], image_tokens, predicted_iou

    def draw(
        self, reading: Reading, prompt_index: Tensor, mask_index: Tensor, place: Tensor | None = None,
        first_rows: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Low-resolution logits of M chosen masks: two (M,) indices -> (M, 4 * rows, 4 * columns).

        ``mask_index`` counts within the masks of the reading. The pairs of indices, on the host, are sorted
        and differ, as ``torch.nonzero`` gives them; prompts that they do not name are not upscaled. A GPU is
        not waited for. ``place``: contiguous memory for the result; by default new. ``first_rows`` of the image
        tokens are drawn, by default all.
        """
        rows, columns = reading.side.transformer.grid_size
        rows = rows if first_rows is None else first_rows
        device, scratch, drawing = reading.mask_tokens.device, reading.scratch, reading.side.upscaling
        prompts, position, counts = torch.unique_consecutive(prompt_index, return_inverse=True, return_counts=True)
        weights = self._hypernetworks(reading, to_device(prompts, device))
        numbers = CPU_TOKENS_AT_ONCE * len(drawing.shared)
        tokens = reading.image_tokens
        if not takes_cpu_way(device):
            numbers = GPU_NUMBERS_AT_ONCE[drawing.shared.element_size()]
            tokens = tokens.of(prompts) if len(prompts) else tokens
        del reading  # on a GPU what is not drawn need not be held, if nobody else holds it
        at_once = max(1, numbers // (rows * columns * len(drawing.shared)))
        shape, bounds = (len(prompt_index), rows, 2, 2, columns, 4), [0, *counts.cumsum(0).tolist()]
        logits = drawing.shared.new_empty(shape) if place is None else place.view(shape)
        for start in range(0, len(prompts), at_once):
            some = slice(start, min(start + at_once, len(prompts)))
            theirs = slice(bounds[some.start], bounds[some.stop])
            masks, column = mask_index[theirs].unique(return_inverse=True)
            here = tokens.of(prompts[some]) if takes_cpu_way(device) else tokens.some(some)
            pairs = to_device(torch.stack([position[theirs] - start, column]), device)
            weights_here = weights[some] if len(masks) == weights.shape[1] else weights[some, to_device(masks, device)]
            for grid_rows, row, drawn in drawing.draw(here, weights_here, scratch, rows):
                # of one prompt all that was drawn is asked
                chosen = drawn[0].movedim(2, 0) if len(drawn) == 1 else drawn.movedim(3, 1)[pairs[0], pairs[1]]
                logits[theirs, grid_rows, :, row] = chosen.permute(0, 3, 1, 4, 2)  # from (M, 2, 4, rows, columns)
                del drawn, chosen
        return logits.view(-1, 4 * rows, 4 * columns)

    def draw_all(self, reading: Reading) -> Tensor:
        """Low-resolution logits of all masks of all prompts, in new memory: (P, len(masks), 4 * rows, 4 * columns)."""
        weights = self._hypernetworks(reading, slice(None))
        drawn = [rows for *_, rows in reading.side.upscaling.draw(reading.image_tokens, weights, None)]
        blocks = torch.stack(drawn, dim=2)  # (P, 2, 2, 4, masks, rows, columns)
        return blocks.permute(0, 4, 5, 1, 2, 6, 3).flatten(5, 6).flatten(2, 4)

    @staticmethod
    def _hypernetworks(reading: Reading, prompts: slice | Tensor) -> Tensor:
        """What each mask of some prompts weighs the upscaled channels with: (P, len(masks), C / 8)."""
        some, x = slice(reading.masks.start, reading.masks.stop), reading.mask_tokens[prompts].transpose(0, 1)
        *inner, (weights, biases) = reading.side.hypernetworks
        for inner_weights, inner_biases in inner:
            x = torch.baddbmm(inner_biases[some], x, inner_weights[some]).relu()
        return torch.baddbmm(biases[some], x, weights[some]).transpose(0, 1)
