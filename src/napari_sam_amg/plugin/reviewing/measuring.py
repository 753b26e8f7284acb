"""Columns on demand: measured by the worker, and again for objects that were changed."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image
from napari.qt.threading import create_worker
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits
from napari_sam_amg.plugin.reviewing.image_planes import intensities_under
from napari_sam_amg.plugin.reviewing.layer_objects import layer_objects
from napari_sam_amg.review.edits import Index
from napari_sam_amg.review.measures import (
    SHAPES,
    STATISTICS,
    Intensities,
    intensities,
    intensity_columns,
    shape_columns,
    shapes,
)
from napari_sam_amg.review.mended import in_order_of_use
from napari_sam_amg.review.remeasure import Box, Grid

WAIT = 100  # ms, in which more objects may be changed
OWN_IMAGE = ""  # stands for the image that was segmented, whichever it is


@dataclass(frozen=True, slots=True)
class Asked:
    """Which columns somebody wants: shapes by name, and statistics of images by their layers' names."""

    shapes: frozenset[str] = frozenset()
    statistics: frozenset[tuple[str, str]] = frozenset()  # (layer, statistic)

    @property
    def words(self) -> str:
        """As a person reads it, and as :meth:`read` takes it: "perimeter, mean, max of DAPI"."""
        wanted = [f"{name} of {layer}" if layer != OWN_IMAGE else name for layer, name in sorted(self.statistics)]
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow([name for name in SHAPES if name in self.shapes] + wanted)
        return text.getvalue().replace(",", ", ") if not any("," in name for name in wanted) else text.getvalue()

    @classmethod
    def read(cls, words: str) -> "Asked":
        """What nobody knows is left out."""
        rows = csv.reader([words], skipinitialspace=True)
        shapes, statistics = set[str](), set[tuple[str, str]]()
        for entry in (entry.strip() for row in rows for entry in row):
            name, _, layer = entry.partition(" of ")
            if entry in SHAPES:
                shapes.add(entry)
            elif name in STATISTICS and (layer or entry == name):
                statistics.add((layer or OWN_IMAGE, name))
        return cls(frozenset(shapes), frozenset(statistics))


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    plane_of: Any
    boxes: Mapping[int, Mapping[Index, Box]]
    grid: Grid
    shapes: frozenset[str]
    images: list[tuple[Intensities, list[str]]]

    @property
    def columns(self) -> list[str]:
        found = shape_columns(self.shapes, self.grid)
        return found + [name for image, names in self.images for name in intensity_columns(names, image)]


