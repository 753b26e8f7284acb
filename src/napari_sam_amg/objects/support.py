"""Which masks of a plane are kept, where planes are joined to objects: those that the planes beside bear out.

Of the outlines that a model draws around one place, that of the object is found again in the planes before and after.
So duplicates are removed by predicted IoU plus support, and not by predicted IoU alone.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from napari_sam_amg.amg.ais import painting_rules
from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.region import PaintedRegion, RegionCandidates, refiltered
from napari_sam_amg.amg.seams import count_missing
from napari_sam_amg.objects.links import least_iou
from napari_sam_amg.objects.overlaps import iou_of_masks, pixels_of
from napari_sam_amg.params import AmgParameters

#: IoU of boxes above which the worse of two masks is dropped before support is asked. SAM's .7 leaves one outline of
#: each object, and nothing to choose from.
LOOSE_NMS = 0.85
LARGEST = 0.5  # of the plane: a larger mask is background
#: By so much lower is the threshold of predicted IoU where other planes have a say: what no other plane bears out is
#: dropped for being in too few. Chosen with the rest of the rules, see docs/stacks.md.
EASED_BY = 0.12


def eased(params: AmgParameters) -> AmgParameters:
    """With what the parameters of links say: what the model is asked with where planes are joined through z."""
    if params.link == "none":
        return params
    params = replace(params, link_iou=least_iou(params))
    if params.link == "t" or params.mode == "ais":
        return params
    return replace(params, pred_iou_thresh=max(0.0, params.pred_iou_thresh - EASED_BY))


def loosened(params: AmgParameters) -> AmgParameters:
    """With which duplicates are removed within a plane, or within a tile of one."""
    if params.link != "z":
        return params
    box, crop = (max(threshold, LOOSE_NMS) for threshold in (params.box_nms_thresh, params.crop_nms_thresh))
    return replace(params, box_nms_thresh=box, crop_nms_thresh=crop)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """What may be an object in a plane, several outlines of one thing among it."""

    candidates: RegionCandidates
    masks: Masks
    parts: Masks  # that crops have cut, see ``generate.cut_off``
    pixels: sp.csr_array  # of the masks, see ``overlaps.pixels_of``


class Support:
    """Takes the candidates of planes that lie one behind the other, and gives each plane painted, one plane later."""

    def __init__(self, params: AmgParameters) -> None:
        self._params, self._loosened = params, loosened(params)
        self._waiting: tuple[Proposals, NDArray[np.float64]] | None = None  # the plane before, its scores without us

    def add(self, candidates: RegionCandidates) -> list[PaintedRegion]:
        here = _proposals(candidates, self._loosened, self._params)
        # what AIS cannot know is NaN
        score, painted = np.nan_to_num(here.masks.predicted_iou).astype(np.float64), []
        if self._waiting is not None:
            before, its_score = self._waiting
            iou = iou_of_masks(before.pixels, here.pixels)
            for scores, rows in zip((its_score, score), iou.coords, strict=True):
                best = np.zeros(len(scores))
                np.maximum.at(best, rows, iou.data)
                scores += best
            painted = [_painted(before, its_score, self._params)]
        self._waiting = here, score
        return painted

    def end(self) -> list[PaintedRegion]:
        """The last plane, after which there is none."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [_painted(*waiting, self._params)]


def _proposals(candidates: RegionCandidates, loose: AmgParameters, params: AmgParameters) -> Proposals:
    candidates, masks, parts = refiltered(candidates, loose, params)
    areas = masks.areas
    masks = masks.select((areas > 0) & (areas <= LARGEST * masks.size[0] * masks.size[1]))
    return Proposals(candidates, masks, parts, pixels_of(masks))


def _painted(of: Proposals, score: NDArray[np.float64], params: AmgParameters) -> PaintedRegion:
    """The better supported of two masks takes the pixels that both claim, and one that is hidden by it is left out."""
    ranked = replace(of.masks, predicted_iou=score.astype(np.float32))
    painted = paint(ranked, painting_rules(params))
    too_large = of.candidates.too_large + count_missing(of.parts, painted.labels)
    return PaintedRegion(of.candidates, of.masks, painted, too_large)
