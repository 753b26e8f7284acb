"""Which crop layer suits an image: the first in which the objects are large enough for the model.

A model finds objects best at the sizes that it was trained on. Small objects in a large field are lost
when the field is scaled down to the model's input, and large ones fall apart when they are magnified.
SAM's crop layers see the field at about 1, 1.5, 2.6, 5 times the scale, but all of them together cost a
multiple, and let the fragments of the small crops win. So with ``crop_layers="auto"`` the run uses one layer alone.

A model whose own maps show objects tells their sizes by these: one pass over the whole image, and no point asked. For
others, and where the maps show nothing, a few points are tried in one layer after another, and that one is taken in
which the masks are thick enough. The points of the run lie as close as the objects are large.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.filters import cut_by_crop, edge_tolerance
from napari_sam_amg.amg.masks import concatenate
from napari_sam_amg.amg.object_sizes import first_thick_enough, seen_sizes
from napari_sam_amg.amg.propose import Model, propose
from napari_sam_amg.params import AmgParameters

#: Of the points per side of each crop, for the layers that are tried: what makes the fewest, and the most.
DIVISORS = ((1, 1), (2, 1), (2, 1), (4, 2))
POINTS_AN_OBJECT = 1.25  # that a mask of median size should hold, if 32 points per side are asked for
SMALLEST_CROP = 40  # px; layers whose crops are smaller are not tried
GRID = 8  # the field is divided into GRID x GRID cells
SPOTS = 8  # cells that are tried
POINTS = 3  # along each side of a tried cell
TRIAL_IOU = 0.4  # predicted IoU of the masks that count
VERY_SURE = 0.7
ENOUGH = 3  # masks that must count
#: Of the crop's longer side: the median thickness that a layer should reach. The last step, from layer 2 to 3, is
#: nearly twofold, and pays for the thinnest objects alone,
THICK = (0.06, 0.06, 0.035, 0.035)
ALMOST = 0.036  # or this, if the model is very sure of its masks

Points = NDArray[np.float64]


def magnified(image: NDArray[np.uint8] | None, model: Model, params: AmgParameters) -> AmgParameters:
    """The parameters with ``crop_layers="auto"`` replaced by the layer that suits the image; others as they are.

    ``image``: (H, W, 3) uint8 RGB; None if there is nothing in it, which needs no trial. With 32 points per side a crop
    has 32 in layer 0, 16 to 32 in layers 1 and 2 and 8 to 16 in layer 3, so that there are 16384 points at most, and as
    many as ``POINTS_AN_OBJECT`` needs in between.
    """
    if params.crop_layers != "auto":
        return params
    if params.points_per_side is None:
        raise ValueError("crop_layers='auto' needs points_per_side: with point_grids choose 'all' or 'last'")
    choice = Choice(0) if image is None else _choose(image, model, params)
    points = choice.points_per_side(params.points_per_side)
    return replace(
        params,
        crop_layers="last",
        crop_n_layers=choice.layer,
        points_per_side=points,
        coarse_points_per_side=math.ceil(params.coarse_points_per_side * points / params.points_per_side),
        crop_n_points_downscale_factor=1,
    )


def _choose(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> "Choice":
    seen = layer_by_maps(image, model, params) if params.mode == "ais" or params.point_search == "guided" else None
    return seen or best_layer(image, model, params)


@dataclass(frozen=True, slots=True)
class Choice:
    """A layer, and how large the objects of the trial are in it."""

    layer: int
    object_area: float = 0.0  # median, as a share of a crop; 0 if nothing was found

    def points_per_side(self, asked: int) -> int:
        """Of each crop, where ``asked`` are for the whole image if it were one crop."""
        fewest, most = (math.ceil(asked / divisor) for divisor in DIVISORS[self.layer])
        if not self.object_area:
            return fewest
        return min(max(fewest, math.ceil(asked / 32 * math.sqrt(POINTS_AN_OBJECT / self.object_area))), most)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The best mask of each point, of those that have one, in one layer."""

    predicted_iou: NDArray[np.float32]  # (n,)
    thickness: NDArray[np.float64]  # (n,) diameter of the largest circle in it, as a share of the crop's longer side
    areas: NDArray[np.int64]  # (n,) px
    crop_size: tuple[int, int]  # (height, width) of the layer's crops, px

    @property
    def side(self) -> int:
        """The crop's longer side, px."""
        return max(self.crop_size)

    def suits(self, layer: int) -> bool:
        if len(self.thickness) < ENOUGH:
            return False
        thickness = np.median(self.thickness)
        return bool(thickness >= THICK[layer] or (thickness >= ALMOST and self.predicted_iou.mean() >= VERY_SURE))


