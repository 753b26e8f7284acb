"""How well label images match the truth: one-to-one by intersection over union."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.5, 0.75)

Labels = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one image, or pooled over the objects of many."""

    true_objects: int
    found_objects: int
    matched: int  # pairs with an IoU over .5; such pairs are one-to-one
    matched_strictly: int  # over .75
    iou_sum: float  # of the matched pairs

    @property
    def ap50(self) -> float:
        """TP / (TP + FP + FN) at an IoU of .5."""
        return _ratio(self.matched, self.true_objects + self.found_objects - self.matched)

    @property
    def ap75(self) -> float:
        return _ratio(self.matched_strictly, self.true_objects + self.found_objects - self.matched_strictly)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.matched, self.true_objects + self.found_objects)

    @property
    def mean_matched_iou(self) -> float:
        return _ratio(self.iou_sum, self.matched)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def pairwise_iou(truth: Labels, found: Labels) -> NDArray[np.float64]:
    """(objects of the truth, objects found); label ids may have gaps, 0 is background."""
    truth_ids, a = np.unique(truth, return_inverse=True)
    found_ids, b = np.unique(found, return_inverse=True)
    flat = np.bincount(a.ravel() * len(found_ids) + b.ravel(), minlength=len(truth_ids) * len(found_ids))
    overlap = flat.reshape(len(truth_ids), len(found_ids)).astype(np.float64)
    union = overlap.sum(1, keepdims=True) + overlap.sum(0) - overlap
    iou: NDArray[np.float64] = (overlap / union)[truth_ids > 0][:, found_ids > 0]
    return iou


def score_labels(truth: Labels, found: Labels) -> Score:
    """Compare two label images of the same shape."""
    if truth.shape != found.shape:
        raise ValueError(f"the truth has shape {truth.shape} and the labels {found.shape}; they must be equal")
    iou = pairwise_iou(truth, found)
    loose, strict = (iou > threshold for threshold in THRESHOLDS)
    true_objects, found_objects = iou.shape
    return Score(true_objects, found_objects, int(loose.sum()), int(strict.sum()), float(iou[loose].sum()))


def pool_scores(scores: Iterable[Score]) -> Score:
    """Over all objects of several images."""
    counts = [(s.true_objects, s.found_objects, s.matched, s.matched_strictly, s.iou_sum) for s in scores]
    true_objects, found, matched, strict, iou_sum = (sum(column) for column in zip(*counts, strict=True))
    return Score(int(true_objects), int(found), int(matched), int(strict), float(iou_sum))
