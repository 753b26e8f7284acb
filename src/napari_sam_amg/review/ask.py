"""One point more, asked of the model where somebody wants an object; and what of it becomes a label."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.fragments import without_strays
from napari_sam_amg.amg.generate import candidate_steps, refilter
from napari_sam_amg.amg.labels import LabelPlane
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.seams import cut_at_crop_edge
from napari_sam_amg.amg.table import LINKED_COLUMN, plane_table
from napari_sam_amg.objects.table import Tally, Units
from napari_sam_amg.params import AmgParameters

Bools = NDArray[np.bool_]


def crop_around(size: tuple[int, int], y: int, x: int, params: AmgParameters) -> CropBox:
    """The crop that a run with ``params`` sees pixel (y, x) best in: of its one layer, or the whole image.

    An edge of the image is none: nothing is beyond it.
    """
    layer = params.crop_n_layers if params.crop_layers == "last" else 0
    height, width = size

    def room(crop: CropBox) -> float:
        ends = [(y - crop.y0, crop.y0 > 0), (crop.y1 - 1 - y, crop.y1 < height)]
        ends += [(x - crop.x0, crop.x0 > 0), (crop.x1 - 1 - x, crop.x1 < width)]
        within = min(distance for distance, _ in ends) >= 0
        return min([float(distance) for distance, inner in ends if inner], default=np.inf) if within else -np.inf

    return max(layer_boxes(size, layer, params.crop_overlap_ratio), key=room)


def ask_point(image: NDArray[np.uint8], model: Model, y: int, x: int, params: AmgParameters) -> Masks:
    """The best, by predicted IoU, of the three masks that the model draws for pixel (y, x); none if it draws nothing.

    ``image``: (H, W, 3) uint8 RGB. ``params``: of the run, which says in which crop the point is asked. No threshold
    holds: who asks wants to see what there is.
    """
    size = (image.shape[0], image.shape[1])
    crop = crop_around(size, y, x, params)
    height, width = crop.size
    point = ((x + 0.5 - crop.x0) / width, (y + 0.5 - crop.y0) / height)
    alone = AmgParameters(
        points_per_side=None,
        point_grids=((point,),),
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        stability_score_offset=params.stability_score_offset,
    )
    *_, stored = candidate_steps(np.ascontiguousarray(image[crop.y0 : crop.y1, crop.x0 : crop.x1]), model, alone)
    assert stored is not None
    (found,) = stored.crops
    best = found.select([int(found.predicted_iou.argmax())]) if len(found) else found
    masks = refilter(replace(stored, crops=(best,)), alone)
    return in_image(masks.select(masks.areas > 0), (crop.x0, crop.y0), size)


def in_image(masks: Masks, corner: tuple[int, int], size: tuple[int, int]) -> Masks:
    """Masks of a part of an image, whose first pixel lies at ``corner`` (x, y), as masks of the image."""
    x0, y0 = corner
    height, width = masks.size
    return replace(
        masks,
        boxes=masks.boxes + np.array([x0, y0, x0, y0]),
        points=masks.points + np.array([x0, y0]),
        crop_boxes=np.tile(np.array([x0, y0, x0 + width, y0 + height], np.int64), (len(masks), 1)),
        size=size,
    )


@dataclass(frozen=True, slots=True, eq=False)
class OneMore:
    """A plane with one object more, which took pixels that were free and no others."""

    labels: NDArray[np.int32]  # (H, W)
    row: pd.DataFrame  # one, as ``table.plane_table`` has it
    free: float  # share of its mask that was free


def added(
    labels: NDArray[np.int32],
    masks: Masks,
    label: int,
    params: AmgParameters,
    index: tuple[int, ...] = (),
    units: Units | None = None,
    axis: int | None = None,
) -> OneMore:
    """Give the first of ``masks`` the id ``label``, by the rules of overlaps with all that is there.

    Other objects lose no pixel. Raises ``ValueError``, saying who has its pixels, if less than ``min_visible_fraction``
    of the mask is free, as a run would leave it out. ``axis``: the one along which planes are joined to objects, whose
    rows are of objects then.
    """
    window, cutout, units = masks.window(0), masks.cutouts[0], units or Units()
    area = np.count_nonzero(cutout)
    free: Bools = cutout & (labels[window] == 0)
    share = np.count_nonzero(free) / area
    if share == 0 or share < params.min_visible_fraction:
        others = labels[window][cutout & ~free]
        most = int(np.bincount(others).argmax())
        raise ValueError(f"what the model draws here is label {most} already: {share:.0%} of it is free")
    kept = without_strays(free, params)
    new = labels.astype(np.int32, copy=True)
    new[window][kept] = label
    own = np.zeros(masks.size, np.int32)
    own[window][kept] = 1
    shown = np.array([np.count_nonzero(kept)])
    painted = LabelPlane(own, np.array([0]), shown, shown, np.array([area]), cut_at_crop_edge(masks.select([0])))
    row = plane_table(masks, painted, index, units.pixel_size, units.area_column).assign(index=label)
    return OneMore(new, row if axis is None else _of_object(row, own, params.link, axis, index, units), share)


def _of_object(
    row: pd.DataFrame, own: NDArray[np.int32], link: str, axis: int, index: tuple[int, ...], units: Units
) -> pd.DataFrame:
    """The row of an object in one plane, out of that of its cross-section."""
    tally, ids = Tally(link, axis, units), row["index"].to_numpy(np.int64)
    tally.add(own, own * np.int32(ids[0]), row.assign(**{LINKED_COLUMN: np.nan, "filled": 0}), np.zeros(1, np.int64))
    return tally.take(ids, index)