def layer_by_maps(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> Choice | None:
    """The first layer in which the objects that the model's maps show are thick enough; None if these show too little.

    Of the whole image; if the objects are too small to be told there, of a few crops of the next layer, and so on.
    """
    layers = list(_layers(image, params))
    sides = [max(crops[0].size) for crops in layers]
    for layer, crops in enumerate(layers):
        looked_at = crops if layer == 0 else {_nearest(crops, spot.mean(axis=0)) for spot in trial_spots(image)}
        sizes = seen_sizes(image, model, looked_at)
        if (typical := sizes.typical()) is not None:
            thickness, area = typical
            chosen = first_thick_enough(thickness, sides, layer, sizes.img_size)
            return Choice(chosen, area * sides[layer] ** 2 / math.prod(layers[chosen][0].size))
    return None


def _layers(image: NDArray[np.uint8], params: AmgParameters) -> Iterator[list[CropBox]]:
    """The crops of every layer that may be chosen."""
    for layer in range(len(DIVISORS)):
        crops = layer_boxes((image.shape[0], image.shape[1]), layer, params.crop_overlap_ratio)
        if layer and min(crops[0].size) < SMALLEST_CROP:
            return
        yield crops


def best_layer(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> Choice:
    """The first crop layer of 0 .. 3 that suits.

    If none does, the first in which the objects of the trial that found most would be thick enough.
    """
    spots = trial_spots(image)
    trials: list[Trial] = []
    for layer, crops in enumerate(_layers(image, params)):
        trials.append(try_layer(image, model, params, crops, spots))
        if trials[layer].suits(layer):
            return _choice(layer, trials, trials[layer])
    most = max(trials, key=lambda trial: len(trial.thickness))
    if not len(most.thickness):
        return Choice(0)
    thickness = float(np.median(most.thickness)) * most.side
    thick = (layer for layer, trial in enumerate(trials) if thickness / trial.side >= THICK[layer])
    return _choice(next(thick, len(trials) - 1), trials, most)


def _choice(layer: int, trials: list[Trial], seen: Trial) -> Choice:
    """A layer that was tried, for the objects that were seen in it or in another."""
    return Choice(layer, float(np.median(seen.areas)) / math.prod(trials[layer].crop_size))


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


def try_layer(
    image: NDArray[np.uint8], model: Model, params: AmgParameters, crops: list[CropBox], spots: list[Points]
) -> Trial:
    """Every spot in that crop of the layer in whose middle it lies best."""
    by_crop = defaultdict(list)
    for spot in spots:
        by_crop[_nearest(crops, spot.mean(axis=0))].append(spot)
    trials = [_try_crop(image, model, params, crop, np.concatenate(some)) for crop, some in by_crop.items()]
    return Trial(
        np.concatenate([trial.predicted_iou for trial in trials]),
        np.concatenate([trial.thickness for trial in trials]),
        np.concatenate([trial.areas for trial in trials]),
        crops[0].size,
    )


def _nearest(crops: list[CropBox], point: Points) -> CropBox:
    """The crop in whose middle a point (x, y) lies best."""
    centres = np.array([((c.x0 + c.x1) / 2, (c.y0 + c.y1) / 2) for c in crops])
    return crops[int(((centres - point) ** 2).sum(axis=1).argmin())]


def _try_crop(image: NDArray[np.uint8], model: Model, params: AmgParameters, crop: CropBox, points: Points) -> Trial:
    """Points (P, 2) in one crop; masks that its edges cut do not count."""
    corner = (crop.x0, crop.y0)
    grid = tuple((float(x), float(y)) for x, y in (points - corner) / crop.size[::-1])
    sure = replace(
        params, points_per_side=None, point_grids=(grid,), crop_layers="all", crop_n_layers=0,
        point_search="grid", pred_iou_thresh=TRIAL_IOU, stability_score_thresh=0.0,
    )  # fmt: skip
    view = image[crop.y0 : crop.y1, crop.x0 : crop.x1]
    candidates = concatenate([found.candidates for found in propose(view, model, sure)])
    tolerance = edge_tolerance(crop, "last")
    boxes = candidates.boxes + np.tile(corner, 2)
    candidates = candidates.select(~cut_by_crop(boxes, crop, (image.shape[0], image.shape[1]), tolerance))
    candidates = candidates.select(np.lexsort((-candidates.predicted_iou, *candidates.points.T)))
    _, first = np.unique(candidates.points, axis=0, return_index=True)
    best = candidates.select(first)
    masks = [best.cutout(row) for row in range(len(best))]
    thickness = np.array([_thickness(mask) for mask in masks], np.float64) / max(crop.size)
    areas = np.array([mask.sum() for mask in masks], np.int64)
    return Trial(best.predicted_iou, thickness, areas, crop.size)


def _thickness(mask: NDArray[np.bool_]) -> float:
    """Diameter of the largest circle in a mask, px."""
    return 2 * float(cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5).max())
