"""A run that keeps its candidates, down to thresholds below those that are shown, so that these can be moved.

``KeepingWork`` stands between a run and its model, and fills a ``KeptRun``; the steps of the run go through ``watch``::

    work = KeepingWork(ModelWork(model), params, merged(model.info.amg_defaults))
    for step in work.watch(segment_planes(stack, model, params, work=work)):
        ...
    plane = work.kept.plane(index, replace(work.kept.params, pred_iou_thresh=0.4))

A run of linked planes that was cancelled goes on the same way, with ``KeepingWork(..., goes_on=work.kept)``.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from napari_sam_amg.amg.assemble import PlaneResult
from napari_sam_amg.amg.filters import weakest
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.amg.stored import THRESHOLDS
from napari_sam_amg.amg.work import Work
from napari_sam_amg.objects.support import eased
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.review.kept_run import BUDGET, KeptRun, Store

__all__ = ["BUDGET", "KeepingWork", "KeptRun", "floor_below"]

#: How far below what is shown candidates are kept, of both scores. On a training image of each of six data
#: sets that is a quarter more candidates, and no time that could be measured.
BELOW = 0.2


class Steps(Protocol):
    """What a run yields, see ``run.Step``."""

    @property
    def result(self) -> PlaneResult | None: ...


_Step = TypeVar("_Step", bound=Steps)


def floor_below(params: AmgParameters, own: AmgParameters) -> AmgParameters:
    """Down to which thresholds candidates are kept: below those of the run, and never above the model's own.

    The model's own are those that one goes back to.
    """
    below = {name: max(0.0, getattr(params, name) - BELOW) for name in THRESHOLDS}
    return weakest(replace(params, **below), own)


def floor_of(params: AmgParameters, own: AmgParameters) -> AmgParameters:
    """The same of a run with these parameters, eased for its links; AIS has no thresholds."""
    return params if params.mode == "ais" else floor_below(params, eased(replace(own, link=params.link)))


def thresholds_below(params: AmgParameters, defaults: Mapping[str, Any]) -> dict[str, float]:
    """The floor of a run with these parameters, by name; ``defaults``: of the model."""
    floor = floor_of(params, merged(defaults))
    return {name: getattr(floor, name) for name in THRESHOLDS}


class KeepingWork:
    """Work of a run whose candidates are kept, down to a floor of thresholds; ``kept`` is there once it has begun."""

    def __init__(
        self,
        work: Work,
        params: AmgParameters,
        own: AmgParameters,
        *,
        budget: int = BUDGET,
        units: Units | None = None,
        axis: int | None = None,
        goes_on: KeptRun | None = None,
        store: Store | None = None,
    ) -> None:
        """``params`` as the run is given them, ``own`` the model's; the rest as :class:`KeptRun` takes it.

        ``goes_on``: what was kept of a run that this one goes on with, of equal parameters; the rest is added to it.
        Where planes are linked the run is of all planes once more, and the model is asked for those alone that are
        missing: objects are made of all of them.
        """
        self._work, self._shown, self._own = work, params, own
        self._budget, self._units, self._axis, self._store = budget, units, axis, store
        self.kept = goes_on
        self._asks_again = goes_on is None or params.link == "none"

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        decided = self._work.decide(images, params)
        if self.kept is not None:
            return decided
        # as they were given: what suits links follows from them again
        shown = replace(decided, pred_iou_thresh=self._shown.pred_iou_thresh, link_iou=self._shown.link_iou)
        floor = floor_of(decided, self._own)
        self.kept = KeptRun(
            shown, self._own, floor, plane_size=images.stack.plane_size, budget=self._budget, units=self._units,
            axis=self._axis, store=self._store,
        )  # fmt: skip
        return decided

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        assert self.kept is not None
        weaker = replace(params, **{name: getattr(self.kept.floor, name) for name in THRESHOLDS})
        if self._asks_again:
            yield from self._asked(self.kept, regions, images, weaker)
            return
        for region in regions:
            before = self.kept.found(region)
            yield from self._asked(self.kept, [region], images, weaker) if before is None else [before]

    def _asked(
        self, kept: KeptRun, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        for candidates in self._work.propose(regions, images, params):
            if candidates is not None:
                kept.keep(candidates)
            yield candidates

    def watch(self, steps: Iterator[_Step]) -> Iterator[_Step]:
        """The steps of the run, whose results tell the ids. Closing this one closes them."""
        try:
            for step in steps:
                if step.result is not None and self.kept is not None:
                    self.kept.note(step.result)
                yield step
        finally:
            if isinstance(steps, Generator):
                steps.close()
