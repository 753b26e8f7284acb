"""Masks from full boolean frames, for tests."""

import numpy as np

from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.generate import candidate_steps, refilter
from napari_sam_amg.amg.masks import Masks


def masks_from_frames(frames, predicted_iou=None, size=None) -> Masks:
    """One mask a frame; its prompt is (row, row)."""
    size = size or frames[0].shape
    boxes = [box_of(frame) or (0, 0, 0, 0) for frame in frames]
    count = len(frames)
    return Masks(
        boxes=np.array(boxes, np.int64).reshape(-1, 4),
        predicted_iou=np.array(predicted_iou if predicted_iou is not None else [0.9] * count, np.float32),
        stability_score=np.full(count, 0.95, np.float32),
        points=np.repeat(np.arange(count, dtype=np.float64)[:, None], 2, axis=1),
        crop_boxes=np.tile(np.array([0, 0, size[1], size[0]], np.int64), (count, 1)),
        cutouts=[frame[y0 : y1 + 1, x0 : x1 + 1] for frame, (x0, y0, x1, y1) in zip(frames, boxes, strict=True)],
        size=size,
    )


def mask_steps(image, model, params):
    """None after each batch of points, then the masks."""
    for stored in candidate_steps(image, model, params):
        yield None if stored is None else refilter(stored, params)
