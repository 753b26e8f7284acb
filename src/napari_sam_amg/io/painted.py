"""Labels as they are painted, as COCO records: all that a labels layer has when the masks of its run are gone."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.planes import plane_number

_SCORES = ("predicted_iou", "stability_score", "point_x", "point_y")


def painted_records(
    labels: NDArray[Any], features: pd.DataFrame, index: tuple[int, ...] = ()
) -> Iterator[dict[str, Any]]:
    """One record for each label of a plane (H, W), in order of label.

    The keys are those of the reference's records, but for "crop_box", and "label", and "plane" where there is a stack.
    Scores and the prompt are those of the row ``label`` of the table; null, and no prompt, where it has none.
    """
    ids, masks = _as_masks(labels)
    table = features.reindex(index=ids, columns=_SCORES).astype(float).to_numpy()
    for label, record, (iou, stability, x, y) in zip(ids, masks.to_coco("coco_rle"), table.tolist(), strict=True):
        del record["crop_box"]
        record |= {"predicted_iou": iou, "stability_score": stability, "label": label}
        record["point_coords"] = [] if math.isnan(x + y) else [[x, y]]
        yield record | ({"plane": plane_number(index)} if index else {})


def _as_masks(labels: NDArray[Any]) -> tuple[list[int], Masks]:
    """The ids, and the masks of the labels; of their scores nothing is known here."""
    offset = int(labels.min(initial=np.iinfo(np.int32).max, where=labels > 0)) - 1
    near = np.where(labels > 0, labels.astype(np.int64) - offset, 0)
    found = [(place, window) for place, window in enumerate(find_objects(near), 1) if window is not None]
    count = len(found)
    boxes = [[x.start, y.start, x.stop - 1, y.stop - 1] for _, (y, x) in found]
    unknown = np.full(count, np.nan, np.float32)
    masks = Masks(
        np.array(boxes, np.int64).reshape(-1, 4),
        unknown,
        unknown,
        np.zeros((count, 2)),
        np.zeros((count, 4), np.int64),
        [near[window] == place for place, window in found],
        (int(labels.shape[0]), int(labels.shape[1])),
    )
    return [place + offset for place, _ in found], masks
