"""How far two results of automatic mask generation agree."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco

SAME_IOU, CLOSE_IOU = 0.999, 0.95
Records = list[dict[str, Any]]  # as ``SamAutomaticMaskGenerator.generate`` returns them, RLE encoded


@dataclass(frozen=True, slots=True)
class Agreement:
    counts: tuple[int, int]  # masks of theirs, of ours
    matched: float  # share of their masks with one of ours at IoU >= 0.999; NaN if they have none
    close: float  # the same at IoU >= 0.95
    box_error: float  # px, largest difference of a coordinate over matched masks
    score_error: float  # largest difference of predicted IoU or stability score over matched masks


def agreement(theirs: Records, ours: Records) -> Agreement:
    """Each of their masks with the closest of ours: of equal masks, that with the closest scores.

    Two empty masks are equal.
    """
    counts = (len(theirs), len(ours))
    if not theirs or not ours:
        none = 0.0 if theirs else float("nan")
        return Agreement(counts, none, none, 0.0, 0.0)
    iou = _ious(theirs, ours)
    scores = [np.array([[r["predicted_iou"], r["stability_score"]] for r in records]) for records in (theirs, ours)]
    error = np.abs(scores[0][:, None] - scores[1]).max(axis=2)
    best = np.where(iou >= SAME_IOU, 2 - error, iou).argmax(axis=1)
    rows = np.arange(len(theirs))
    same = iou[rows, best] >= SAME_IOU
    boxes = [np.array([r["bbox"] for r in records]) for records in (theirs, ours)]
    box_error = np.abs(boxes[0] - boxes[1][best])[same]
    score_error = error[rows, best][same]
    return Agreement(
        counts=counts,
        matched=float(same.mean()),
        close=float((iou.max(axis=1) >= CLOSE_IOU).mean()),
        box_error=float(box_error.max(initial=0)),
        score_error=float(score_error.max(initial=0)),
    )


def share_found(wanted: Records, found: Records, least_iou: float) -> float:
    """Share of the wanted masks for which one was found at IoU >= ``least_iou``; NaN if none are wanted."""
    if not wanted or not found:
        return 0.0 if wanted else float("nan")
    return float((_ious(wanted, found).max(axis=1) >= least_iou).mean())


def _ious(theirs: Records, ours: Records) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(theirs, ours) IoU of every pair."""
    a, b = ([record["segmentation"] for record in records] for records in (theirs, ours))
    iou = np.asarray(coco.iou(a, b, [0] * len(b)))
    empty = [np.array([record["area"] == 0 for record in records]) for records in (theirs, ours)]
    return np.where(empty[0][:, None] & empty[1], 1.0, iou)
