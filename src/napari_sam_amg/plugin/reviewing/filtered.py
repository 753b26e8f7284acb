"""Other thresholds for a result layer, in the worker thread: planes, or linked objects, made of the kept candidates."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.reviewed import Index
from napari_sam_amg.plugin.running.adding import not_while_adding
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.plugin.running.tracks import section_columns, track_data

if TYPE_CHECKING:
    from napari_sam_amg.plugin.running.kept_on_disk import Layout


PIXELS = 2**23  # of labels that are shown in one turn of the event loop: 10 ms to compare and to copy
GATHER = 0.25  # s, in which planes that are not in sight wait for each other: the table is made once for all of them


@dataclass(frozen=True, slots=True, eq=False)
class FilteredPlane:
    """A plane of which the labels are made, by its thresholds."""

    index: Index
    params: AmgParameters
    labels: Any  # (H, W) int32, or a PackedPlane where the layer's own lie on the disk
    rows: pd.DataFrame  # of its labels; of linked objects their cross-sections
    masks: int  # before overlaps were resolved
    hidden: int  # of these, by overlaps
    numbering: int  # of the run's ids, when it was made


@dataclass(frozen=True, slots=True, eq=False)
class Relinked:
    """All planes, linked again."""

    params: AmgParameters
    planes: tuple[FilteredPlane, ...]
    rows: pd.DataFrame  # of the objects
    tracks: tuple[NDArray[np.float64], dict[int, list[int]]] | None  # as the layer of tracks takes them, through time
    numbering: int


@dataclass(frozen=True, slots=True)
class Failed:
    message: str


class Order:
    """Which planes are to be made, shared by both threads: the one in sight is always next."""

    def __init__(self, indices: Iterable[Index], first: Index | None) -> None:
        self._left, self.first = dict.fromkeys(indices), first
        self._lock = threading.Lock()
        self.is_over = False  # nobody waits for it any more
        self.gather = GATHER  # s

    def take(self) -> Index | None:
        with self._lock:
            if self.is_over or not self._left:
                return None
            index = self.first if self.first in self._left else next(iter(self._left))
            del self._left[index]
            return index


Source: TypeAlias = "SourceLayer | Layout"  # what knows the names of axes
Made = tuple[FilteredPlane, ...] | Relinked | Failed


def filtered_planes(kept: Any, params: AmgParameters, order: Order, source: Source, on_disk: bool) -> Iterator[Made]:
    """In the worker. ``on_disk``: whether planes are packed.

    Errors are yielded, since napari shows raised ones with their traceback.
    """
    try:
        if params.link == "none":
            made = _planes(kept, params, order, source)
            yield from (tuple(map(packed, planes)) for planes in made) if on_disk else made
        elif (linked := _relinked(kept, params, order, source, on_disk)) is not None:
            yield linked
    except Exception as error:
        yield Failed(explain_in_window(error))


def packed(plane: FilteredPlane) -> FilteredPlane:
    from napari_sam_amg.io.patched_labels import PackedPlane

    return plane if isinstance(plane.labels, PackedPlane) else replace(plane, labels=PackedPlane.of(plane.labels))


def _planes(kept: Any, params: AmgParameters, order: Order, source: Source) -> Iterator[tuple[FilteredPlane, ...]]:
    """The plane in sight by itself and at once, the others some at a time."""
    gathered: list[FilteredPlane] = []
    named = namer(source, params)
    until = time.monotonic() + order.gather
    while (index := order.take()) is not None:
        numbering = kept.numbering
        with not_while_adding():
            plane = kept.plane(index, params)
        rows, masks = named(plane.features), len(plane.masks)
        made = FilteredPlane(index, params, plane.labels, rows, masks, plane.hidden_by_overlap, numbering)
        if index == order.first:
            yield (made,)
            continue
        gathered.append(made)
        if time.monotonic() > until or sum(one.labels.size for one in gathered) > PIXELS:
            yield tuple(gathered)
            gathered, until = [], time.monotonic() + order.gather
    if gathered:
        yield tuple(gathered)


def _relinked(kept: Any, params: AmgParameters, order: Order, source: Source, on_disk: bool) -> Relinked | None:
    from napari_sam_amg.amg.table import joined

    planes: list[FilteredPlane] = []
    tables: list[pd.DataFrame] = []
    sections: list[pd.DataFrame] = []
    named, results, numbering = namer(source, params), kept.linked(params), kept.numbering
    while not order.is_over:
        with not_while_adding():
            result = next(results, None)
        if result is None:
            rows = named(joined(tables))
            tracks = None
            if params.link == "t" and len(rows) and isinstance(source, SourceLayer):
                tracks = track_data(sections, rows, source)
            return Relinked(params, tuple(planes), rows, tracks, numbering)
        masks, table = len(result.masks), result.features
        hidden = max(0, masks - len(table))
        plane = FilteredPlane(result.index, params, result.labels, named(table), masks, hidden, numbering)
        planes.append(packed(plane) if on_disk else plane)
        tables.append(result.objects)
        sections.append(table[section_columns(len(result.index))])
    return None


def namer(source: Source, params: AmgParameters) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Names the columns of a table as the layer's axes are called."""
    from napari_sam_amg.amg.table import of_plane_axes

    axes, through = source.plane_axes, source.through(params)
    return lambda table: of_plane_axes(table, axes, through)
