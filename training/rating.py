"""How well a model rates its masks: all that it makes of a run's points, the bad ones too.

The labels that a run keeps are those with a high predicted IoU, so over them alone a correlation looks at
a narrow range. What the thresholds work on is the whole range.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import percentile_range, to_rgb
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.evaluation.scores import Calibration
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import generate_masks
from training.dataset import Example

#: Drops nothing but masks that a crop cuts off.
EVERYTHING: dict[str, Any] = {
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 1.0,
    "crop_nms_thresh": 1.0,
    "min_mask_region_area": 0,
}


def rate_all_masks(example: Example, model: Model, params: AmgParameters) -> Calibration:
    """Predicted IoU of all masks of the points of ``params`` beside that with the object that each fits best."""
    stack = PlaneStack(example.image, rgb=example.image.ndim == 3)
    image = to_rgb(stack.plane(()), percentile_range(stack))
    masks = generate_masks(image, model, replace(params, **EVERYTHING))
    return Calibration(tuple(masks.predicted_iou.tolist()), tuple(best_ious(masks, example.labels).tolist()))


def best_ious(masks: Masks, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of each mask with the object of ``labels``, (H, W), that it fits best; 0 if it meets none: (M,)."""
    sizes = np.bincount(labels.ravel())
    best = np.zeros(len(masks))
    for row, (cutout, area) in enumerate(zip(masks.cutouts, masks.areas, strict=True)):
        shared = np.bincount(labels[masks.window(row)][cutout])[1:]
        if shared.any():
            best[row] = (shared / (area + sizes[1 : len(shared) + 1] - shared)).max()
    return best
