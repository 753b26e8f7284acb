"""Which of many boxes lie near each other, without a look at every pair."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

PAIRS_AT_A_TIME = 2_000_000

Boxes = NDArray[np.int64]


def near_pairs(boxes: Boxes, gap: int = 0) -> NDArray[np.int64]:
    """(P, 2) rows i < j of boxes (n, 4) XYXY, their last pixels included, with at most ``gap`` pixels between them.

    ``gap`` 0: those that share a pixel, 1: also those whose pixels touch, by a corner too. In no order that means
    anything. Boxes are swept from left to right, so the cost is that of the pairs which share a column.
    """
    order = np.argsort(boxes[:, 0], kind="stable")
    x0, y0, x1, y1 = boxes[order].T
    ends = np.searchsorted(x0, x1 + gap, side="right")  # of those that begin before this one ends
    counts = ends - np.arange(1, len(boxes) + 1)
    found = [np.empty((0, 2), np.int64)]
    sums = np.cumsum(counts)
    start = 0
    while start < len(boxes):
        before = sums[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(sums, before + PAIRS_AT_A_TIME, side="right")))
        some = np.arange(start, stop)
        left = np.repeat(some, counts[some])
        firsts = np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
        right = left + 1 + np.arange(len(left)) - firsts
        near = (y0[left] <= y1[right] + gap) & (y0[right] <= y1[left] + gap)
        found.append(np.sort(order[np.column_stack([left[near], right[near]])], axis=1))
        start = stop
    return np.concatenate(found)


def neighbours(pairs: NDArray[np.int64], count: int) -> "csr_array[Any]":
    """(count, count) 1 where two rows are a pair, both ways."""
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    return csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=(count, count))
