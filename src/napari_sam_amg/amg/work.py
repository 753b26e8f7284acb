"""Who decides about a run and proposes candidates: the model in this process, or whoever stands in for it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from napari_sam_amg.amg.filters import passing
from napari_sam_amg.amg.guided import settled
from napari_sam_amg.amg.last_embedding import LastEmbedding
from napari_sam_amg.amg.magnify import magnified
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import may_tile
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.region import Region, RegionCandidates, propose_steps
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.amg.tiling import with_tiles
from napari_sam_amg.params import AmgParameters


class Work(Protocol):
    """The part of a run that needs the model."""

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        """The parameters that hold for the whole run, with the search and the crop layer that suit model and images."""

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        """The candidates of each region in this order, see :func:`region.propose_steps`; None after each step."""


class ModelWork:
    """A model does it here, one region after another."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        params = settled(params, self._model)
        if params.point_search == "guided" and params.mode == "amg":
            self._model = LastEmbedding(self._model)
        if may_tile(images.stack.plane_size, params):
            looks = images.looks() if params.crop_layers == "auto" else []
            params = with_tiles(looks, images.stack.plane_size, self._model, params)
        if params.crop_layers == "auto":  # what suits the plane that shows most, which then need not be read again
            params = magnified(images.fullest_image(), self._model, params)
        return params

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        for region in regions:
            yield from propose_steps(region, images, self._model, params)


class CountingWork:
    """Counts what comes of other work."""

    def __init__(self, work: Work, tally: Tally) -> None:
        self._work, self._tally = work, tally

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        return self._work.decide(images, params)

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        for candidates in self._work.propose(regions, images, params):
            if candidates is not None:
                _count(candidates, params, self._tally)
            yield candidates


def _count(candidates: RegionCandidates, params: AmgParameters, tally: Tally) -> None:
    if candidates.region in tally.counted:
        return
    tally.counted.add(candidates.region)
    found = candidates.found
    if not isinstance(found, StoredCandidates):
        return
    tally.crops = max(tally.crops, len(found.crops))
    tally.is_complete &= found.asked is not None
    tally.points += 0 if found.asked is None else len(found.asked)
    for crop in found.crops:  # a floor below the thresholds may have been stored
        tally.candidates += len(passing(crop, params))
