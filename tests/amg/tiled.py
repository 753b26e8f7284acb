"""Masks of a plane made up for tests, and as tiles see them."""

import numpy as np

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.region import Region
from napari_sam_amg.amg.tile_seams import TileMasks, joined, placed
from napari_sam_amg.amg.tiling import tiles
from napari_sam_amg.params import AmgParameters


def masks_of(cutouts, corners, size, scores=None) -> Masks:
    """``corners``: (x, y) of each cutout."""
    boxes = np.array(
        [(x, y, x + cut.shape[1] - 1, y + cut.shape[0] - 1) for cut, (x, y) in zip(cutouts, corners, strict=True)]
    )
    scores = np.ones(len(cutouts)) if scores is None else np.asarray(scores)
    window = np.tile(np.array([0, 0, size[1], size[0]], np.int64), (len(cutouts), 1))
    return Masks(
        boxes.reshape(-1, 4).astype(np.int64),
        scores.astype(np.float32),
        scores.astype(np.float32),
        boxes.reshape(-1, 4)[:, :2].astype(np.float64),
        window,
        list(cutouts),
        size,
    )


def disc(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def grid(size, tile_size: int, halo: int) -> list[list[Region]]:
    return tiles((), size, AmgParameters(tile_size=tile_size, tile_halo=halo))


def as_seen(objects: Masks, region: Region) -> Masks:
    """What a perfect model would find in a tile: all that is seen of each object, in the frame of the window."""
    rows, columns = region.window
    cutouts, corners, scores = [], [], []
    for row in range(len(objects)):
        seen = objects.frame(row)[rows, columns]
        if not seen.any():
            continue
        y, x = np.nonzero(seen)
        cutouts.append(seen[y.min() : y.max() + 1, x.min() : x.max() + 1])
        corners.append((int(x.min()), int(y.min())))
        scores.append(objects.predicted_iou[row])
    return masks_of(cutouts, corners, region.size, scores)


def seen_by_all(objects: Masks, regions: list[list[Region]]) -> TileMasks:
    """What all tiles would find, in the frame of the plane."""
    parts, rank = [], 0
    for number, region in enumerate(region for row in regions for region in row):
        found = as_seen(objects, region)
        found = placed(found, region, AmgParameters())
        parts.append(TileMasks(found, np.full(len(found), number), rank + np.arange(len(found))))
        rank += len(found)
    return joined(parts, objects.size)
