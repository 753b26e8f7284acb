"""The candidates of a run, kept for other thresholds than those that it was shown with."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.assemble import PlaneResult
from napari_sam_amg.amg.planes import WHOLE_PIXELS, Index
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.amg.stored import FREE, THRESHOLDS, StoredCandidates
from napari_sam_amg.errors import in_words
from napari_sam_amg.objects.axes import in_order
from napari_sam_amg.objects.support import eased
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.review.columns import columns_of, size_of
from napari_sam_amg.review.ids import IdBook, Numbers
from napari_sam_amg.review.plane_memo import PlaneMemo
from napari_sam_amg.review.refiltered import Refiltered, TiledMemo, in_one, with_ids
from napari_sam_amg.review.relinked import relinked
from napari_sam_amg.review.shelf import Shelf

#: Bytes of candidates, and of the images that they were found in, that are kept in memory.
BUDGET = 512 * 2**20
MEMO_BUDGET = 256 * 2**20  # and at most so many of what was found out about those that were looked at last
#: Free parameters that are no matter of thresholds: going back to the model's own leaves them as they are.
_OF_RUN = ("points_per_batch", "link", "link_iou", "link_gap", "min_planes")

_NO_THRESHOLDS = "mode='ais' asks no points and rates no masks, so there are no thresholds to move"
_TOO_LARGE = "the planes are too large for their labels to be made again in memory: run again with other thresholds"


class Store(Protocol):
    """Where candidates lie, by region: a :class:`Shelf`, or files that were there before. Threads may share it."""

    def put(self, key: Any, value: Any, size: int) -> None: ...

    def get(self, key: Any) -> Any: ...

    def close(self) -> None: ...


class KeptRun:
    """The candidates of a run, of the planes that are finished by now, and what other thresholds make of them.

    Ids stay: the run's own are those of its results, a candidate that is shown for the first time gets the next
    number, and what is hidden comes back under its own. Threads may share it.
    """

    def __init__(
        self,
        params: AmgParameters,
        own: AmgParameters,
        floor: AmgParameters,
        *,
        plane_size: tuple[int, int],
        budget: int = BUDGET,
        units: Units | None = None,
        axis: int | None = None,
        store: Store | None = None,
    ) -> None:
        """``params``: of the run, as shown; ``own``: with the model's own thresholds; ``floor``: down to which is kept.

        ``plane_size``: (height, width). ``axis``: along which planes are joined to objects, if that may be asked for.
        ``store``: where candidates lie, by default in memory up to ``budget`` bytes, and beyond it in files.
        """
        self.plane_size = plane_size
        self.params, self.floor = params, floor
        self.own = replace(params, **{name: getattr(own, name) for name in (*THRESHOLDS, *FREE) if name not in _OF_RUN})
        self.units, self.axis = units or Units(), axis
        self.fixed_reason = ""
        if params.mode == "ais":
            self.fixed_reason = _NO_THRESHOLDS
        elif params.tile_size and plane_size[0] * plane_size[1] > WHOLE_PIXELS:
            self.fixed_reason = _TOO_LARGE
        self._numbers = Numbers()
        self.numbering = 0  # goes up when candidates are given other ids
        # objects through planes have a book of their own: two candidates of a plane may have been one and the same
        self._ids, self._object_ids = IdBook(self._numbers), IdBook(self._numbers)
        self._shelf, self._budget = store or Shelf(budget), budget
        self._regions: dict[Index, list[Region]] = {}  # of each plane, in the order of work
        self._columns: list[dict[str, NDArray[Any]]] = []
        self._memos: OrderedDict[Index, PlaneMemo | TiledMemo] = OrderedDict()
        self._memo_budget = min(budget, MEMO_BUDGET)
        self._lock = threading.RLock()

    @property
    def indices(self) -> tuple[Index, ...]:
        """The planes that have candidates by now, all of them, in the order of work."""
        with self._lock:
            return tuple(index for index, regions in self._regions.items() if _is_complete(regions))

    def keep(self, candidates: RegionCandidates) -> None:
        """What was proposed for a region."""
        if candidates.failure is not None:  # in words: not every error can be stored
            candidates = replace(candidates, failure=ValueError(in_words(candidates.failure)))
        columns = columns_of(candidates)
        with self._lock:
            self._shelf.put(candidates.region, candidates, size_of(candidates))
            region = candidates.region
            # a run that goes on does again what was not finished
            others = [known for known in self._regions.get(region.index, []) if known != region]
            self._regions[region.index] = [*others, region]
            self._memos.pop(region.index, None)
            self._columns.append(columns)

    @property
    def regions_kept(self) -> tuple[Region, ...]:
        """Of all planes that have begun, in the order of work."""
        with self._lock:
            return tuple(region for regions in self._regions.values() for region in regions)

    def book(self) -> dict[str, NDArray[Any]]:
        """Which candidate has which id, see :meth:`IdBook.arrays`."""
        with self._lock:
            return (self._ids if self.params.link == "none" else self._object_ids).arrays()

    def restore(
        self, regions: Iterable[Region], columns: Mapping[str, NDArray[Any]], book: Mapping[str, NDArray[Any]]
    ) -> None:
        """What :attr:`regions_kept`, :meth:`columns` and :meth:`book` gave; the candidates are in the store."""
        with self._lock:
            for region in regions:
                self._regions.setdefault(region.index, []).append(region)
            self._columns = [dict(columns)]
            for ids in (self._ids, self._object_ids):
                ids.learn(**book)

    def found(self, region: Region) -> RegionCandidates | None:
        """What was proposed for a region; None if that is not known, or failed."""
        with self._lock:
            if region not in self._regions.get(region.index, []):
                return None
            candidates: RegionCandidates = self._shelf.get(region)
            return candidates if candidates.failure is None else None

    def note(self, result: PlaneResult) -> None:
        """A result of the run, whose ids are those that stay."""
        with self._lock:
            self._ids.note(result.index, result.features)
            self._object_ids.note(result.index, result.features)

    @property
    def highest_id(self) -> int:
        """The highest that was ever given, also to what is hidden now, or is reserved."""
        with self._lock:
            return self._numbers.last

    def reserve(self, highest: int) -> None:
        """Ids up to this are taken, by labels that were drawn by hand."""
        with self._lock:
            self._numbers.reserve(highest)

    def give_away(self, ids: Iterable[int]) -> dict[int, int]:
        """Hands have drawn objects of their own under these ids: hidden candidates of theirs are given the next ones.

        By id of such a candidate, its new one. No candidate gets any of ``ids`` later.
        """
        with self._lock:
            self._numbers.reserve(max(ids := sorted(set(ids)), default=0))
            books = (self._ids, self._object_ids)
            taken = [number for number in ids if any(book.holds(number) for book in books)]
            names = dict(zip(taken, self._numbers.new(len(taken)).tolist(), strict=True))
            if names:
                self.numbering += 1
                for book in books:
                    book.rename(names)
            return names

    def new_id(self, highest: int = 0) -> int:
        """The next id, above ``highest``; no candidate gets it."""
        with self._lock:
            self._numbers.reserve(highest)
            return int(self._numbers.new(1)[0])

    def check(self, params: AmgParameters) -> None:
        """Raise ``ValueError`` in words unless results for ``params`` follow from what was kept."""
        if self.fixed_reason:
            raise ValueError(self.fixed_reason)
        StoredCandidates(self.floor, (0, 0), ()).check(params if params.link == "none" else eased(params))

    def candidates(self, index: Index) -> RegionCandidates:
        """What was proposed for a plane; of one that was taken tile by tile all in one, in the plane's frame."""
        return in_one(self.regions(index))

    def regions(self, index: Index) -> list[RegionCandidates]:
        """What was proposed for a plane, or for each of its tiles. ``KeyError`` if it did not come."""
        with self._lock:
            if index not in self.indices:
                raise KeyError(f"plane {index} is not among those that are finished")
            return [self._shelf.get(region) for region in self._regions[index]]

    def columns(self) -> dict[str, NDArray[Any]]:
        """``predicted_iou``, ``stability_score`` and ``area`` (px) of every candidate of all planes that came."""
        with self._lock:
            if len(self._columns) != 1:
                parts = [columns_of(None), *self._columns]
                self._columns = [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}]
            return self._columns[0]

    def plane(self, index: Index, params: AmgParameters) -> Refiltered:
        """A plane as a run with ``params`` would give it, but for its ids, without the model.

        ``ValueError`` for what was not kept, and where planes are linked; ``KeyError`` if the plane did not come.
        """
        if params.link != "none":
            raise ValueError(f"link={params.link!r} makes objects of all planes together: ask for linked results")
        self.check(params)
        result = self._memo(index).finish(params)
        with self._lock:
            return with_ids(result, params, self._ids)

    def linked(self, params: AmgParameters) -> Iterator[PlaneResult]:
        """The planes so far, joined to objects as a run with ``params`` would do it, but for the ids; without images.

        In the order of the planes along the axis. An object keeps the id by which most of its candidates were known.
        All planes are linked before the first one comes. ``ValueError`` for what was not kept.
        """
        if params.link == "none" or self.axis is None:
            raise ValueError("there is no axis along which these planes could be joined to objects: choose link='none'")
        self.check(params)
        axis, budget = self.axis, self._budget
        planes = (self.regions(index) for index in in_order(self.indices, axis))
        return relinked(planes, params, axis, self.units, self._object_ids, self._numbers, budget, self._lock)

    def close(self) -> None:
        """Forget all candidates, and remove their files."""
        with self._lock:
            self._shelf.close()
            self._regions.clear()
            self._memos.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _memo(self, index: Index) -> PlaneMemo | TiledMemo:
        with self._lock:
            if index not in self._memos:
                regions = self.regions(index)
                is_tiled = len(regions) > 1
                self._memos[index] = TiledMemo(regions, self.units) if is_tiled else PlaneMemo(regions[0], self.units)
            self._memos.move_to_end(index)
            while len(self._memos) > 1 and sum(memo.size for memo in self._memos.values()) > self._memo_budget:
                self._memos.popitem(last=False)
            return self._memos[index]


def _is_complete(regions: list[Region]) -> bool:
    """Whether all tiles of a plane are there."""
    height, width = regions[0].plane_size
    covered = sum((r.rows[1] - r.rows[0]) * (r.columns[1] - r.columns[0]) for r in regions)
    return covered == height * width
