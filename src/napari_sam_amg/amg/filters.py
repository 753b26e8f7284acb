"""The filters of automatic mask generation, each a predicate over columns.

Source of all: ``segment_anything.automatic_mask_generator`` and ``segment_anything.utils.amg``.
"""

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.params import AmgParameters, CropLayers

_Column = TypeVar("_Column", Tensor, NDArray[Any])

#: Of the way from a threshold to 1. On 20 training images with 64 x 64 points, halfway finds 98 % of the grid's masks
#: at IoU .75 with .90 of the decoder's arithmetic, and AP@.5 falls by .001; a quarter gives 95 %, .84 and .007.
SURE = 0.5
EDGE_TOLERANCE = 20  # px, the reference's
EDGE_SHARE = 1 / 32  # of a crop's shorter side


def confident(predicted_iou: _Column, params: AmgParameters) -> _Column:
    """Predicted IoU strictly above the threshold; a threshold of 0 keeps all."""
    kept: _Column = (predicted_iou > params.pred_iou_thresh) | (params.pred_iou_thresh == 0)
    return kept


def stable(stability_score: NDArray[np.float32], params: AmgParameters) -> NDArray[np.bool_]:
    """Stability at or above the threshold; a threshold of 0 keeps all, NaN (no pixel at all) included."""
    if params.stability_score_thresh == 0:
        return np.ones(len(stability_score), dtype=bool)
    return stability_score >= params.stability_score_thresh


def passes(candidates: Candidates, params: AmgParameters) -> NDArray[np.bool_]:
    """Which of them both thresholds let through."""
    return confident(candidates.predicted_iou, params) & stable(candidates.stability_score, params)


def passing(candidates: Candidates, params: AmgParameters) -> Candidates:
    """Those that both thresholds let through."""
    return candidates.select(passes(candidates, params))


def weakest(params: AmgParameters, others: AmgParameters) -> AmgParameters:
    """``params`` with thresholds so low that all pass which pass either's."""
    return replace(
        params,
        pred_iou_thresh=min(params.pred_iou_thresh, others.pred_iou_thresh),
        stability_score_thresh=min(params.stability_score_thresh, others.stability_score_thresh),
    )


def of_right_size(candidates: Candidates, params: AmgParameters) -> NDArray[np.bool_]:
    """Neither smaller than ``min_area`` nor larger than ``max_area`` pixels."""
    most = params.max_area or np.inf
    if not params.min_area and not params.max_area:
        return np.ones(len(candidates), bool)
    areas = candidates.areas
    kept: NDArray[np.bool_] = (areas >= params.min_area) & (areas <= most)
    return kept


def sure(candidates: Candidates, own: AmgParameters) -> NDArray[np.bool_]:
    """The masks of which the model is so sure that nothing more needs to be asked inside them.

    Both scores lie at least halfway between their threshold and 1. ``own``: with the model's own thresholds, whatever
    those of the run are, so that the same points are asked for all of them.
    """
    least_iou, least_stability = (
        threshold + SURE * (1 - threshold) for threshold in (own.pred_iou_thresh, own.stability_score_thresh)
    )
    return (candidates.predicted_iou >= least_iou) & (candidates.stability_score >= least_stability)


def stability_score(larger: NDArray[np.int64], smaller: NDArray[np.int64]) -> NDArray[np.float32]:
    """IoU of the masks that result from a lower and a higher threshold, by their pixels; NaN if both are empty."""
    union = np.where(larger > 0, larger, np.nan)
    return (smaller / union).astype(np.float32)


def edge_tolerance(crop: CropBox, crop_layers: CropLayers) -> float:
    """How close to an edge of its crop a box counts as cut, px.

    The reference's 20 px are a third of a crop of 60 px: small crops would leave gaps between them. That
    is harmless beside the layers above, but not with ``crop_layers="last"``, which has none: there it is
    a share of the crop, and at least the pixel by which a box, its last column and row included, ends before
    the crop.
    """
    return max(1.0, min(EDGE_TOLERANCE, min(crop.size) * EDGE_SHARE)) if crop_layers == "last" else EDGE_TOLERANCE