class Measuring(QObject):
    """Belongs to the edits of one layer. Main thread only, but for the work itself."""

    busy = Signal(bool)
    failed = Signal(str)  # in a sentence

    def __init__(self, edits: FollowedEdits) -> None:
        super().__init__(edits)
        self._edits = edits
        self.asked = Asked()
        self.columns: list[str] = []
        self._changed: set[int] | None = set()  # objects to measure; None: all
        self._is_busy = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)
        edits.measured.connect(self._note)
        edits.review.changed.connect(self._find_unmeasured)
        edits.review.ended.connect(self._find_unmeasured)

    def ask(self, asked: Asked) -> None:
        """These columns, of all objects; those that are no longer wanted go."""
        if asked == self.asked:
            return
        self.asked, self._changed = asked, None
        self._timer.start(0)

    def _note(self, ids: set[int]) -> None:
        if self.columns or self._is_busy:
            self._changed = None if self._changed is None else self._changed | ids
            self._timer.start(WAIT)

    def _find_unmeasured(self) -> None:
        """Other thresholds brought other objects."""
        if self._edits.is_own or self._edits.alive() is None:
            return
        if self._changed is None or (self._is_busy and not self.columns):  # nothing tells which are measured
            self._changed = None
            self._timer.start(WAIT)
        elif self.columns:
            table = self._edits.review.table.reindex(columns=["index", *self.columns])
            self._note(set(table.loc[table[self.columns].isna().all(axis=1), "index"].tolist()))

    def _begin(self) -> None:
        if self._edits.alive() is None:
            return
        if self._is_busy or self._edits.rows.hand_made.is_looking:
            self._timer.start(WAIT)
            return
        job = self._job()
        if job is None:
            return
        self._is_busy, self._changed = True, set()
        self.busy.emit(True)
        worker = create_worker(_measured, job)
        worker.returned.connect(lambda found: self._end(job, found))
        worker.errored.connect(lambda error: self._end(job, error))
        worker.start()

    def _job(self) -> _Job | None:
        layer, review = self._edits.review.layer, self._edits.review
        try:
            images = self._images()
        except ValueError as error:
            self.failed.emit(f"{error}.")
            images = []
        ids = layer_objects(layer).ids() if self._changed is None else self._changed
        boxes = self._edits.rows.where({label: {} for label in sorted(ids)})
        data, places = layer.data, {index: review.place(index) for index in self._edits.planes()}
        down, right = review.plane_axes

        def plane_of(index: Index) -> NDArray[Any]:
            return data[places[index]] if down < right else data[places[index]].T

        job = _Job(plane_of, boxes, self._edits.grid, self.asked.shapes, images)
        if not job.columns and not self.columns:
            return None
        return job

    def _images(self) -> list[tuple[Intensities, list[str]]]:
        wanted: dict[str, list[str]] = {}
        for name, statistic in self.asked.statistics:
            wanted.setdefault(self.own_image if name == OWN_IMAGE else name, []).append(statistic)
        layers = {layer.name: layer for layer in self._edits.viewer.layers if isinstance(layer, Image)}
        return [
            (intensities_under(self._edits.review, layers[name]), names)
            for name, names in sorted(wanted.items())
            if name in layers
        ]

    @property
    def own_image(self) -> str:
        """The name of the image that was segmented; empty if it is not known."""
        return str(self._edits.review.record.get("source", {}).get("layer", ""))

    def _end(self, job: _Job, found: Any) -> None:
        self._is_busy = False
        if self._edits.alive() is None:
            self._changed = None  # of what a run is about to change, nothing is known
        elif isinstance(found, Exception):
            self.failed.emit(explain_in_window(found))
        else:
            self._put(job, found)
        self.busy.emit(False)

    def _put(self, job: _Job, found: Mapping[int, Mapping[str, float]]) -> None:
        """Into the table, but for objects that were changed meanwhile: they will be measured again."""
        rows = self._edits.review.table.set_index("index")
        gone = [name for name in self.columns if name not in job.columns]
        rows = rows.drop(columns=gone, errors="ignore")
        rows = rows.reindex(columns=[*rows.columns, *(name for name in job.columns if name not in rows)])
        changed = set(found) if self._changed is None else self._changed
        there = [label for label in found if label not in changed and label in rows.index]
        if there:
            new = pd.DataFrame([found[label] for label in there], index=there).reindex(columns=job.columns)
            places = rows.index.get_indexer(pd.Index(there))
            for name in job.columns:
                values = rows[name].to_numpy(np.float64, copy=True)
                values[places] = new[name].to_numpy(np.float64)
                rows[name] = values
        self.columns = job.columns
        self._edits.rows.stale = tuple(job.columns)
        self._edits.show_table(rows[in_order_of_use(map(str, rows.columns))].reset_index())


def _measured(job: _Job) -> dict[int, dict[str, float]]:
    """In the worker: by object, its columns."""
    found: dict[int, dict[str, float]] = {label: {} for label in job.boxes}
    if job.shapes:
        for label, row in shapes(job.plane_of, job.boxes, job.shapes, job.grid):
            found[label] |= row
    for image, names in job.images:
        for column, values in intensities(job.plane_of, job.boxes, names, image).items():
            for label, value in values.items():
                found[label][column] = value
    return found
