"""Planes in their order to objects through z, or through time, each with one id, in memory for a few planes.

It knows no model: candidates that were stored give another result for other parameters of the second phase.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from napari_sam_amg.amg.assemble import HeldBack, PlaneResult
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.region import PaintedRegion, RegionCandidates, paint_region, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.table import LINKED_COLUMN, plane_table
from napari_sam_amg.checks import check_kind, check_whole
from napari_sam_amg.errors import in_words
from napari_sam_amg.objects.axes import line_of
from napari_sam_amg.objects.chains import Chains, Section, select
from napari_sam_amg.objects.support import Support
from napari_sam_amg.objects.table import Tally, Units
from napari_sam_amg.params import AmgParameters


def link_planes(
    candidates: Iterable[RegionCandidates | StoredCandidates],
    params: AmgParameters,
    axis: int = 0,
    units: Units | None = None,
) -> Iterator[PlaneResult]:
    """Planes with one id an object, out of what was proposed for each plane.

    ``candidates``: of whole planes, in the order of :func:`axes.in_order`; none of them is held for long. Those that
    :func:`~napari_sam_amg.propose_candidates` gives are planes 0, 1, 2, ...
    ``params.link`` is "z" or "t". ``axis``: which of the stack's axes that is. The same candidates may be linked again
    with other parameters, as :func:`~napari_sam_amg.refilter` takes them. Raises what the first plane raised if all
    failed.
    """
    check_kind("candidates", candidates, Iterable, "what propose_candidates gives, for each plane")
    linker = Linker(params, axis, units)
    for number, one in enumerate(candidates):
        if isinstance(one, StoredCandidates):
            one = RegionCandidates(whole_plane((number,), one.size), one)
        check_kind(f"candidates[{number}]", one, RegionCandidates, "what propose_candidates gives")
        yield from linker.add(one)
    yield from linker.end()


class Linker:
    """Takes the candidates of planes, gives planes with ids a few planes later. Another line begins another object."""

    def __init__(self, params: AmgParameters, axis: int = 0, units: Units | None = None) -> None:
        check_kind("params", params, AmgParameters, "AmgParameters")
        check_kind("units", units, (Units, type(None)), "Units(pixel_size, spacing)")
        axis = check_whole("axis", axis)
        if params.link == "none":
            raise ValueError("link='none' links nothing: choose link='z' or link='t'")
        self._params, self._axis, self._units = params, axis, units or Units()
        self._last: Index | None = None  # the plane that came last
        self._size: tuple[int, int] | None = None  # (height, width) of all
        self._last_id = 0
        self._held = HeldBack()
        self._begin()

    def _begin(self) -> None:
        self._support = Support(self._params) if self._params.link == "z" else None
        self._chains = Chains(self._params)
        self._tally = Tally(self._params.link, self._axis, self._units)

    def add(self, candidates: RegionCandidates) -> list[PlaneResult]:
        """The planes that are certain now. ``ValueError`` if this one does not come after those that were given."""
        index, results = candidates.region.index, []
        size = self._size = self._size or candidates.region.plane_size
        if candidates.region.plane_size != size:
            raise ValueError(f"plane {index} has {candidates.region.plane_size} pixels, and those before have {size}")
        if not self._axis < len(index):
            raise ValueError(f"axis={self._axis} is not allowed: plane {index} has {len(index)} axes, counted from 0")
        if self._last is not None:
            before, here = ((line_of(at, self._axis), at[self._axis]) for at in (self._last, index))
            if here <= before:
                raise ValueError(
                    f"plane {index} comes after plane {self._last}: give planes in the order of axes.in_order"
                )
            # a plane that was left out ends what came before it, too
            if here != (before[0], before[1] + 1):
                results = self._end_line()
        self._last = index
        painted = [paint_region(candidates, self._params)] if self._support is None else self._support.add(candidates)
        return results + self._link(painted)

    def end(self) -> list[PlaneResult]:
        """The planes that are left. Raises the first failure if no plane succeeded."""
        results = self._end_line()
        self._held.check()
        return results

    def _end_line(self) -> list[PlaneResult]:
        painted = [] if self._support is None else self._support.end()
        results = self._link(painted)
        for section in self._chains.end():
            results += self._give(section)
        self._begin()
        return results

    def _link(self, painted: Iterable[PaintedRegion]) -> list[PlaneResult]:
        return [plane for region in painted for section in self._chains.add(region) for plane in self._give(section)]

    def _give(self, section: Section) -> list[PlaneResult]:
        """With ids: those of new objects count on. Objects of which this is the last plane are complete."""
        kept = np.flatnonzero(section.is_kept)
        chains = [section.chains[place] for place in kept.tolist()]
        for chain in chains:
            if not chain.id:
                self._last_id += 1
                chain.id = self._last_id
                chain.parent_id = chain.parent.id if chain.parent is not None else 0
                chain.parent = None  # or all ancestors would be held
        section = select(section, kept[np.argsort([chain.id for chain in chains], kind="stable")])
        return self._held.add(self._result(section), section.region.candidates.failure)

    def _result(self, section: Section) -> PlaneResult:
        region, units, chains = section.region, self._units, section.chains
        candidates, painted = region.candidates, region.painted
        index = candidates.region.index
        ids = np.array([chain.id for chain in chains], np.int64)
        more = {"index": ids, LINKED_COLUMN: np.array(section.iou, np.float64)}
        more["filled"] = np.array(section.filled, np.int64)
        table = plane_table(region.masks, painted, index, units.pixel_size, units.area_column, more)
        labels = np.concatenate([[0], ids]).astype(np.int32)[painted.labels]
        self._tally.add(painted.labels, labels, table, np.array([chain.parent_id for chain in chains], np.int64))
        ended = ids[np.array([chain.last == section.position for chain in chains], bool)]
        objects = self._tally.take(ended, index)
        problem = candidates.problem if candidates.failure is None else in_words(candidates.failure)
        return PlaneResult(
            index, labels, table, region.masks, self._params, problem, candidates.nothing, candidates.image,
            region.too_large, objects=objects,
        )  # fmt: skip
