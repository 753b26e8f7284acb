"""Which crop layer suits an image: the one at which the model is surest of what it sees.

A model finds objects best at the sizes that it was trained on. Small objects in a large field are lost
when the field is scaled down to the model's input, and large ones fall apart when they are magnified.
SAM's crop layers see the field at 1, 2, 4, ... times the scale, but all of them together cost a
multiple, and let the fragments of the small crops win. So with ``crop_layers="auto"`` the same few
points are tried in every layer, and the run uses that layer alone whose masks have the highest
predicted IoU.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.filters import cut_by_crop, edge_tolerance
from napari_sam_amg.amg.masks import concatenate
from napari_sam_amg.amg.propose import Model, propose
from napari_sam_amg.params import AmgParameters

DIVISORS = (1, 2, 2, 4)  # of the points per side of each crop, for the layers that are tried
SMALLEST_CROP = 40  # px; layers whose crops are smaller are not tried
GRID = 8  # the field is divided into GRID x GRID cells
SPOTS = 8  # cells that are tried
POINTS = 3  # along each side of a tried cell
ENOUGH = 0.4  # a point of which no layer makes a mask surer than this is on background, and does not vote
QUORUM = 0.25  # of the points must vote before a worse layer ends the search

Points = NDArray[np.float64]


def magnified(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> AmgParameters:
    """The parameters with ``crop_layers="auto"`` replaced by the layer that suits the image; others as they are.

    ``image``: (H, W, 3) uint8 RGB. The points per side are divided by ``DIVISORS``, so that 32 make 1024,
    1024, 4096 or 4096 points in all.
    """
    if params.crop_layers != "auto":
        return params
    if params.points_per_side is None:
        raise ValueError("crop_layers='auto' needs points_per_side: with point_grids choose 'all' or 'last'")
    layer = best_layer(image, model, params)
    side = -(-params.points_per_side // DIVISORS[layer])
    return replace(
        params, crop_layers="last", crop_n_layers=layer, points_per_side=side, crop_n_points_downscale_factor=1
    )


def best_layer(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> int:
    """The crop layer, 0 .. 3, whose masks of the points on objects are surest on average.

    The search goes from layer to layer and ends after the first that is worse than one before.
    """
    size = (image.shape[0], image.shape[1])
    spots = trial_spots(image)
    table = np.empty((0, SPOTS * POINTS**2), np.float32)  # (layers, points)
    best = 0
    for layer in range(len(DIVISORS)):
        crops = layer_boxes(size, layer, params.crop_overlap_ratio)
        if layer and min(crops[0].size) < SMALLEST_CROP:
            break
        table = np.vstack([table, _layer_sureness(image, model, params, crops, spots)])
        votes = table.max(axis=0) > ENOUGH
        best = int(table[:, votes].mean(axis=1).argmax()) if votes.any() else 0
        if best < layer and votes.mean() >= QUORUM:
            break
    return best


def trial_spots(image: NDArray[np.uint8]) -> list[Points]:
    """Points (x, y) in a few cells of the field that show something: SPOTS arrays (POINTS ** 2, 2).

    Of the half of the cells with the most contrast, every n-th in its order.
    """
    height, width = image.shape[:2]
    grey = image.mean(axis=2)
    rows, columns = (np.linspace(0, length, GRID + 1).astype(int) for length in (height, width))
    contrast = np.array(
        [
            [cell.std() if cell.size else 0.0 for cell in np.split(band, columns[1:-1], axis=1)]
            for band in np.split(grey, rows[1:-1], axis=0)
        ]
    )
    order = np.argsort(-contrast, axis=None, kind="stable")[: GRID * GRID // 2]
    chosen = order[np.linspace(0, len(order) - 1, SPOTS).astype(int)]
    inside = (np.arange(POINTS) + 0.5) / POINTS
    x, y = np.meshgrid(inside, inside)
    unit = np.stack([x.ravel(), y.ravel()], axis=-1)
    scale = (width / GRID, height / GRID)
    return [(unit + np.array([index % GRID, index // GRID])) * scale for index in chosen.tolist()]


def _layer_sureness(
    image: NDArray[np.uint8], model: Model, params: AmgParameters, crops: list[CropBox], spots: list[Points]
) -> NDArray[np.float32]:
    """The highest predicted IoU of each point's masks that no crop cuts: (points,), spot by spot."""
    by_crop = defaultdict(list)
    for index, spot in enumerate(spots):
        by_crop[_nearest(crops, spot.mean(axis=0))].append(index)
    values: dict[int, NDArray[np.float32]] = {}
    for crop, indices in by_crop.items():
        points = np.concatenate([spots[index] for index in indices])
        found = _sureness(image, model, params, crop, points)
        values.update(zip(indices, np.split(found, len(indices)), strict=True))
    return np.concatenate([values[index] for index in range(len(spots))])


def _nearest(crops: list[CropBox], point: Points) -> CropBox:
    """The crop in whose middle a point (x, y) lies best."""
    centres = np.array([((c.x0 + c.x1) / 2, (c.y0 + c.y1) / 2) for c in crops])
    return crops[int(((centres - point) ** 2).sum(axis=1).argmin())]


def _sureness(
    image: NDArray[np.uint8], model: Model, params: AmgParameters, crop: CropBox, points: Points
) -> NDArray[np.float32]:
    """The highest predicted IoU, above ENOUGH, of the masks of each point (P, 2) that lie whole in the crop: (P,).

    0 for a point without any.
    """
    corner = (crop.x0, crop.y0)
    grid = tuple((float(x), float(y)) for x, y in (points - corner) / crop.size[::-1])
    sure = replace(
        params, points_per_side=None, point_grids=(grid,), crop_layers="all", crop_n_layers=0,
        pred_iou_thresh=ENOUGH, stability_score_thresh=0.0,
    )  # fmt: skip
    view = image[crop.y0 : crop.y1, crop.x0 : crop.x1]
    candidates = concatenate([found for _, found in propose(view, model, sure)])
    boxes = candidates.boxes + np.tile(corner, 2)
    tolerance = edge_tolerance(crop, replace(params, crop_layers="last"))
    whole = ~cut_by_crop(boxes, crop, (image.shape[0], image.shape[1]), tolerance)
    best = np.zeros(len(points), np.float32)
    distances = np.linalg.norm((candidates.points + corner)[:, None] - points, axis=2)
    np.maximum.at(best, distances.argmin(axis=1), candidates.predicted_iou * whole)
    return best
