"""A plane made again and again for other thresholds: what does not depend on them is remembered."""

import threading

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.fragments import without_strays
from napari_sam_amg.amg.generate import cut_off, surviving
from napari_sam_amg.amg.labels import LabelPlane, paint
from napari_sam_amg.amg.masks import Candidates, Masks, concatenate, no_candidates
from napari_sam_amg.amg.region import RegionCandidates, RegionResult, finish
from napari_sam_amg.amg.regions import Cleaned, clean_one, without_duplicates
from napari_sam_amg.amg.seams import count_missing
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.table import plane_table
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters

BoolImage = NDArray[np.bool_]


class PlaneMemo:
    """The candidates of one plane, and what was found out about each. Threads may share it."""

    def __init__(self, candidates: RegionCandidates, units: Units) -> None:
        self._candidates, self._units = candidates, units
        self._lock = threading.Lock()
        self._found = candidates.found if isinstance(candidates.found, StoredCandidates) else None
        crops = () if self._found is None else self._found.crops
        self._table: Candidates = concatenate([no_candidates(), *crops])
        self._areas = self._table.areas.astype(np.int64)
        self._cutouts: list[BoolImage | None] = [None] * len(self._table)
        self._cleaned: dict[int, Cleaned] = {}  # by row, of one min_mask_region_area
        self._cleaned_by = 0
        #: By row, of what was free the last time, in bytes; None if it was all of that.
        self._pieces: dict[int, tuple[bytes, BoolImage | None]] = {}
        self._pieces_by: tuple[str, int] = "", 0  # the rule for pieces, of all of them
        sides = self._table.boxes[:, 2:] - self._table.boxes[:, :2] + 1
        #: Bytes that it takes when everything is remembered, about: a pixel of a box is a byte, in three arrays.
        self.size = int(3 * sides.prod(axis=1).sum()) + 1000 * len(self._table)

    def finish(self, params: AmgParameters) -> RegionResult:
        """As :func:`~napari_sam_amg.amg.region.finish`, bit for bit."""
        found, units = self._found, (self._units.pixel_size, self._units.area_column)
        if found is None:
            return finish(self._candidates, params, *units)
        with self._lock:
            masks, rows = self._masks(found, params)
            painted = self._painted(masks, rows, params, None if params.min_mask_region_area else self._areas[rows])
            missing = count_missing(cut_off(found, params), painted.labels)
            table = plane_table(masks, painted, self._candidates.region.index, *units)
            too_large = self._candidates.too_large + missing
            return RegionResult(self._candidates, masks, painted.labels, table, too_large)

    def _masks(self, found: StoredCandidates, params: AmgParameters) -> tuple[Masks, NDArray[np.int64]]:
        """As ``generate.refilter``, and which candidates they are."""
        rows, table = surviving(found, params), self._table
        masks = Masks(
            table.boxes[rows],
            table.predicted_iou[rows],
            table.stability_score[rows],
            table.points[rows],
            table.crop_boxes[rows],
            cutouts=[self._cutout(row) for row in rows.tolist()],
            size=found.size,
        )
        area = params.min_mask_region_area
        if not area or not len(masks):
            return masks, rows
        if area != self._cleaned_by:
            self._cleaned, self._cleaned_by = {}, area
        for place, row in enumerate(rows.tolist()):
            if row not in self._cleaned:
                self._cleaned[row] = clean_one(masks, place, area)
        masks, kept = without_duplicates(masks, [self._cleaned[row] for row in rows.tolist()], params)
        return masks.select(kept), rows[kept]

    def _cutout(self, row: int) -> BoolImage:
        cutout = self._cutouts[row]
        if cutout is None:
            cutout = self._cutouts[row] = self._table.cutout(row)
        return cutout

    def _painted(
        self, masks: Masks, rows: NDArray[np.int64], params: AmgParameters, areas: NDArray[np.int64] | None
    ) -> LabelPlane:
        rule = params.label_pieces, params.smallest_piece
        if rule != self._pieces_by:
            self._pieces, self._pieces_by = {}, rule

        def pieces(place: int, free: BoolImage) -> BoolImage:
            """Of most masks as much is free as the last time."""
            row, now = int(rows[place]), free.tobytes()
            before, kept = self._pieces.get(row, (b"", None))
            if before != now:
                left = without_strays(free, params)
                kept = None if left is free else left
                self._pieces[row] = now, kept
            return free if kept is None else kept

        return paint(masks, params, pieces=pieces, areas=areas)
