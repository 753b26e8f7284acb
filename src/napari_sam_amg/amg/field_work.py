"""What a run of a part of every plane needs: it looks as in the whole, and ends at polygons."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.field import Field
from napari_sam_amg.amg.generate import refilter
from napari_sam_amg.amg.masks import Candidates, Masks
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import Survey
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.amg.stored import THRESHOLDS, StoredCandidates
from napari_sam_amg.amg.work import Work
from napari_sam_amg.params import AmgParameters


def survey_of_part(surveyed: Survey, stack: PlaneStack) -> Survey:
    """What a survey of whole planes says of parts of some of them: they look as in the whole.

    Which of them shows most is told by the whole planes.
    """
    walked = stack.indices
    among = set(walked)
    shown = tuple(index for index in surveyed.shown if index in among)
    measured = [index for index in walked if index in surveyed.contents]
    # a single plane of a stack has no index
    fullest = max(shown or measured, key=surveyed.contents.__getitem__, default=walked[0] if walked == [()] else None)
    return replace(surveyed, shown=shown, fullest=fullest, pixels=None, parts=())


class FieldWork:
    """Work of which those masks are left out whose centre lies outside all polygons."""

    def __init__(self, work: Work, field: Field, shown: AmgParameters) -> None:
        """``shown``: whose thresholds the results have; more may be asked for, to be kept."""
        self._work, self._field = work, field
        self._shown = {name: getattr(shown, name) for name in THRESHOLDS}
        self.left_out = 0  # objects so far

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        return self._work.decide(images, params)

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        for candidates in self._work.propose(regions, images, params):
            yield None if candidates is None else self._inside(candidates, params)

    def _inside(self, candidates: RegionCandidates, params: AmgParameters) -> RegionCandidates:
        found, window = candidates.found, candidates.region.window
        top, left = (side.start + first for side, first in zip(window, self._field.corner, strict=True))

        def holds(masks: Candidates | Masks) -> NDArray[np.bool_]:
            y, x = _centres(masks)
            return self._field.holds(y + top, x + left)

        if isinstance(found, Masks):
            inside = holds(found)
            self.left_out += int(np.count_nonzero(~inside))
            return replace(candidates, found=found.select(inside))
        if found is None:
            return candidates
        kept = [holds(crop) for crop in found.crops]
        pairs = list(zip(found.crops, kept, strict=True))
        outside = replace(found, crops=tuple(crop.select(~inside) for crop, inside in pairs), cut=())
        self.left_out += _count(outside, replace(params, **self._shown))
        crops = tuple(crop.select(inside) for crop, inside in pairs)
        cut = tuple(crop.select(holds(crop)) for crop in found.cut)
        return replace(candidates, found=replace(found, crops=crops, cut=cut))


def _count(found: StoredCandidates, params: AmgParameters) -> int:
    """Objects: masks that would be left of these without duplicates."""
    return len(refilter(found, params)) if len(found) else 0


def _centres(masks: Candidates | Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(M,) y and x of the centre of mass of each mask; of an empty one the corner of its box."""
    centres = np.array(masks.boxes[:, 1::-1], float)
    for row in range(len(masks)):
        cutout = masks.cutout(row) if isinstance(masks, Candidates) else masks.cutouts[row]
        if cutout.any():
            centres[row] += [np.average(np.arange(cutout.shape[axis]), weights=cutout.sum(1 - axis)) for axis in (0, 1)]
    return centres[:, 0], centres[:, 1]
