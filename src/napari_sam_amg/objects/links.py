"""Labels of two planes that are one object: of all one-to-one matchings the one with the largest sum of IoUs."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

from napari_sam_amg.objects.overlaps import iou_of_labels
from napari_sam_amg.params import AmgParameters

#: IoU in neighbouring planes, at least. Along z objects lie above each other, and less would join them; in time
#: they move, and what lies where they were is seldom another one. How both were chosen is in docs/stacks.md.
LEAST_IOU = {"z": 0.6, "t": 0.2}


def least_iou(params: AmgParameters) -> float:
    """What was asked for, or suits what is linked."""
    return params.link_iou or LEAST_IOU[params.link]


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pairs of labels, each label in one pair at most."""

    one: NDArray[np.int64]  # (n,)
    other: NDArray[np.int64]  # (n,)
    iou: NDArray[np.float64]  # (n,)


def links(one: NDArray[np.int32], other: NDArray[np.int32], least: float) -> Links:
    """Which labels of two planes (H, W) belong together, with an IoU of ``least`` or more."""
    iou = iou_of_labels(one, other)
    enough = iou.data >= least
    row, column = iou.coords
    return assigned(sp.coo_array((iou.data[enough], (row[enough], column[enough])), shape=iou.shape))


def assigned(iou: sp.coo_array) -> Links:
    """One row to one column at most, so that the sum is as large as can be. Pairs that are not stored are none.

    Pairs which compete fall into blocks, nearly all of a single pair: so no matrix of all rows and columns is needed.
    """
    row, column = iou.coords
    order, starts, sizes = _blocks(row, column, iou.shape)
    several = [order[at : at + size] for at, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)]
    matched = [_best(row, column, iou.data, block) for block in several]
    kept = np.sort(np.concatenate([order[starts[sizes == 1]], *matched]))
    return Links(row[kept].astype(np.int64), column[kept].astype(np.int64), iou.data[kept])


def _blocks(
    row: NDArray[np.int32], column: NDArray[np.int32], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs in the order of their blocks, which share no row and no column; where each block begins, and its size."""
    count = sum(shape)
    edges = sp.coo_array((np.ones(len(row), bool), (row, column + shape[0])), shape=(count, count))
    block = connected_components(edges, directed=False)[1][row]
    order = np.argsort(block, kind="stable")
    starts = np.flatnonzero(np.diff(block[order], prepend=-1))
    return order, starts, np.diff(starts, append=len(order))


def _best(
    row: NDArray[np.int32], column: NDArray[np.int32], iou: NDArray[np.float64], pairs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of ``pairs`` that are matched."""
    rows, down = np.unique(row[pairs], return_inverse=True)
    columns, right = np.unique(column[pairs], return_inverse=True)
    weights, pair = np.zeros((len(rows), len(columns))), np.full((len(rows), len(columns)), -1)
    weights[down, right], pair[down, right] = iou[pairs], pairs
    matched = pair[linear_sum_assignment(weights, maximize=True)]
    return matched[matched >= 0]
