"""The training loss: masks, predicted IoU, and dense maps."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.sam.mask_decoder import Reading
from napari_sam_amg.sam.unet_encoder import STRIDE
from training.batches import Sample
from training.model import EmbeddedSam
from training.recipe import Recipe

AREA_FLOOR = 30.0  # low-resolution px, so that the smallest instances do not dominate
BEST, MEAN, SINGLE = 0.85, 0.15, 0.3  # weights: best of the three masks, their mean, the single mask
BOUNDARY_WEIGHT = 2.0
FOCAL_WEIGHT = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Sums over the prompts of one image, to be divided by those of the batch; scalars."""

    mask: Tensor
    iou: Tensor
    best_iou: float  # of the three masks, by the truth
    chosen_iou: float  # by the predicted IoU
    off_iou: float  # predicted on background points
    on: int  # prompts on instances
    off: int


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss with exponent 1, plus Dice: (F, M, h, w), (F, h, w) -> (F, M).

    The focal loss is over the mean of the drawn and the true area, so that it neither explodes while
    masks are still everywhere nor vanishes for small instances.
    """
    target = target[:, None]
    chance = logits.sigmoid()
    cross_entropy = F.softplus(logits) - logits * target
    areas = chance.sum((2, 3)) + target.sum((2, 3))
    focal = ((chance - target).abs().detach() * cross_entropy).sum((2, 3)) / (areas.detach() / 2 + AREA_FLOOR)
    dice = 1 - (2 * (chance * target).sum((2, 3)) + 1) / (areas + 1)
    return FOCAL_WEIGHT * focal + dice


@torch.no_grad()
def true_ious(logits: Tensor, target: Tensor) -> Tensor:
    """(F, M, h, w), (F, h, w) -> (F, M)."""
    mask, truth = logits > 0, (target >= 0.5)[:, None]
    union = (mask | truth).sum((2, 3)).clamp(min=1)
    return (mask & truth).sum((2, 3)) / union


def combine_masks(losses: Tensor) -> Tensor:
    """(F, 4) -> (F,): the multimask outputs compete, the single mask stands alone."""
    multi = losses[:, 1:]
    return BEST * multi.amin(1) + MEAN * multi.mean(1) + SINGLE * losses[:, 0]


def dense_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Of the maps (B, 4, H, W): cross entropy of the first two, smooth L1 of the offsets on instances."""
    weight = torch.tensor([1.0, BOUNDARY_WEIGHT]).view(2, 1, 1)
    maps = maps.float()
    classes = F.binary_cross_entropy_with_logits(maps[:, :2], target[:, :2], pos_weight=weight)
    on = target[:, :1]
    offsets = F.smooth_l1_loss(maps[:, 2:], target[:, 2:], reduction="none")
    return classes + (offsets * on).sum() / (2 * on.sum() + 1)


def crop_positions(model: EmbeddedSam, sample: Sample) -> Tensor:
    """The part of the frame's position encoding that the crop covers: (C, h, w)."""
    row, column = sample.origin.tolist()
    side = sample.image.shape[1] // STRIDE
    return model.prompt_encoder.get_dense_pe()[0, :, row : row + side, column : column + side]


def read_prompts(model: EmbeddedSam, embedding: Tensor, sample: Sample) -> Reading:
    """Every point of the sample, in the frame's pixels, through the decoder's transformer."""
    points = sample.points + STRIDE * sample.origin.flip(0)
    sparse = model.prompt_encoder.embed_points(points[:, None], torch.ones(len(points), 1), pad=True)
    side = model.mask_decoder.prepare(embedding, crop_positions(model, sample), model.dense_prompt())
    return model.mask_decoder.read(side, sparse)


def draw_all_masks(model: EmbeddedSam, reading: Reading, prompts: int) -> Tensor:
    """All masks of the first ``prompts`` prompts: (F, M, h, w) logits."""
    masks = model.mask_decoder.num_mask_tokens
    logits = model.mask_decoder.draw(
        reading, torch.arange(prompts).repeat_interleave(masks), torch.arange(masks).repeat(prompts)
    )
    return logits.unflatten(0, (prompts, masks))


def prompt_losses(model: EmbeddedSam, embedding: Tensor, sample: Sample) -> Losses:
    """Masks of the points on instances, and the predicted IoU of all: 0 is right on background."""
    on = len(sample.masks)
    reading = read_prompts(model, embedding, sample)
    logits = draw_all_masks(model, reading, on).float()
    truth = true_ious(logits, sample.masks)
    predicted = reading.predicted_iou.float()
    expected = torch.cat([truth, truth.new_zeros(len(predicted) - on, truth.shape[1])])
    chosen = predicted[:on, 1:].argmax(1, keepdim=True)
    return Losses(
        mask=combine_masks(mask_losses(logits, sample.masks)).sum(),
        iou=(predicted - expected).square().mean(1).sum(),
        best_iou=truth[:, 1:].amax(1).sum().item(),
        chosen_iou=truth[:, 1:].gather(1, chosen).sum().item(),
        off_iou=predicted[on:, 1:].detach().amax(1).sum().item(),
        on=on,
        off=len(predicted) - on,
    )


def batch_loss(model: EmbeddedSam, samples: list[Sample], recipe: Recipe) -> tuple[Tensor, dict[str, float]]:
    """The loss to minimise, and figures for the log."""
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        return _batch_loss(model, samples, recipe)


def _batch_loss(model: EmbeddedSam, samples: list[Sample], recipe: Recipe) -> tuple[Tensor, dict[str, float]]:
    origins = torch.stack([sample.origin for sample in samples])
    embeddings, maps = model.image_encoder.embed_with_maps(torch.stack([s.image for s in samples]), origins)
    known = torch.tensor([sample.labelled for sample in samples])
    dense = dense_loss(maps[known], torch.stack([s.dense for s in samples])[known]) if known.any() else maps.sum() * 0
    loss, figures = recipe.dense_weight * dense, {"dense": dense.item()}
    if recipe.points:
        more, more_figures = decoder_loss(model, embeddings, samples, recipe)
        loss, figures = loss + more, figures | more_figures
    return loss, figures


def decoder_loss(
    model: EmbeddedSam, embeddings: Tensor, samples: list[Sample], recipe: Recipe
) -> tuple[Tensor, dict[str, float]]:
    """Of masks and predicted IoUs, over the prompts of all samples."""
    parts = [prompt_losses(model, e, s) for e, s in zip(embeddings, samples, strict=True)]
    on, off = sum(part.on for part in parts), sum(part.off for part in parts)
    mask = torch.stack([part.mask for part in parts]).sum() / on
    iou = torch.stack([part.iou for part in parts]).sum() / (on + off)
    figures = {"mask": mask.item(), "iou": iou.item()}
    figures["best_iou"] = sum(part.best_iou for part in parts) / on
    figures["chosen_iou"] = sum(part.chosen_iou for part in parts) / on
    figures["off_iou"] = sum(part.off_iou for part in parts) / max(off, 1)
    return recipe.mask_weight * mask + recipe.iou_weight * iou, figures
