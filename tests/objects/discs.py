"""Stacks of discs as candidates, without a model: the objects and their pixels are known exactly."""

from collections.abc import Sequence

import cv2
import numpy as np

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.region import RegionCandidates, whole_plane
from napari_sam_amg.objects.linker import link_planes
from napari_sam_amg.params import AmgParameters

SIZE = (96, 128)
Z = AmgParameters(link="z", link_iou=0.5, min_planes=3, min_label_region_area=0)
T = AmgParameters(link="t", link_iou=0.5, min_label_region_area=0)

Disc = tuple[int, int, int]  # x, y, radius


def disc(x: int, y: int, radius: int, size=SIZE) -> np.ndarray:
    image = np.zeros(size, np.uint8)
    cv2.circle(image, (x, y), radius, 1, -1)
    return image.astype(bool)


def masks_of(frames: Sequence[np.ndarray], scores: Sequence[float] | None = None, size=SIZE) -> Masks:
    """Full frames as masks."""
    places = [np.nonzero(frame) for frame in frames]
    boxes = [(x.min(), y.min(), x.max(), y.max()) for y, x in places]
    return Masks(
        boxes=np.array(boxes, np.int64).reshape(-1, 4),
        predicted_iou=np.array(scores if scores is not None else [0.9] * len(frames), np.float32),
        stability_score=np.full(len(frames), 0.8, np.float32),
        points=np.array([[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in boxes]).reshape(-1, 2),
        crop_boxes=np.tile([0, 0, size[1], size[0]], (len(frames), 1)).astype(np.int64),
        cutouts=[frame[y0 : y1 + 1, x0 : x1 + 1] for frame, (x0, y0, x1, y1) in zip(frames, boxes, strict=True)],
        size=size,
    )


def plane(index, discs: Sequence[Disc] = (), scores=None, failure=None, size=SIZE) -> RegionCandidates:
    index = index if isinstance(index, tuple) else (index,)
    found = None if failure else masks_of([disc(*one, size=size) for one in discs], scores, size)
    return RegionCandidates(whole_plane(index, size), found, failure=failure)


def linked(planes, params=Z, axis=0, units=None):
    """Label images, the cross-sections and the objects of all planes."""
    import pandas as pd

    results = list(link_planes(planes, params, axis, units))
    labels = np.stack([result.labels for result in results])
    sections = pd.concat([result.features for result in results if len(result.features)] or [results[0].features])
    objects = pd.concat([result.objects for result in results if len(result.objects)] or [results[0].objects])
    return labels, sections, objects.sort_values("index", ignore_index=True)


def stack(columns: Sequence[tuple[Disc, range]], count: int, failed=()) -> list[RegionCandidates]:
    """Each column is a disc in a range of planes."""
    return [
        plane(z, [one for one, planes in columns if z in planes], failure=ValueError("torn") if z in failed else None)
        for z in range(count)
    ]
