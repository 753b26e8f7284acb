"""SAM's mask decoder for the points of many crops at once, with gradients: what a GPU is fed with.

The product's decoder deals with one image at a time and never computes the image tokens, which makes it fast on a CPU
but starts thousands of small operations. Here the image tokens of all points are computed, as the reference does.

Shapes: B crops, P points each, T tokens a point, N image tokens, C channels.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.sam.attention import Attention
from napari_sam_amg.sam.mask_decoder import MaskDecoder
from napari_sam_amg.sam.transformer import TwoWayAttentionBlock, TwoWayTransformer
from napari_sam_amg.sam.unet_encoder import STRIDE
from training.model import EmbeddedSam


def attend(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, P, L, C) and (B, P or 1, M, C) twice -> (B, P, L, C): what all points share is projected once."""
    points = max(q.shape[1], k.shape[1])
    q, k, v = attention.q_proj(q), attention.k_proj(k), attention.v_proj(v)
    q, k, v = (attention.heads(x).expand(-1, points, -1, -1, -1).flatten(0, 1) for x in (q, k, v))
    return attention.merge(F.scaled_dot_product_attention(q, k, v)).unflatten(0, (-1, points))


def through_block(block: TwoWayAttentionBlock, q: Tensor, pe: Tensor, keys: Tensor, keys_pe: Tensor) -> list[Tensor]:
    """Tokens (B, P, T, C) and image tokens (B, P or 1, N, C) after a layer."""
    x = q + pe
    q = attend(block.self_attn, q, q, q) if block.skip_first_layer_pe else q + attend(block.self_attn, x, x, q)
    q = block.norm1(q)
    q = block.norm2(q + attend(block.cross_attn_token_to_image, q + pe, keys + keys_pe, keys))
    q = block.norm3(q + block.mlp(q))
    return [q, block.norm4(keys + attend(block.cross_attn_image_to_token, keys + keys_pe, q + pe, q))]


def transform(
    transformer: TwoWayTransformer, tokens: Tensor, image: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, P, T, C), and (B, C, h, w) twice -> tokens (B, P, T, C) and image tokens (B, P, N, C)."""
    keys, keys_pe = (x.flatten(2).transpose(1, 2)[:, None] for x in (image, positions))
    q = tokens
    for layer in transformer.layers:
        q, keys = through_block(cast(TwoWayAttentionBlock, layer), q, tokens, keys, keys_pe)
    found = attend(transformer.final_attn_token_to_image, q + tokens, keys + keys_pe, keys)
    return transformer.norm_final_attn(q + found), keys


def draw(decoder: MaskDecoder, mask_tokens: Tensor, image_tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """All masks of F points: (F, masks, C) and (F, N, C) -> (F, masks, 4 * h, 4 * w) logits."""
    upscaled = decoder.output_upscaling(image_tokens.transpose(1, 2).unflatten(2, grid))
    networks = decoder.output_hypernetworks_mlps
    weights = torch.stack([network(mask_tokens[:, row]) for row, network in enumerate(networks)], dim=1)
    return (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])


def crop_positions(model: EmbeddedSam, origins: Tensor, side: int) -> Tensor:
    """The parts of the frame's position encoding that crops of ``side`` cells cover: (B, 2) -> (B, C, side, side)."""
    cells = torch.arange(side, device=origins.device)
    rows, columns = (origins[:, axis, None] + cells + 0.5 for axis in (0, 1))
    places = torch.stack([columns[:, None].expand(-1, side, -1), rows[..., None].expand(-1, -1, side)], dim=-1)
    return model.prompt_encoder.pe_layer.encode(places / (model.config.img_size // STRIDE)).permute(0, 3, 1, 2)


def decode(
    model: EmbeddedSam, embeddings: Tensor, origins: Tensor, points: Tensor, drawn: Tensor
) -> tuple[Tensor, Tensor]:
    """Masks and predicted IoUs of points (B, P, 2), (x, y) in pixels of their crops.

    ``embeddings``: (B, C, h, w); ``origins``: (B, 2) cells (row, column) of the crops' corners in the frame;
    ``drawn``: (F,) which of the B * P points are drawn. Returns logits (F, masks, 4 * h, 4 * w) and (B * P, masks).
    """
    decoder, grid = model.mask_decoder, (embeddings.shape[2], embeddings.shape[3])
    in_frame = (points + STRIDE * origins.flip(1)[:, None]).flatten(0, 1)[:, None]
    labels = torch.ones(in_frame.shape[:2], device=points.device)
    prompts = model.prompt_encoder.embed_points(in_frame, labels, pad=True)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1).unflatten(0, points.shape[:2])
    positions = crop_positions(model, origins, grid[0])
    found, image_tokens = transform(decoder.transformer, tokens, embeddings + model.dense_prompt(), positions)
    found = found.flatten(0, 1)
    mask_tokens = found[:, 1 : 1 + decoder.num_mask_tokens]
    logits = draw(decoder, mask_tokens[drawn], image_tokens.flatten(0, 1)[drawn], grid)
    return logits, decoder.iou_prediction_head(found[:, 0])
