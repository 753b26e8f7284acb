"""All masks of a plane as they were before overlaps were resolved: outlines, which may lie over each other."""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.review.why import Fates, found_of
from napari_sam_amg.review.why_words import in_words

#: With a third of the corners: napari makes triangles of every line, and is about as much faster to add them.
_SIMPLER = cv2.CHAIN_APPROX_TC89_L1
_DASH = np.array([[-0.5, 0], [0.5, 0]], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Closed lines around the pieces of masks, and what is known of the mask of each."""

    lines: list[NDArray[np.float32]]  # (n, 2) places (y, x) in pixels, the first one at the end again
    table: pd.DataFrame  # one row a line: mask, label (0: none), predicted_iou, stability_score, area, why
    masks: int
    hidden: int  # of them


def outlines_of(fates: Fates, ids: NDArray[np.int64]) -> Outlines:
    """Of all masks that were painted, or were to be. ``ids``: of labels 1, 2, ... of the plane."""
    names = np.append(0, ids)
    lines: list[NDArray[np.float32]] = []
    rows: list[tuple[object, ...]] = []
    for place, row in enumerate(fates.rows.tolist()):
        found = found_of(fates, row, names)
        known = place + 1, found.label, found.predicted_iou, found.stability_score, found.area
        why = "" if found.label else in_words(found, fates.params)
        pieces = _pieces(fates.masks.cutouts[place], fates.masks.boxes[place])
        lines += pieces
        rows += [(*known, why)] * len(pieces)
    table = pd.DataFrame(rows, columns=["mask", "label", "predicted_iou", "stability_score", "area", "why"])
    return Outlines(lines, table, len(fates.masks), len(fates.masks) - len(ids))


def _pieces(cutout: NDArray[np.bool_], box: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """The outer outline of each piece of a mask, through the middle of its outermost pixels."""
    found, _ = cv2.findContours(cutout.astype(np.uint8), cv2.RETR_EXTERNAL, _SIMPLER)
    lines = [np.asarray(piece, np.float32).reshape(-1, 2) for piece in found]
    # a pixel alone is no line
    closed = [np.concatenate([line, line[:1]]) if len(line) > 1 else line + _DASH for line in lines]
    return [np.asarray(line + box[:2], np.float32)[:, ::-1] for line in closed]
