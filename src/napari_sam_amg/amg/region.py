"""A part of a plane from pixels to labels: what the model proposes, and what is made of it without the model.

The cut between the two is where runs are stored, continued and distributed: ``RegionCandidates`` can be pickled and
know nothing of the model, and nothing of what comes before or after them: ids are those of the region alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.ais import ais_crops, ais_steps, painting_rules
from napari_sam_amg.amg.generate import candidate_steps, cut_off, refilter
from napari_sam_amg.amg.labels import LabelPlane, paint
from napari_sam_amg.amg.masks import Masks, no_masks
from napari_sam_amg.amg.plane_images import FAILURES, PlaneImages
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.propose import Model, count_batches
from napari_sam_amg.amg.seams import count_missing
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.table import plane_table
from napari_sam_amg.errors import LOGGER, is_out_of_memory
from napari_sam_amg.params import AmgParameters


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels of a plane that are looked at together."""

    index: Index  # of the plane, along the stack's axes
    rows: tuple[int, int]  # first, and the first one behind
    columns: tuple[int, int]
    plane_size: tuple[int, int]  # (height, width)
    halo: int = 0  # px seen around it where the plane goes on, for objects that reach into it

    @property
    def window(self) -> tuple[slice, slice]:
        """What is seen: the region and its halo."""
        sides = zip((self.rows, self.columns), self.plane_size, strict=True)
        rows, columns = (slice(max(0, low - self.halo), min(high + self.halo, end)) for (low, high), end in sides)
        return rows, columns

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what is seen."""
        rows, columns = self.window
        return rows.stop - rows.start, columns.stop - columns.start

    @property
    def core(self) -> tuple[int, int, int, int]:
        """Its pixels within what is seen, its halo apart: (x0, y0, x1, y1)."""
        top, left = (side.start for side in self.window)
        (y0, y1), (x0, x1) = self.rows, self.columns
        return x0 - left, y0 - top, x1 - left, y1 - top

    def holds(self, y: int, x: int) -> bool:
        """Whether pixel (y, x) of the plane lies in it, its halo apart."""
        return self.rows[0] <= y < self.rows[1] and self.columns[0] <= x < self.columns[1]


def whole_plane(index: Index, size: tuple[int, int]) -> Region:
    return Region(index, (0, size[0]), (0, size[1]), size)


@dataclass(frozen=True, slots=True, eq=False)
class RegionCandidates:
    """What was proposed for a region, in the frame of its window."""

    region: Region
    found: StoredCandidates | Masks | None  # None if the model was not asked; masks if it was asked for no points
    image: NDArray[np.uint8] | None = None  # (H, W, 3) what the model sees; None if it could not be read
    nothing: str = ""  # why there was nothing to look for; empty if there was
    failure: Exception | None = None
    problem: str = ""  # why nothing is known of some of it, if that is not all of it
    too_large: int = 0  # objects of which there is no candidate, since they are larger than the tiles


@dataclass(frozen=True, slots=True, eq=False)
class RegionResult:
    """Labels 1, 2, ... of a region and their table, in the frame of its window."""

    candidates: RegionCandidates
    masks: Masks  # before overlaps were resolved
    labels: NDArray[np.int32]  # (H, W)
    features: pd.DataFrame  # one row per label, see table.plane_table
    too_large: int = 0  # objects without a label that may be larger than the crops
    is_last: bool = True  # of its plane; ids of a plane that comes in parts count on from part to part
    problem: str = ""  # why some of it has no labels, if that is not all of it


def count_steps(size: tuple[int, int], params: AmgParameters) -> int:
    """How often ``propose_steps`` yields None at most, for a region of (height, width) ``size``."""
    return len(ais_crops(size, params)) if params.mode == "ais" else count_batches(size, params)


def propose_steps(
    region: Region, images: PlaneImages, model: Model, params: AmgParameters
) -> Iterator[RegionCandidates | None]:
    """None after each batch of points, then the candidates, also if these are none or a failure."""
    image = None
    try:
        image, nothing = images.image(region.index, region.window)
        if nothing:
            yield RegionCandidates(region, None, image, nothing)
            return
        core = region.core if region.halo else None
        for found in (
            ais_steps(image, model, params) if params.mode == "ais" else candidate_steps(image, model, params, core)
        ):
            yield None if found is None else RegionCandidates(region, found, image)
    except FAILURES as error:
        if is_out_of_memory(error):
            raise
        LOGGER.debug("region %s failed", region, exc_info=error)
        yield RegionCandidates(region, None, image, failure=error)


@dataclass(frozen=True, slots=True, eq=False)
class PaintedRegion:
    """Labels 1, 2, ... of a region, before they are measured."""

    candidates: RegionCandidates
    masks: Masks  # before overlaps were resolved
    painted: LabelPlane
    too_large: int = 0  # as that of RegionResult


def finish(
    candidates: RegionCandidates,
    params: AmgParameters,
    pixel_size: tuple[float, float] | None = None,
    area_column: str = "area_physical",
) -> RegionResult:
    """Remove duplicates, paint what is left and measure what of it is seen. The model is not asked.

    ``params`` as :func:`~napari_sam_amg.amg.generate.refilter` takes them. ``pixel_size`` (y, x) in physical units adds
    ``area_column``.
    """
    region = paint_region(candidates, params)
    index = candidates.region.index
    features = plane_table(region.masks, region.painted, index, pixel_size, area_column)
    return RegionResult(region.candidates, region.masks, region.painted.labels, features, region.too_large)


def paint_region(candidates: RegionCandidates, params: AmgParameters) -> PaintedRegion:
    """Remove duplicates and paint what is left."""
    candidates, masks, parts = refiltered(candidates, params, params)
    painted = paint(masks, painting_rules(params))
    too_large = candidates.too_large + count_missing(parts, painted.labels)
    return PaintedRegion(candidates, masks, painted, too_large)


def refiltered(
    candidates: RegionCandidates, params: AmgParameters, of_parts: AmgParameters
) -> tuple[RegionCandidates, Masks, Masks]:
    """The candidates, with what failed here if so; their masks by ``params``; and the parts that crops cut off."""
    masks = parts = no_masks(candidates.region.size)
    try:
        if isinstance(candidates.found, StoredCandidates):
            masks, parts = refilter(candidates.found, params), cut_off(candidates.found, of_parts)
        elif candidates.found is not None:
            masks = candidates.found
    except FAILURES as error:
        if is_out_of_memory(error):
            raise
        candidates = replace(candidates, failure=error)
    return candidates, masks, parts
