"""Measures of a segmentation against the truth, pooled over objects; docs/evaluation.md defines them.

A measure whose denominator is zero is undefined and NaN: the precision where nothing was found, say.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam_amg.checks import check_kind, shown
from napari_sam_amg.evaluation.overlaps import Overlaps, count_overlaps

#: IoU that a match needs at least. Quotients of integers and these literals are rounded alike, so ">=" is exact.
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Predicted IoU of labels beside the IoU with the object of the truth that each fits best, 0 if it meets none."""

    predicted: tuple[float, ...]
    true: tuple[float, ...]

    @property
    def correlation(self) -> float:
        """Pearson's; NaN for fewer than two labels, or if either is the same for all."""
        if not self.predicted or np.ptp(self.predicted) == 0 or np.ptp(self.true) == 0:
            return math.nan
        return float(np.corrcoef(self.predicted, self.true)[0, 1])

    @property
    def mean_error(self) -> float:
        """Predicted minus true: above 0 the predictions promise too much."""
        return _ratio(sum(self.predicted) - sum(self.true), len(self.predicted))


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one image, or pooled over the objects of many."""

    true_objects: int
    found_objects: int
    matched: tuple[int, ...]  # pairs, one-to-one, at each of THRESHOLDS
    iou_sum: float  # of the pairs matched at .5
    seg_sum: float  # of the Jaccard indices of the Cell Tracking Challenge, over the objects of the truth
    calibration: Calibration | None = None  # None: no predicted IoU is known

    def ap(self, threshold: float = 0.5) -> float:
        """TP / (TP + FP + FN); ``threshold`` is one of THRESHOLDS."""
        matched = self._matched(threshold)
        return _ratio(matched, self.true_objects + self.found_objects - matched)

    def mean_ap(self, highest: float = 0.9) -> float:
        """Mean of the AP at the thresholds from .5 to ``highest``."""
        chosen = [self.ap(threshold) for threshold in THRESHOLDS if threshold <= highest]
        return sum(chosen) / len(chosen)

    def precision(self, threshold: float = 0.5) -> float:
        return _ratio(self._matched(threshold), self.found_objects)

    def recall(self, threshold: float = 0.5) -> float:
        return _ratio(self._matched(threshold), self.true_objects)

    def f1(self, threshold: float = 0.5) -> float:
        return _ratio(2 * self._matched(threshold), self.true_objects + self.found_objects)

    @property
    def mean_matched_iou(self) -> float:
        """Of the pairs matched at .5."""
        return _ratio(self.iou_sum, self.matched[0])

    @property
    def seg(self) -> float:
        """Mean over the objects of the truth of the IoU with the label that covers more than half of each, else 0."""
        return _ratio(self.seg_sum, self.true_objects)

    def _matched(self, threshold: float) -> int:
        if threshold not in THRESHOLDS:
            raise ValueError(f"threshold={threshold} is not allowed: choose one of {', '.join(map(str, THRESHOLDS))}")
        return self.matched[THRESHOLDS.index(threshold)]


def evaluate_labels(truth: ArrayLike, found: ArrayLike, predicted_iou: Mapping[int, float] | None = None) -> Score:
    """Compare two label images of the same shape, 2D or stacks; ids span the whole array and 0 is background.

    ``predicted_iou`` by label id of ``found``, as in the features table, adds the calibration; labels
    that it does not know, and NaN, are left out of it. ``ValueError`` names shapes, types or ids
    that are not allowed.
    """
    if predicted_iou is not None:
        check_kind("predicted_iou", predicted_iou, Mapping, "a dict of label ids and numbers")
        for label, value in predicted_iou.items():
            check_kind(f"predicted_iou[{label}]", value, Real, "a number")
    return score_overlaps(count_overlaps(_labels(truth), _labels(found)), predicted_iou)


def _labels(given: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"labels={shown(given)} is not allowed: it must be an array of integers") from error


def score_overlaps(overlaps: Overlaps, predicted_iou: Mapping[int, float] | None = None) -> Score:
    """As :func:`evaluate_labels`, of overlaps that were counted before."""
    pairs = _pairs(overlaps)
    matched = [pairs.matches(threshold) for threshold in THRESHOLDS]
    return Score(
        true_objects=len(pairs.true_ids),
        found_objects=len(pairs.found_ids),
        matched=tuple(len(rows) for rows in matched),
        iou_sum=float(pairs.iou[matched[0]].sum()),
        seg_sum=float(pairs.iou[2 * pairs.pixels > pairs.true_areas[pairs.truth]].sum()),
        calibration=None if predicted_iou is None else _calibrate(pairs, predicted_iou),
    )


def pool_scores(scores: Iterable[Score]) -> Score:
    """Over all objects of several images; calibrations over the images that have one."""
    several = list(scores)
    return Score(
        true_objects=sum(score.true_objects for score in several),
        found_objects=sum(score.found_objects for score in several),
        matched=tuple(sum(score.matched[place] for score in several) for place in range(len(THRESHOLDS))),
        iou_sum=math.fsum(score.iou_sum for score in several),
        seg_sum=math.fsum(score.seg_sum for score in several),
        calibration=pool_calibrations(score.calibration for score in several),
    )


def pool_calibrations(several: Iterable[Calibration | None]) -> Calibration | None:
    """Over all labels of the images that have one; None if no image has."""
    known = [one for one in several if one is not None]
    if not known:
        return None
    return Calibration(
        predicted=tuple(value for one in known for value in one.predicted),
        true=tuple(value for one in known for value in one.true),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Objects of the truth and of the labels, and a row for every two of them that meet."""

    true_ids: NDArray[np.int64]  # (t,)
    true_areas: NDArray[np.int64]  # (t,) pixels
    found_ids: NDArray[np.int64]  # (f,)
    truth: NDArray[np.intp]  # (n,) places in true_ids
    found: NDArray[np.intp]  # (n,) places in found_ids
    pixels: NDArray[np.int64]  # (n,) that the two share
    iou: NDArray[np.float64]  # (n,)

    def matches(self, threshold: float) -> NDArray[np.intp]:
        """Rows of the best one-to-one matching among pairs with an IoU of ``threshold`` (>= .5) or more.

        An IoU above .5 is more than half of both objects, which leaves no second partner. Two partners
        of one object have an IoU of exactly .5 each: they are its two halves and meet nothing else.
        So any one of them is as good as the other, the first is taken, and this is what the optimal
        assignment of StarDist finds.
        """
        rows = np.flatnonzero(self.iou >= threshold)
        rows = rows[np.unique(self.truth[rows], return_index=True)[1]]
        return rows[np.unique(self.found[rows], return_index=True)[1]]


