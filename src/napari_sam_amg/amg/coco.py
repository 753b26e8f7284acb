"""Masks as COCO records, the only place where boxes become XYWH and masks become run lengths."""

import json
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from napari_sam_amg.amg.masks import Masks, OutputMode


def records(masks: Masks, output_mode: OutputMode) -> list[dict[str, Any]]:
    """See :meth:`napari_sam_amg.Masks.to_coco`."""
    areas = masks.areas
    return [
        {
            "segmentation": _segmentation(masks, row, output_mode),
            "area": int(areas[row]),
            "bbox": _xywh(masks.boxes[row]),
            "predicted_iou": float(masks.predicted_iou[row]),
            "point_coords": [masks.points[row].tolist()],
            "stability_score": float(masks.stability_score[row]),
            "crop_box": _xywh(masks.crop_boxes[row]),
        }
        for row in range(len(masks))
    ]


def as_json(record: Mapping[str, Any]) -> str:
    """A record on one line. A score that is no number is null: JSON has no NaN.

    So is the stability of a mask without a pixel, which thresholds of 0 let through, as in the reference.
    """
    scores = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()
    }
    return json.dumps(scores, allow_nan=False)


def _xywh(box: NDArray[np.int64]) -> list[int]:
    """Width and height as the reference gives them: the difference of the box's coordinates."""
    x0, y0, x1, y1 = box.tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def _segmentation(masks: Masks, row: int, output_mode: OutputMode) -> Any:
    if output_mode == "binary_mask":
        return masks.frame(row)
    rle = uncompressed_rle(masks, row)
    if output_mode == "uncompressed_rle":
        return rle
    if output_mode == "coco_rle":
        encoded = coco_mask.frPyObjects(rle, *masks.size)
        return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}
    raise ValueError(
        f"output_mode={output_mode!r} is not allowed: choose one of binary_mask, uncompressed_rle, coco_rle"
    )


def uncompressed_rle(masks: Masks, row: int) -> dict[str, Any]:
    """Run lengths down the columns of the full frame, background first, from the cutout alone."""
    height, width = masks.size
    rows, columns = masks.window(row)
    down = rows.stop - rows.start + 1  # a column and a pixel of background, which ends every run
    line = np.zeros(1 + (columns.stop - columns.start) * down, dtype=bool)
    line[1:].reshape(-1, down)[:, :-1] = cv2.transpose(masks.cutouts[row].view(np.uint8))
    column, position = np.divmod(np.flatnonzero(line[1:] != line[:-1]), down)
    edges = (column + columns.start) * height + rows.start + position
    starts, stops = edges[::2], edges[1::2]
    joined = starts[1:] == stops[:-1]  # a run that goes on at the top of the next column
    starts, stops = starts[np.append(True, ~joined)[: len(starts)]], stops[np.append(~joined, True)[: len(stops)]]
    edges = np.concatenate([[0], np.stack([starts, stops], axis=1).ravel(), [height * width]])
    counts = np.diff(edges)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return {"size": [height, width], "counts": counts.tolist()}
