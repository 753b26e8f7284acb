"""Masks as COCO records, the only place where boxes become XYWH and masks become run lengths."""

import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from napari_sam_amg.amg.masks import Masks, OutputMode

PIXELS_AT_ONCE = 2**22  # of cutouts, to find their runs


def records(masks: Masks, output_mode: OutputMode) -> list[dict[str, Any]]:
    """See :meth:`napari_sam_amg.Masks.to_coco`."""
    areas = masks.areas
    return [
        {
            "segmentation": segmentation,
            "area": int(areas[row]),
            "bbox": _xywh(masks.boxes[row]),
            "predicted_iou": float(masks.predicted_iou[row]),
            "point_coords": [masks.points[row].tolist()],
            "stability_score": float(masks.stability_score[row]),
            "crop_box": _xywh(masks.crop_boxes[row]),
        }
        for row, segmentation in enumerate(_segmentations(masks, output_mode))
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


def _segmentations(masks: Masks, output_mode: OutputMode) -> list[Any]:
    if output_mode == "binary_mask":
        return [masks.frame(row) for row in range(len(masks))]
    if output_mode == "uncompressed_rle":
        return uncompressed_rles(masks)
    if output_mode == "coco_rle":
        encoded = coco_mask.frPyObjects(uncompressed_rles(masks), *masks.size) if len(masks) else []
        return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in encoded]
    raise ValueError(
        f"output_mode={output_mode!r} is not allowed: choose one of binary_mask, uncompressed_rle, coco_rle"
    )


def uncompressed_rles(masks: Masks) -> list[dict[str, Any]]:
    """Run lengths of each mask down the columns of its full frame, background first, from the cutouts alone."""
    sizes = [cutout.size for cutout in masks.cutouts]
    parts = np.cumsum(sizes) // PIXELS_AT_ONCE
    groups = np.split(np.arange(len(masks)), np.flatnonzero(np.diff(parts)) + 1)
    return [
        {"size": [*masks.size], "counts": counts} for group in groups if len(group) for counts in _counts(masks, group)
    ]


def _counts(masks: Masks, rows: NDArray[np.int64]) -> Iterator[list[int]]:
    """Of some masks at once, one behind the other in a line: a mask has so few runs that one call each costs more."""
    height, width = masks.size
    x0, y0 = masks.boxes[rows, 0], masks.boxes[rows, 1]
    down, columns = np.array([masks.cutouts[row].shape for row in rows]).T
    down += 1  # a pixel of background below each column, which ends every run
    ends = np.cumsum(columns * down)
    line = np.zeros(1 + ends[-1], dtype=bool)
    for row, end, h, w in zip(rows.tolist(), ends.tolist(), down.tolist(), columns.tolist(), strict=True):
        line[1 + end - w * h : 1 + end].reshape(w, h)[:, :-1] = cv2.transpose(masks.cutouts[row].view(np.uint8))
    places = np.flatnonzero(line[1:] != line[:-1])
    whose = np.searchsorted(ends, places, side="right")
    column, position = np.divmod(places - (ends - columns * down)[whose], down[whose])
    edges = (column + x0[whose]) * height + y0[whose] + position
    starts, stops, whose = edges[::2], edges[1::2], whose[::2]
    joined = (starts[1:] == stops[:-1]) & (whose[1:] == whose[:-1])  # a run that goes on at the top of the next column
    starts, stops = starts[np.append(True, ~joined)[: len(starts)]], stops[np.append(~joined, True)[: len(stops)]]
    whose = whose[np.append(True, ~joined)[: len(whose)]]
    is_first = np.diff(whose, prepend=-1) > 0
    gaps = starts - np.where(is_first, 0, np.roll(stops, 1))
    counts = np.column_stack([gaps, stops - starts]).ravel().tolist()
    bounds = [0, *(2 * np.searchsorted(whose, np.arange(len(rows)), side="right")).tolist()]
    for first, last in pairwise(bounds):
        runs = counts[first:last]
        rest = height * width - sum(runs)
        yield [*runs, rest] if rest else runs
