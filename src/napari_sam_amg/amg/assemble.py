"""Regions to the results of a run: who alone gives ids, and holds failures back until something has succeeded."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.region import Region, RegionResult
from napari_sam_amg.errors import in_words
from napari_sam_amg.params import AmgParameters


@dataclass(frozen=True, slots=True, eq=False)
class PlaneResult:
    """One finished plane, or of one that is too large to be held some of its rows: they come from top to bottom."""

    index: tuple[int, ...]  # along the stack's axes
    labels: NDArray[np.int32]  # (H, W), ids unique over the stack
    features: pd.DataFrame  # one row per label, see amg.table
    masks: Masks  # before overlaps were resolved
    params: AmgParameters  # those of the run, with crop_layers="auto" and a search that cannot be replaced
    problem: str = ""  # why the plane could not be segmented and has no labels; empty if it was
    nothing: str = ""  # why there was nothing to look for, so that the model was not asked; empty if there was
    #: (H, W, 3) what the model sees; None if the plane could not be read. Of a plane in parts the last has that of all
    #: of it, but every n-th pixel only, see ``tiled_plane.overview_step``.
    image: NDArray[np.uint8] | None = None
    too_large: int = 0  # objects without a label that may be larger than the crops of ``crop_layers="last"``, or tiles
    rows: tuple[int, int] | None = (
        None  # which ``labels`` shows, of a plane in parts; ``features`` has each object once
    )
    is_last: bool = True  # part of its plane; it says what went wrong in all of it
    #: With ``params.link``: the rows of the objects that are complete by now, see ``objects.table``; else None.
    objects: pd.DataFrame | None = None


class HeldBack:
    """Results wait until one has succeeded. If all fail, that is the failure of the run, and no result."""

    def __init__(self) -> None:
        self._waiting: list[PlaneResult] | None = []  # None once one has succeeded
        self._failure: Exception | None = None  # the first

    def add(self, plane: PlaneResult, failure: Exception | None) -> list[PlaneResult]:
        """The results that may be given away, now that this one is there too."""
        if self._waiting is None:
            return [plane]
        if failure is None:
            ready, self._waiting = [*self._waiting, plane], None
            return ready
        self._waiting.append(plane)
        self._failure = self._failure or failure
        return []

    def check(self) -> None:
        """At the end: raise the first failure if no plane succeeded."""
        if self._waiting is not None and self._failure is not None:
            raise self._failure


class Assembler:
    """Ids count on from plane to plane, in the order in which they come."""

    def __init__(self, params: AmgParameters) -> None:
        self._params, self._held = params, HeldBack()
        self._last_id = self._of_this_plane = 0

    def add(self, result: RegionResult) -> list[PlaneResult]:
        """The results that may be given away, now that this one, of a plane or a part of one, is there too."""
        return self._held.add(self._with_ids(result), result.candidates.failure)

    def _with_ids(self, result: RegionResult) -> PlaneResult:
        """``result`` is used up."""
        labels, features, candidates = result.labels, result.features, result.candidates
        if self._last_id:
            np.add(labels, self._last_id, out=labels, where=labels > 0)
            features["index"] += self._last_id
        self._of_this_plane += len(features)
        if result.is_last:
            self._last_id, self._of_this_plane = self._last_id + self._of_this_plane, 0
        problem = result.problem if candidates.failure is None else in_words(candidates.failure)
        return PlaneResult(
            candidates.region.index, labels, features, result.masks, self._params, problem, candidates.nothing,
            candidates.image, result.too_large, _rows(candidates.region), result.is_last,
        )  # fmt: skip

    def check(self) -> None:
        """At the end: raise the first failure if no plane succeeded."""
        self._held.check()


def _rows(region: Region) -> tuple[int, int] | None:
    return None if region.rows == (0, region.plane_size[0]) else region.rows
