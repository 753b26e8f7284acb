"""The training loss: masks, predicted IoU, and dense maps."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.sam.mask_decoder import Reading
from napari_sam_amg.sam.unet_encoder import STRIDE
from training import decoder
from training.batches import Batch
from training.model import EmbeddedSam
from training.recipe import Recipe

AREA_FLOOR = 30.0  # low-resolution px, so that the smallest instances do not dominate
BEST, MEAN, SINGLE = 0.85, 0.15, 0.3  # weights: best of the three masks, their mean, the single mask
BOUNDARY_WEIGHT = 2.0
FOCAL_WEIGHT = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Sums over the prompts of some images, to be divided by those of the batch; scalars."""

    mask: Tensor
    iou: Tensor
    best_iou: Tensor  # of the three masks, by the truth
    chosen_iou: Tensor  # by the predicted IoU
    off_iou: Tensor  # predicted on background points
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
    weight = torch.tensor([1.0, BOUNDARY_WEIGHT], device=maps.device).view(2, 1, 1)
    maps = maps.float()
    classes = F.binary_cross_entropy_with_logits(maps[:, :2], target[:, :2], pos_weight=weight)
    on = target[:, :1]
    offsets = F.smooth_l1_loss(maps[:, 2:], target[:, 2:], reduction="none")
    return classes + (offsets * on).sum() / (2 * on.sum() + 1)


def crop_positions(model: EmbeddedSam, origin: Tensor, side: int) -> Tensor:
    """The part of the frame's position encoding that a crop of ``side`` cells covers: (C, side, side)."""
    row, column = origin.tolist()
    return model.prompt_encoder.get_dense_pe()[0, :, row : row + side, column : column + side]


def read_prompts(model: EmbeddedSam, embedding: Tensor, origin: Tensor, points: Tensor) -> Reading:
    """Every point (P, 2) of a crop, in the frame's pixels, through the decoder's transformer."""
    in_frame = points + STRIDE * origin.flip(0)
    sparse = model.prompt_encoder.embed_points(in_frame[:, None], torch.ones(len(points), 1), pad=True)
    positions = crop_positions(model, origin, embedding.shape[1])
    side = model.mask_decoder.prepare(embedding, positions, model.dense_prompt())
    return model.mask_decoder.read(side, sparse)


def draw_all_masks(model: EmbeddedSam, reading: Reading, prompts: int) -> Tensor:
    """All masks of the first ``prompts`` prompts: (F, M, h, w) logits."""
    masks = model.mask_decoder.num_mask_tokens
    logits = model.mask_decoder.draw(
        reading, torch.arange(prompts).repeat_interleave(masks), torch.arange(masks).repeat(prompts)
    )
    return logits.unflatten(0, (prompts, masks))


def judge(logits: Tensor, predicted: Tensor, target: Tensor) -> Losses:
    """Masks of the points on instances, and the predicted IoU of all: 0 is right on background.

    ``logits``: (F, M, h, w), and (F, h, w) what is true; ``predicted``: (P, M), of the points on instances first.
    """
    on, logits, predicted, target = len(target), logits.float(), predicted.float(), target.float()
    truth = true_ious(logits, target)
    expected = torch.cat([truth, truth.new_zeros(len(predicted) - on, truth.shape[1])])
    chosen = predicted[:on, 1:].argmax(1, keepdim=True)
    return Losses(
        mask=combine_masks(mask_losses(logits, target)).sum(),
        iou=(predicted - expected).square().mean(1).sum(),
        best_iou=truth[:, 1:].amax(1).sum(),
        chosen_iou=truth[:, 1:].gather(1, chosen).sum(),
        off_iou=predicted[on:, 1:].detach().amax(1).sum(),
        on=on,
        off=len(predicted) - on,
    )


def judge_one_by_one(model: EmbeddedSam, embeddings: Tensor, batch: Batch) -> list[Losses]:
    """One crop after another through the product's decoder, which is fast on a CPU."""
    parts = []
    masks = batch.masks.split(batch.on.sum(1).tolist())
    for embedding, origin, points, target in zip(embeddings, batch.origins, batch.points, masks, strict=True):
        reading = read_prompts(model, embedding, origin, points)
        parts.append(judge(draw_all_masks(model, reading, len(target)), reading.predicted_iou, target))
    return parts


def judge_together(model: EmbeddedSam, embeddings: Tensor, batch: Batch) -> list[Losses]:
    """All crops at once, which suits a GPU."""
    on = batch.on.flatten()
    places = torch.sort(on, descending=True, stable=True).indices  # points on instances first; waits for no GPU
    drawn = places[: len(batch.masks)]
    logits, predicted = decoder.decode(model, embeddings, batch.origins, batch.points, drawn)
    return [judge(logits, predicted[places], batch.masks)]


def batch_loss(model: EmbeddedSam, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to minimise, and figures for the log."""
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        return _batch_loss(model, batch, recipe)


def _batch_loss(model: EmbeddedSam, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    embeddings, maps = model.image_encoder.embed_with_maps(batch.images, batch.origins)
    known = batch.labelled
    dense = dense_loss(maps[known], batch.dense[known]) if known.any() else maps.sum() * 0
    loss, figures = recipe.dense_weight * dense, {"dense": dense.detach()}
    if recipe.points:
        more, more_figures = decoder_loss(model, embeddings, batch, recipe)
        loss, figures = loss + more, figures | more_figures
    return loss, figures


def decoder_loss(
    model: EmbeddedSam, embeddings: Tensor, batch: Batch, recipe: Recipe
) -> tuple[Tensor, dict[str, Tensor]]:
    """Of masks and predicted IoUs, over the prompts of all crops."""
    way = judge_one_by_one if embeddings.device.type == "cpu" else judge_together
    parts = way(model, embeddings, batch)
    on, off = sum(part.on for part in parts), sum(part.off for part in parts)
    mask = torch.stack([part.mask for part in parts]).sum() / on
    iou = torch.stack([part.iou for part in parts]).sum() / (on + off)
    figures = {"mask": mask.detach(), "iou": iou.detach()}
    figures["best_iou"] = torch.stack([part.best_iou for part in parts]).sum() / on
    figures["chosen_iou"] = torch.stack([part.chosen_iou for part in parts]).sum() / on
    figures["off_iou"] = torch.stack([part.off_iou for part in parts]).sum() / max(off, 1)
    return recipe.mask_weight * mask + recipe.iou_weight * iou, figures
