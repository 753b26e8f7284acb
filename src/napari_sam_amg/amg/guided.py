"""Which points of a crop are asked, one part after another: what was found decides about the rest.

With ``point_search="guided"`` the first points are the centres of the objects that the model's own maps show. A coarse
grid is for those that they do not show; where it finds any, the maps are not to be trusted, and a finer one follows.

Source of the idea: micro-sam's "automatic prompt generation" (arXiv 2603.17845), without a grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.coverage import Coverage
from napari_sam_amg.amg.crops import CropBox, Part, own_part
from napari_sam_amg.amg.filters import non_maximum, passing, sure
from napari_sam_amg.amg.masks import Candidates, concatenate, no_candidates
from napari_sam_amg.amg.prompts import count_point_batches
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.sam.object_maps import ObjectMaps, SeenObjects

MOST_CENTRES = 1024  # of a crop; the largest objects come first, and the grid is there for the others
#: Of an object's thickness, how far from its centre it is asked again if no mask that the centre gave holds it.
ASIDE = 0.25
#: Of the objects in a crop, up to which share of such misses they are taken for accidents. On 21 training images of 7
#: data sets: up to .15 in most crops of nuclei and of axons in SEM, where asking again found objects; .2 to .5 in the
#: others, where it found none, and took up to twice as many points.
ACCIDENTS = 1 / 6
SAME = 0.5  # IoU of boxes, or the share of the smaller one, from which on two masks are of one object
#: New objects a point of a part, at least one, that make a finer part worth asking. In 37 runs on training images of 17
#: data sets, of which the maps show most, the coarse grid found one new object in 3 of them, and two in none.
WORTH_IT = 1 / 32

#: Of what two crops share, how much beyond its middle both are asked. On 12 training images in layer 1 the points are a
#: quarter fewer than with .5, which is all, and AP at .5 is the same (.602 and .603; with .125 it is .597).
MARGIN = 0.25

Points = NDArray[np.float64]


def can_guide(model: object) -> bool:
    """Whether a model has maps of objects."""
    return getattr(model, "sees_objects", False)


def settled(params: AmgParameters, model: object) -> AmgParameters:
    """The parameters with the search that is used: without maps there is nothing to be guided by, but the grid."""
    return params if params.point_search != "guided" or can_guide(model) else replace(params, point_search="grid")


class Search:
    """The points of one crop, of the objects in ``maps`` first if these are given, then of the grid's ``levels``.

    ``learn`` what a part has found before the next one is taken. ``own``: with the model's own thresholds, which alone
    decide what counts as found: those of the run may be any, and its points are the same. ``core``: of a tile, (x0,
    y0, x1, y1) in pixels of the image; objects and points beyond are asked by the tiles that have them in theirs.
    """

    def __init__(
        self,
        crop: CropBox,
        crops: Sequence[CropBox],
        maps: ObjectMaps | None,
        levels: Sequence[Points],
        params: AmgParameters,
        own: AmgParameters,
        core: Part | None = None,
    ) -> None:
        self._crop, self._crops, self._maps, self._levels, self._params = crop, crops, maps, levels, params
        self._own, self._core = own, core
        self._coverage = Coverage(crop)
        self._known: list[Candidates] = [no_candidates()]  # of all parts before
        self._found: list[Candidates] = [no_candidates()]  # of this part

    def learn(self, candidates: Candidates) -> None:
        """Masks of the crop that are not cut by it, those among them that pass the model's own thresholds."""
        candidates = passing(candidates, self._own)
        self._coverage.add(candidates.select(sure(candidates, self._own)))
        self._found.append(candidates)

    def parts(self) -> Iterator[tuple[Points, int]]:
        """Points (n, 2), (x, y) in 0..1 of the crop, and how many batches fewer they are than was counted on."""
        if self._maps is not None:
            yield from self._guided_parts(self._maps.objects())
            return
        for level in self._levels:
            yield self._with_saving(self._coverage.open(level), len(level))

    def _guided_parts(self, seen: SeenObjects) -> Iterator[tuple[Points, int]]:
        some = largest(seen, MOST_CENTRES)
        centres = seen.points / self._crop.size[::-1]
        asked = some[self._is_own(centres[some]) & self._reaches_core(seen)[some]]
        yield self._with_saving(centres[asked], MOST_CENTRES)
        missed = asked[self._is_missed(centres[asked])]
        missed = missed[: MOST_CENTRES // 2 if len(missed) <= ACCIDENTS * len(asked) else 0]
        yield self._with_saving(second_points(seen, missed) / self._crop.size[::-1], MOST_CENTRES)
        goes_on, knows_background = True, False
        for level in self._levels:
            points = self._coverage.open(level) if goes_on else level[:0]
            if self._params.point_grids is None:  # the points of an explicit grid are wanted where they are
                points = points[self._is_own(points) & self._is_near_core(points)]
            if knows_background:
                points = points[~seen.in_background(points)]
            self._turn_page()
            yield self._with_saving(points, len(level))
            new = new_objects(concatenate(self._found), concatenate(self._known), self._own)
            goes_on = len(new) >= max(1, WORTH_IT * len(points))
            corner = (self._crop.x0, self._crop.y0)
            knows_background = not seen.in_background((new.points - corner) / self._crop.size[::-1]).any()

    def _is_own(self, points: Points) -> NDArray[np.bool_]:
        """Which no other crop holds better: two crops that see an object need not both be asked."""
        x0, y0, x1, y1 = own_part(self._crop, self._crops, MARGIN)
        low = (np.array([x0, y0]) - (self._crop.x0, self._crop.y0)) / self._crop.size[::-1]
        high = (np.array([x1, y1]) - (self._crop.x0, self._crop.y0)) / self._crop.size[::-1]
        return np.all((points >= low) & (points <= high), axis=1)

    def _reaches_core(self, seen: SeenObjects) -> NDArray[np.bool_]:
        """Which objects might: of one that is cut the centre lies at the edge, and all of it on the core's side."""
        return self._beyond_core(seen.points) <= lengths(seen)

    def _is_near_core(self, points: Points) -> NDArray[np.bool_]:
        """Which lie in the core or the nearer part of the halo, as crops share what both see."""
        if self._core is None:
            return np.ones(len(points), bool)
        x0, y0, x1, y1 = self._core
        halo = max(x0, y0, self._crops[0].x1 - x1, self._crops[0].y1 - y1)
        return self._beyond_core(points * self._crop.size[::-1]) <= 2 * MARGIN * halo

    def _beyond_core(self, points: Points) -> NDArray[np.float64]:
        """(n,) px from points, in pixels of the crop, to the core; 0 inside, and where there are no tiles."""
        if self._core is None:
            return np.zeros(len(points))
        x0, y0, x1, y1 = self._core
        places = points + np.array([self._crop.x0, self._crop.y0])
        return np.maximum(np.maximum((x0, y0) - places, places - (x1, y1)), 0).max(axis=1)

    def _is_missed(self, points: Points) -> NDArray[np.bool_]:
        """Which lie in no mask that was found, whether the model is sure of it or not."""
        found = Coverage(self._crop)
        found.add(concatenate(self._found))
        return found.is_open(points)

    def _turn_page(self) -> None:
        self._known += self._found
        self._found = [no_candidates()]

    def _with_saving(self, points: Points, most: int) -> tuple[Points, int]:
        batch = self._params.points_per_batch
        return points, count_point_batches(most, batch) - count_point_batches(len(points), batch)


def count_batches_of_centres(params: AmgParameters) -> int:
    """The most that a crop may take; how many objects a model sees is not known before it looked."""
    return 2 * count_point_batches(MOST_CENTRES, params.points_per_batch) if params.point_search == "guided" else 0


def largest(seen: SeenObjects, count: int) -> NDArray[np.int64]:
    """Which are the ``count`` largest objects, in their order."""
    return np.sort(np.argsort(-seen.areas, kind="stable")[:count])


def lengths(seen: SeenObjects) -> NDArray[np.float64]:
    """(N,) px: how long each object is at most, if it is not bent; exact of a disc, 4 / pi times that of a rod."""
    return 4 / np.pi * seen.areas / seen.thickness


def second_points(seen: SeenObjects, missed: NDArray[np.int64]) -> Points:
    """Two points of each object that was missed: above its centre, and left of it; (x, y) in pixels of the image."""
    aside = ASIDE * seen.thickness[missed, None]
    points = np.concatenate([seen.points[missed] - aside * (0, 1), seen.points[missed] - aside * (1, 0)])
    return points.clip(0)


def new_objects(found: Candidates, known: Candidates, own: AmgParameters) -> Candidates:
    """Those masks, one an object, of which the model is sure, and whose object was not found before.

    None that fits a mask which was known, and none that is a part of a sure one, or several of them together.
    """
    certain = found.select(sure(found, own))
    shared, ours, theirs = _overlaps(certain.boxes, known.boxes)
    fits = shared >= SAME * (ours + theirs - shared)
    holds = (shared >= SAME * np.minimum(ours, theirs)) & sure(known, own)
    new = certain.select(~(fits | holds).any(axis=1))
    return new.select(non_maximum(new.boxes, new.predicted_iou, SAME))


def _overlaps(some: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Pixels that boxes (n, 4) share with others (m, 4): (n, m); those of each: (n, 1) and (1, m)."""
    a, b = some[:, None], others[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) + 1 - np.maximum(a[..., :2], b[..., :2])
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(axis=-1) for boxes in (a, b)]
    return sides.clip(0).prod(axis=-1), *areas
