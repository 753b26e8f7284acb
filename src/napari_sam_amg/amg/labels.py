"""Masks to a label image: each pixel belongs to one label at most, by a stated rule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.params import AmgParameters


@dataclass(frozen=True, slots=True, eq=False)
class LabelPlane:
    """A painted plane, and where its labels come from."""

    labels: NDArray[np.int32]  # (H, W), 0 is background, ids first_id, first_id + 1, ... without gaps
    rows: NDArray[np.int64]  # (n,) the row of the masks behind each id, in order of id
    visible: NDArray[np.int64]  # (n,) pixels that each label owns
    areas: NDArray[np.int64]  # (n,) pixels of its whole mask


def paint(masks: Masks, params: AmgParameters, first_id: int = 1) -> LabelPlane:
    """Paint masks in order of priority, so that a pixel goes to the first mask that claims it.

    ``params.overlap`` sets the priority. A mask of which less than ``params.min_visible_fraction``
    is still free is left out whole: it takes no pixel, and leaves no sliver behind.
    """
    labels = np.zeros(masks.size, np.int32)
    areas = masks.areas
    rows: list[int] = []
    visible: list[int] = []
    for row in _priority(masks, areas, params).tolist():
        window = labels[masks.window(row)]
        free = masks.cutouts[row] & (window == 0)
        count = np.count_nonzero(free)
        if count and count >= params.min_visible_fraction * areas[row]:
            window[free] = first_id + len(rows)
            rows.append(row)
            visible.append(int(count))
    kept = np.array(rows, np.int64)
    return LabelPlane(labels, kept, np.array(visible, np.int64), areas[kept])


def _priority(masks: Masks, areas: NDArray[np.int64], params: AmgParameters) -> NDArray[np.int64]:
    """Rows of the masks, first served first; ties go by predicted IoU, then by row."""
    by_score = -masks.predicted_iou.astype(np.float64)
    orders: dict[str, NDArray[np.float64]] = {
        "score": by_score,
        "small": areas.astype(np.float64),
        "large": -areas.astype(np.float64),
    }
    return np.lexsort((by_score, orders[params.overlap]))
