"""Labels of a plane whose masks come tile by tile, painted as if all had been there at once.

Which pixels a mask gets depends on the masks that it overlaps, on those that these overlap and so on, but never on all
of a plane. So each tile is painted apart, with all masks around it that may decide about its own,
and only its own are taken: those whose box has its middle in the tile's core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from napari_sam_amg.amg.ais import painting_rules
from napari_sam_amg.amg.labels import LabelPlane, paint, priority
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.near_boxes import near_pairs, neighbours
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.region import Region
from napari_sam_amg.amg.seams import cut_at_crop_edge
from napari_sam_amg.amg.table import joined as joined_tables
from napari_sam_amg.amg.table import plane_table
from napari_sam_amg.amg.tile_seams import TileMasks, joined
from napari_sam_amg.params import AmgParameters

#: How many steps, from a mask to those that its box touches, others decide about it besides who paints first. A hole
#: is filled by what lies in the box (1); these may have gained what a neighbour lost (2), which went to the longest
#: border beside it (3), and a ring on that border was dropped by what lies in its box (4).
STEPS = 4

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PaintedObjects:
    """Objects of a plane with the pixels that their labels own, in the order of their ids from 1."""

    boxes: NDArray[np.int64]  # (n, 4) XYXY of the plane, last pixels included
    cutouts: list[Bools]  # n, each the pixels inside its box
    ids: NDArray[np.int64]  # (n,)
    table: pd.DataFrame  # one row each, see table.plane_table


def paint_window(
    objects: PaintedObjects, rows: tuple[int, int], columns: tuple[int, int], labels: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Labels of a part of a plane: (height, width) int32, or ``labels``, which is painted over.

    ``rows``, ``columns``: its first, and the first one behind. Objects of the whole plane may be given, or any that
    reach into it: windows painted apart are those of the plane.
    """
    (top, bottom), (left, right) = rows, columns
    labels = np.zeros((bottom - top, right - left), np.int32) if labels is None else labels
    x0, y0, x1, y1 = objects.boxes.T
    inside = (x0 < right) & (x1 >= left) & (y0 < bottom) & (y1 >= top)
    for row in np.flatnonzero(inside).tolist():
        a, b, c, d = objects.boxes[row].tolist()
        part = objects.cutouts[row][max(top - b, 0) : bottom - b, max(left - a, 0) : right - a]
        labels[max(b - top, 0) : d + 1 - top, max(a - left, 0) : c + 1 - left][part] = objects.ids[row]
    return labels