def cut_by_crop(
    boxes: NDArray[np.int64], crop: CropBox, size: tuple[int, int], tolerance: float = EDGE_TOLERANCE
) -> NDArray[np.bool_]:
    """Which boxes touch an edge of their crop that is not an edge of the image of (height, width) ``size``."""
    # The last column of a box is one less than the edge that it touches: the reference compares them all the same, and
    # the tolerance swallows the pixel. Edges of the image are no cuts, so whatever is near one of those stays.
    near_crop = np.abs(boxes - crop.xyxy) <= tolerance
    near_image = np.abs(boxes - (0, 0, size[1], size[0])) <= tolerance
    return np.any(near_crop & ~near_image, axis=1)


def non_maximum(boxes: NDArray[np.int64], scores: NDArray[np.floating], iou_threshold: float) -> NDArray[np.int64]:
    """Indices of the boxes that greedy non-maximum suppression keeps, best score first."""
    # width and height are x1 - x0 and y1 - y0 of the last pixels, as in the reference: a mask of one row has no area,
    # an IoU of NaN with its like, and never suppresses or is suppressed
    box_tensor = torch.as_tensor(boxes, dtype=torch.float32)
    one_class = torch.zeros(len(boxes), dtype=torch.int64)
    kept = batched_nms(box_tensor, torch.as_tensor(np.ascontiguousarray(scores)).float(), one_class, iou_threshold)
    return kept.numpy()


def best_in_crop(candidates: Candidates, params: AmgParameters) -> Candidates:
    """Remove duplicates within one crop: the higher predicted IoU wins."""
    return candidates.select(rows_in_crop(candidates, params))


def rows_in_crop(candidates: Candidates, params: AmgParameters) -> NDArray[np.int64]:
    """The rows of :func:`best_in_crop`, in its order."""
    return non_maximum(candidates.boxes, candidates.predicted_iou, params.box_nms_thresh)


def undominated(candidates: Candidates) -> Candidates:
    """Without those that another one with the very same box suppresses whatever the thresholds are.

    That is one which is at least as stable and comes before it in :func:`best_in_crop`. The best ones of what is left
    are the same for any thresholds (but a ``box_nms_thresh`` of 1, with which nothing is a duplicate). A background
    that answers to a thousand points leaves a handful.
    """
    sides = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
    boxes = np.column_stack([candidates.boxes, np.where(sides.all(axis=1), -1, np.arange(len(candidates)))])
    _, group = np.unique(boxes, axis=0, return_inverse=True)  # a box without an area suppresses none
    _, stability = np.unique(np.nan_to_num(candidates.stability_score, nan=-1), return_inverse=True)
    order = np.lexsort((-candidates.predicted_iou, group.ravel()))
    level = (group.ravel() * (len(candidates) + 1) + stability.ravel())[order]
    before = np.concatenate([[-1], np.maximum.accumulate(level)[:-1]]) if len(level) else level
    return candidates.select(np.sort(order[level > before]))


def rows_between_crops(candidates: Candidates, params: AmgParameters) -> NDArray[np.int64]:
    """Those that are no duplicates between crops, the best one first: the mask from the smaller crop wins.

    If all crops are of one layer (``crop_layers="last"``) there is no smaller one: the higher predicted
    IoU wins.
    """
    scores: NDArray[np.floating] = candidates.predicted_iou
    if params.crop_layers != "last":
        # float32 as the reference's: ties among crops must be its ties
        crops = candidates.crop_boxes.astype(np.float32)
        scores = 1 / ((crops[:, 2] - crops[:, 0]) * (crops[:, 3] - crops[:, 1]))
    return non_maximum(candidates.boxes, scores, params.crop_nms_thresh)
