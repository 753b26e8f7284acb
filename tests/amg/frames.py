"""Masks from full boolean frames, masks step by step, and whether masks are the same."""

import numpy as np

from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.generate import candidate_steps, refilter
from napari_sam_amg.amg.masks import Masks
from tests.disc_model import blobs


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


def assert_same(ours, expected):
    for name in ("boxes", "predicted_iou", "stability_score", "points", "crop_boxes"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(expected, name))
    assert ours.size == expected.size
    for cutout, other in zip(ours.cutouts, expected.cutouts, strict=True):
        np.testing.assert_array_equal(cutout, other)


def assert_same_objects(masks, discs):
    assert len(masks) == len(discs)
    truth = [blobs(discs=(disc,)) > 127 for disc in discs]
    frames = [masks.frame(index) for index in range(len(masks))]
    assert min(max((a & b).sum() / (a | b).sum() for b in frames) for a in truth) > 0.9
