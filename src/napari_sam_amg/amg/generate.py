"""Automatic mask generation on one image: propose, remove duplicates, cut out, clean."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.blocks import EMPTY
from napari_sam_amg.amg.filters import best_between_crops, best_in_crop, confident, stable
from napari_sam_amg.amg.masks import Candidates, Masks, concatenate, no_candidates
from napari_sam_amg.amg.propose import Model, propose
from napari_sam_amg.amg.regions import clean
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.params import AmgParameters


def mask_steps(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> Iterator[Masks | None]:
    """Yield None after each batch of points (``propose.count_batches`` of them), then the masks.

    ``image``: (H, W, 3) uint8 RGB. Closing the generator cancels.
    """
    for stored in candidate_steps(image, model, params):
        yield None if stored is None else refilter(stored, params)


def candidate_steps(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> Iterator[StoredCandidates | None]:
    """As :func:`mask_steps`, but at last the candidates, from which :func:`refilter` makes masks."""
    batches = []
    for crop, candidates in propose(image, model, params):
        batches.append((crop, candidates))
        yield None
    per_crop = [concatenate([part for _, part in group]) for _, group in groupby(batches, key=lambda item: item[0])]
    yield StoredCandidates(params, (image.shape[0], image.shape[1]), model.mask_threshold, tuple(per_crop))


def refilter(stored: StoredCandidates, params: AmgParameters) -> Masks:
    """The masks that a run with ``params`` would give, without running the model.

    Raises ``ValueError`` if ``params`` ask for something that was not stored, see
    :meth:`StoredCandidates.check`.
    """
    stored.check(params)
    per_crop = [
        crop.select(confident(crop.predicted_iou, params) & stable(crop.stability_score, params))
        for crop in stored.crops
    ]
    kept = concatenate([best_in_crop(candidates, params) for candidates in per_crop] or [no_candidates()])
    if len(per_crop) > 1:  # as in the reference: with one crop a crop_nms_thresh below box_nms_thresh drops nothing
        kept = best_between_crops(kept, params)
    return clean(_cut_out(kept, stored.mask_threshold, stored.size), params)


def _cut_out(candidates: Candidates, mask_threshold: float, size: tuple[int, int]) -> Masks:
    """The pixels of each candidate, inside its box."""
    return Masks(
        boxes=candidates.boxes,
        predicted_iou=candidates.predicted_iou,
        stability_score=candidates.stability_score,
        points=candidates.points,
        crop_boxes=candidates.crop_boxes,
        cutouts=[_pixels(candidates, row, mask_threshold) for row in range(len(candidates))],
        size=size,
    )


def _pixels(candidates: Candidates, row: int, mask_threshold: float) -> NDArray[np.bool_]:
    patch = candidates.patches[row]
    if patch is EMPTY:  # its box of zeros is the image's first pixel, which it does not hold
        return np.zeros((1, 1), dtype=bool)
    mask = candidates.upsamplers[row].pixels(patch, mask_threshold)
    top, left = patch.corner
    x0, y0, x1, y1 = (int(v) for v in candidates.boxes[row] - np.tile(candidates.crop_boxes[row, :2], 2))
    return mask[y0 - top : y1 + 1 - top, x0 - left : x1 + 1 - left].copy()
