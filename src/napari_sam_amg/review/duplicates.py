"""How candidates overlap with better ones: what a threshold for duplicates decides about."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Candidates, concatenate
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.region import RegionCandidates
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.params import AmgParameters

#: Candidates that are compared with all others of their plane: enough for a histogram.
ENOUGH = 4000
CHUNK = 128  # of them at once


class Kept(Protocol):
    """What of a kept run is needed, see ``review.kept``."""

    params: AmgParameters

    @property
    def indices(self) -> tuple[Index, ...]: ...

    def candidates(self, index: Index) -> RegionCandidates: ...

    def columns(self) -> dict[str, NDArray[Any]]: ...


def columns_with_overlaps(kept: Kept) -> dict[str, NDArray[Any]]:
    """Its columns, one value a candidate, and of some candidates "overlap" and "overlap_of_crops".

    That is the largest IoU of the box with that of a better candidate of the same crop, and of another crop.
    """
    inside: list[NDArray[Any]] = [np.empty(0)]
    between: list[NDArray[Any]] = [np.empty(0)]
    left = ENOUGH
    for index in kept.indices:
        if left <= 0:
            break
        found = kept.candidates(index).found
        if not isinstance(found, StoredCandidates):
            continue
        rows = [np.arange(len(crop))[:: max(1, -(-len(found) // left))] for crop in found.crops]
        for crop, some in zip(found.crops, rows, strict=True):
            inside.append(largest_overlap(crop.boxes[some], crop.predicted_iou[some], crop.boxes, crop.predicted_iou))
        between.append(_between(found.crops, rows, kept.params))
        left -= sum(map(len, rows))
    return {**kept.columns(), "overlap": np.concatenate(inside), "overlap_of_crops": np.concatenate(between)}


def _between(crops: tuple[Candidates, ...], rows: list[NDArray[np.int64]], params: AmgParameters) -> NDArray[Any]:
    if len(crops) < 2:
        return np.empty(0)
    every = concatenate(crops)
    number = np.repeat(np.arange(len(crops)), [len(crop) for crop in crops])
    starts = np.cumsum([0, *(len(crop) for crop in crops)])
    some = np.concatenate([start + part for start, part in zip(starts, rows, strict=False)])
    sides = every.crop_boxes[:, 2:] - every.crop_boxes[:, :2]
    scores = every.predicted_iou if params.crop_layers == "last" else 1 / sides.prod(axis=1)
    return largest_overlap(every.boxes[some], scores[some], every.boxes, scores, number[some], number)


def largest_overlap(
    boxes: NDArray[np.int64],
    scores: NDArray[Any],
    others: NDArray[np.int64],
    other_scores: NDArray[Any],
    group: NDArray[np.int64] | None = None,
    other_group: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """(n,) largest IoU of each box with one of ``others`` that has a higher score, and is of another group; else 0.

    Boxes as :func:`~napari_sam_amg.amg.filters.non_maximum` takes them.
    """
    largest = np.zeros(len(boxes), np.float32)
    ours, theirs = boxes.astype(np.float32), others.astype(np.float32)
    areas = np.prod(theirs[:, 2:] - theirs[:, :2], axis=1)
    for start in range(0, len(boxes) if len(others) else 0, CHUNK):
        part = slice(start, start + CHUNK)
        these = ours[part, None]
        sides = np.minimum(these[..., 2:], theirs[:, 2:]) - np.maximum(these[..., :2], theirs[:, :2])
        shared = np.prod(np.clip(sides, 0, None), axis=2)
        union = np.prod(these[..., 2:] - these[..., :2], axis=2) + areas - shared
        is_better = other_scores > scores[part, None]
        if group is not None and other_group is not None:
            is_better &= other_group != group[part, None]
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=(union > 0) & is_better)
        largest[part] = iou.max(axis=1)
    return largest