class Painter:
    """Paints the tiles of one plane, row by row. ``grid``: its tiles, a list for each row of them."""

    def __init__(
        self,
        grid: list[list[Region]],
        params: AmgParameters,
        pixel_size: tuple[float, float] | None = None,
        area_column: str = "area_physical",
    ) -> None:
        self._grid, self._params = grid, painting_rules(params)
        self._table_options = pixel_size, area_column
        self._bottoms = np.array([row[0].rows[1] for row in grid])
        self._rights = np.array([region.columns[1] for region in grid[0]])
        self._size = grid[0][0].plane_size
        self._masks = joined([], self._size)
        self._row = 0  # of tiles, the next to be painted
        self._last_id = 0

    @property
    def unpainted_from(self) -> float:
        """The first row of the plane of which objects may come that are not painted yet, of the masks that are here."""
        tops = self._masks.masks.boxes[self._owners()[0] >= self._row, 1]
        return float(tops.min()) if len(tops) else np.inf

    def add(self, masks: TileMasks) -> None:
        """Masks of the plane, each once."""
        self._masks = joined([self._masks, masks], self._size)

    def paint(self, decided_above: float) -> Iterator[tuple[PaintedObjects, Masks]]:
        """The objects of rows of tiles, and all masks behind them, as many rows as can be told.

        ``decided_above``: a row of the plane; all masks that reach above it were added.
        """
        context = _Context.of(self._masks, self._params)
        tile_rows, tile_columns = self._owners()
        while self._row < len(self._grid):
            here = tile_rows == self._row
            contexts = [context.around(here & (tile_columns == column)) for column in range(len(self._rights))]
            reach = max((int(self._masks.masks.boxes[some, 3].max()) for some in contexts if some.any()), default=-1)
            if max(reach + 1, self._bottoms[self._row] - 1) >= decided_above:
                break
            parts = [
                self._paint_tile(some, here & (tile_columns == column), context, self._grid[self._row][column].index)
                for column, some in enumerate(contexts)
            ]
            own = self._masks.select(np.flatnonzero(here)[np.argsort(self._masks.ranks[here])])
            self._row += 1
            yield _joined(parts), own.masks
        waiting = (tile_rows >= self._row) | (self._masks.masks.boxes[:, 3] + 1 >= decided_above)
        self._masks = self._masks.select(context.around(waiting))

    def _owners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the tile in whose core the middle of each mask's box lies."""
        x, y = (self._masks.masks.boxes.reshape(-1, 2, 2).sum(axis=1) // 2).T
        return np.searchsorted(self._bottoms, y, side="right"), np.searchsorted(self._rights, x, side="right")

    def _paint_tile(self, some: Bools, own: Bools, context: "_Context", index: Index) -> PaintedObjects:
        """Paint ``some`` of the masks, and take what becomes of its ``own``."""
        rows = np.flatnonzero(some)
        rows = rows[np.argsort(self._masks.ranks[rows])]
        masks = self._masks.masks.select(rows)
        boxes, (height, width) = masks.boxes, self._size
        # with a pixel around them, where the plane goes on: a hole at the edge of an image is none
        x0, y0 = np.maximum(boxes[:, :2] - 1, 0).min(axis=0).tolist() if len(boxes) else (0, 0)
        x1, y1 = np.minimum(boxes[:, 2:] + 2, (width, height)).max(axis=0).tolist() if len(boxes) else (1, 1)
        shifted = replace(masks, boxes=boxes - [x0, y0, x0, y0], size=(y1 - y0, x1 - x0))
        painted = _only(own[rows], paint(shifted, self._params, context.cut[rows]))
        table = plane_table(shifted, painted, index, *self._table_options)
        boxes = table[["bbox_x0", "bbox_y0", "bbox_x1", "bbox_y1"]].to_numpy(np.int64) - [0, 0, 1, 1]
        cutouts = [
            painted.labels[top : bottom + 1, left : right + 1] == label
            for label, (left, top, right, bottom) in enumerate(boxes.tolist(), 1)
        ]
        for axis, start in (("x", x0), ("y", y0)):
            table[[f"centroid_{axis}", f"bbox_{axis}0", f"bbox_{axis}1"]] += start
        ids = self._last_id + np.arange(1, len(table) + 1)
        table["index"] = ids
        self._last_id += len(table)
        return PaintedObjects(boxes + np.array([x0, y0, x0, y0]), cutouts, ids, table)


def _only(own: Bools, painted: LabelPlane) -> LabelPlane:
    """Without the labels of other masks, the ids of those behind moved up."""
    kept = own[painted.rows]
    new = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return LabelPlane(
        new[painted.labels],
        painted.rows[kept],
        painted.shown[kept],
        painted.visible[kept],
        painted.areas[kept],
        painted.cut[kept],
    )


def _joined(parts: list[PaintedObjects]) -> PaintedObjects:
    return PaintedObjects(
        np.concatenate([part.boxes for part in parts]),
        [cutout for part in parts for cutout in part.cutouts],
        np.concatenate([part.ids for part in parts]),
        joined_tables([part.table for part in parts]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Context:
    """Which masks decide about which."""

    cut: Bools  # (M,) masks that the edge of a tile or crop may have cut
    beside: "csr_array[Any]"  # (M, M) whose boxes touch or overlap
    before: "csr_array[Any]"  # (M, M) which overlap and are painted before: column before row

    @classmethod
    def of(cls, masks: TileMasks, params: AmgParameters) -> "_Context":
        cut = cut_at_crop_edge(masks.masks)
        in_order = np.argsort(masks.ranks)
        order = in_order[priority(masks.masks.select(in_order), masks.masks.areas[in_order], cut[in_order], params)]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        pairs = near_pairs(masks.masks.boxes, gap=1)
        later = place[pairs[:, 0]] > place[pairs[:, 1]]
        first, second = np.where(later, pairs[:, 1], pairs[:, 0]), np.where(later, pairs[:, 0], pairs[:, 1])
        size = (len(order), len(order))
        before = csr_array((np.ones(len(pairs), np.int32), (second, first)), shape=size)
        return cls(cut, neighbours(pairs, len(order)), before)

    def around(self, own: Bools) -> Bools:
        """(M,) all that may decide about some masks, these among them."""
        some = own.copy()
        for _ in range(STEPS):
            some |= _columns(self.beside, some)
        while True:
            more = some | _columns(self.before, some)
            if (more == some).all():
                return some
            some = more


def _columns(pairs: "csr_array[Any]", rows: Bools) -> Bools:
    """(M,) the columns of a table that have an entry in one of some rows."""
    found: Bools = (rows.astype(np.int32) @ pairs) > 0
    return found