def _pairs(overlaps: Overlaps) -> _Pairs:
    true_ids, true_areas, truth = _objects(overlaps.truth, overlaps.pixels)
    found_ids, found_areas, found = _objects(overlaps.found, overlaps.pixels)
    both = (overlaps.truth > 0) & (overlaps.found > 0)
    truth, found, pixels = truth[both], found[both], overlaps.pixels[both]
    iou = pixels / (true_areas[truth] + found_areas[found] - pixels)
    return _Pairs(true_ids, true_areas, found_ids, truth, found, pixels, iou)


def _objects(
    ids: NDArray[np.int64], pixels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.intp]]:
    """Ids without the background, the area of each, and each row's place among them (-1: background)."""
    present, places = np.unique(ids, return_inverse=True)
    areas = np.zeros(len(present), np.int64)
    np.add.at(areas, places, pixels)
    background = int(present[0] == 0)
    return present[background:], areas[background:], places - background


def _calibrate(pairs: _Pairs, predicted_iou: Mapping[int, float]) -> Calibration:
    best = np.zeros(len(pairs.found_ids))
    np.maximum.at(best, pairs.found, pairs.iou)
    rows = [
        (float(predicted_iou[label]), float(true))
        for label, true in zip(pairs.found_ids.tolist(), best, strict=True)
        if math.isfinite(predicted_iou.get(label, math.nan))
    ]
    return Calibration(tuple(predicted for predicted, _ in rows), tuple(true for _, true in rows))
