"""Matching as StarDist's ``matching.py`` does it, over all pairs and with an optimal assignment; slow and plain."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def iou_matrix(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(objects of the truth, objects found), in order of ids."""
    rows = [truth == label for label in np.unique(truth) if label > 0]
    columns = [found == label for label in np.unique(found) if label > 0]
    iou = [[(a & b).sum() / (a | b).sum() for b in columns] for a in rows]
    return np.array(iou, float).reshape(len(rows), len(columns))


def match(iou: np.ndarray, threshold: float) -> tuple[int, float]:
    """How many pairs the optimal assignment matches, and the sum of their IoUs."""
    count = min(iou.shape)
    if count == 0:
        return 0, 0.0
    costs = -(iou >= threshold).astype(float) - iou / (2 * count)
    chosen = iou[linear_sum_assignment(costs)]
    return int((chosen >= threshold).sum()), float(chosen[chosen >= threshold].sum())


def seg(truth: np.ndarray, found: np.ndarray) -> float:
    """The sum over the objects of the truth that the Cell Tracking Challenge divides by their number."""
    total = 0.0
    for label in np.unique(truth[truth > 0]):
        inside = truth == label
        for other in np.unique(found[inside & (found > 0)]):
            region = found == other
            if (inside & region).sum() > 0.5 * inside.sum():
                total += (inside & region).sum() / (inside | region).sum()
    return total
