"""The re-associated mask decoder against ``segment_anything``'s, in SAM's and the embedded model's sizes."""

from typing import Any

import pytest
import segment_anything.modeling as reference
import torch
from torch import Tensor

from napari_sam_amg.sam.mask_decoder import CPU_TOKENS_AT_ONCE, MaskDecoder
from napari_sam_amg.sam.mask_upscaling import NUMBERS_AT_ONCE
from napari_sam_amg.sam.pieces import cut
from napari_sam_amg.sam.scratch import Scratch
from napari_sam_amg.sam.transformer import TwoWayTransformer

GRID = (5, 7)
PROMPTS = 3


def pair(randomize: Any, dim: int, heads: int, mlp_dim: int) -> tuple[MaskDecoder, Any]:
    ours = randomize(MaskDecoder(dim, TwoWayTransformer(2, dim, heads, mlp_dim)))
    transformer = reference.TwoWayTransformer(depth=2, embedding_dim=dim, num_heads=heads, mlp_dim=mlp_dim)
    theirs = reference.MaskDecoder(transformer_dim=dim, transformer=transformer).eval().requires_grad_(False)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def inputs(dim: int, grid: tuple[int, int] = GRID, prompts: int = PROMPTS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image embedding, position encoding, dense prompt (one for all prompts) and sparse prompts."""
    return torch.randn(dim, *grid), torch.randn(dim, *grid), torch.randn(dim, 1, 1), torch.randn(prompts, 2, dim)


@pytest.mark.parametrize(
    ("dim", "heads", "mlp_dim"), [pytest.param(256, 8, 2048, id="SAM"), pytest.param(128, 4, 512, id="embedded")]
)
def test_every_mask_equals_reference(randomize: Any, dim: int, heads: int, mlp_dim: int) -> None:
    ours, theirs = pair(randomize, dim, heads, mlp_dim)
    image, positions, dense, sparse = inputs(dim)
    masks, predicted_iou = theirs.predict_masks(image[None], positions[None], sparse, dense.expand(PROMPTS, dim, *GRID))
    reading = ours.read(ours.prepare(image, positions, dense), sparse)
    torch.testing.assert_close(reading.predicted_iou, predicted_iou, rtol=1e-4, atol=1e-5)
    prompt_index, mask_index = torch.ones_like(predicted_iou).nonzero(as_tuple=True)
    drawn = ours.draw(reading, prompt_index, mask_index)
    torch.testing.assert_close(drawn.view_as(masks), masks, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_pieces_of_a_large_grid_equal_reference(randomize: Any) -> None:
    """With a scratch and so many prompts and tokens that both steps go by pieces, the last of which is smaller."""
    prompts, grid = 16, (39, 50)
    ours, theirs = pair(randomize, 256, 8, 64)
    image, positions, dense, sparse = inputs(256, grid, prompts)
    scratch = Scratch()
    reading = ours.read(ours.prepare(image, positions, dense), sparse, scratch)
    upscaling = reading.side.upscaling
    assert len(cut(39 * 50, prompts * 8 * 7, upscaling.shared, scratch)) == 4
    at_once = CPU_TOKENS_AT_ONCE // (39 * 50)
    assert len(cut(39 * 50, at_once * 256, upscaling.shared, scratch, 50, NUMBERS_AT_ONCE)) == 2
    masks, predicted_iou = theirs.predict_masks(image[None], positions[None], sparse, dense.expand(prompts, 256, *grid))
    torch.testing.assert_close(reading.predicted_iou, predicted_iou, rtol=1e-4, atol=1e-5)
    prompt_index, mask_index = (torch.arange(prompts)[:, None] + torch.arange(4) < 9).nonzero(as_tuple=True)
    drawn = ours.draw(reading, prompt_index, mask_index)
    torch.testing.assert_close(drawn, masks[prompt_index, mask_index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_sharp_attention_is_as_exact_as_the_references(randomize: Any, seed: int) -> None:
    """Scores far apart, as of a trained model: most weights are below the smallest normal number.

    A small error of such a score is a large one of the result, so both are compared with double precision.
    """
    ours, theirs = pair(randomize, 64, 4, 32)
    for decoder in (ours, theirs):
        for name, weight in decoder.named_parameters():
            if "cross_attn" in name and ("q_proj" in name or "k_proj" in name):
                weight.mul_(10)
    torch.manual_seed(seed)
    image, positions, dense, sparse = inputs(64)
    asked = (image[None], positions[None], sparse, dense.expand(PROMPTS, 64, *GRID))
    with torch.inference_mode():
        reading = ours.read(ours.prepare(image, positions, dense), sparse, Scratch())
        found = (ours.draw_all(reading), reading.predicted_iou)
        single = theirs.predict_masks(*asked)
        truth = theirs.double().predict_masks(*(part.double() for part in asked))
    for one, other, true in zip(found, single, truth, strict=True):
        assert (one - true).abs().max() <= 10 * (other - true).abs().max() + 1e-6


def test_draws_only_what_is_asked(randomize: Any) -> None:
    ours, _ = pair(randomize, 64, 4, 32)
    image, positions, dense, sparse = inputs(64)
    reading = ours.read(ours.prepare(image, positions, dense), sparse)
    every = ours.draw(reading, torch.arange(PROMPTS).repeat_interleave(4), torch.arange(4).repeat(PROMPTS))
    some = ours.draw(reading, torch.tensor([0, 2, 2]), torch.tensor([3, 0, 2]))
    torch.testing.assert_close(some, every[[3, 8, 10]])
    torch.testing.assert_close(ours.draw_all(reading), every.unflatten(0, (PROMPTS, 4)))


def test_reads_only_the_masks_that_are_asked(randomize: Any) -> None:
    ours, _ = pair(randomize, 64, 4, 32)
    image, positions, dense, sparse = inputs(64)
    side = ours.prepare(image, positions, dense)
    every, some = ours.read(side, sparse), ours.read(side, sparse, masks=range(1, 4))
    torch.testing.assert_close(some.predicted_iou, every.predicted_iou[:, 1:])
    torch.testing.assert_close(some.mask_tokens, every.mask_tokens[:, 1:])
    torch.testing.assert_close(ours.draw_all(some), ours.draw_all(every)[:, 1:])
    prompt_index, mask_index = torch.tensor([0, 2]), torch.tensor([2, 0])
    drawn = ours.draw(every, prompt_index, mask_index + 1)
    torch.testing.assert_close(ours.draw(some, prompt_index, mask_index), drawn)


def test_draws_nothing_for_no_masks(randomize: Any) -> None:
    ours, _ = pair(randomize, 64, 4, 32)
    image, positions, dense, sparse = inputs(64)
    none = torch.empty(0, dtype=torch.int64)
    reading = ours.read(ours.prepare(image, positions, dense), sparse)
    assert ours.draw(reading, none, none).shape == (0, 20, 28)


def test_the_first_rows_of_masks_are_those_of_the_whole(randomize: Any) -> None:
    ours, _ = pair(randomize, 64, 4, 32)
    image, positions, dense, sparse = inputs(64)
    reading = ours.read(ours.prepare(image, positions, dense), sparse)
    index = torch.arange(PROMPTS), torch.arange(PROMPTS)
    whole = ours.draw(reading, *index)
    for rows in (1, 3, 5):
        torch.testing.assert_close(ours.draw(reading, *index, None, rows), whole[:, : 4 * rows])
