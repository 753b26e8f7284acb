"""Objects through planes, linked again for other thresholds, under the ids by which they were known."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import RLock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.assemble import PlaneResult
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.region import RegionCandidates
from napari_sam_amg.objects.results import results_of
from napari_sam_amg.objects.support import eased
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.review.ids import KNOWN_BY, IdBook, Numbers
from napari_sam_amg.review.refiltered import grid_of
from napari_sam_amg.review.shelf import Shelf


def relinked(
    planes: Iterable[list[RegionCandidates]],
    params: AmgParameters,
    axis: int,
    units: Units,
    book: IdBook,
    numbers: Numbers,
    budget: int,
    lock: RLock,
) -> Iterator[PlaneResult]:
    """The results of planes, each given as its regions, in the order of ``axes.in_order``; without images.

    An object keeps the id by which most of its candidates were known before. That is certain when all planes are
    linked, so nothing comes before; until then results wait in memory up to ``budget`` bytes, then in files. ``lock``:
    held by whoever uses the book, or the numbers.
    """
    tables: list[tuple[Index, pd.DataFrame]] = []
    with Shelf(budget) as waiting:
        for result in _linked(planes, params, axis, units):
            waiting.put(len(tables), replace(result, image=None), result.labels.nbytes + _size(result.masks))
            tables.append((result.index, result.features[["index", *KNOWN_BY]]))
        with lock:  # ids that are given to others come before all of this, or after it
            new = book.ids_by_votes(tables, numbers)
        for number in range(len(tables)):
            yield _renumbered(waiting.get(number), new)


def _linked(
    planes: Iterable[list[RegionCandidates]], params: AmgParameters, axis: int, units: Units
) -> Iterator[PlaneResult]:
    """As a run does it."""
    results = results_of(eased(params), axis, units)
    for regions in planes:
        results.begin(grid_of([candidates.region for candidates in regions]))
        for candidates in regions:
            yield from results.add(candidates)
    yield from results.end()


def _renumbered(result: PlaneResult, new: NDArray[np.int64]) -> PlaneResult:
    labels = new.astype(np.int32)[result.labels]
    objects = None if result.objects is None else _with_new(result.objects, new)
    return replace(result, labels=labels, features=_with_new(result.features, new), objects=objects)


def _with_new(table: pd.DataFrame, new: NDArray[np.int64]) -> pd.DataFrame:
    return table.assign(**{name: new[table[name]] for name in ("index", "parent") if name in table})


def _size(masks: Masks) -> int:
    return sum(cutout.nbytes for cutout in masks.cutouts) + 300 * len(masks)
