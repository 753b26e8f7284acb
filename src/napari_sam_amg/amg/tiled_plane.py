"""One plane that comes tile by tile: what the tiles found goes in, finished bands of rows come out.

Memory holds what is undecided, and no more: masks at the seam to the next row of tiles, and those around them.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.ais import painting_rules
from napari_sam_amg.amg.generate import refilter
from napari_sam_amg.amg.masks import Masks, joined_masks, no_masks
from napari_sam_amg.amg.plane_images import FAILURES
from napari_sam_amg.amg.planes import WHOLE_PIXELS
from napari_sam_amg.amg.region import Region, RegionCandidates, RegionResult, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.table import joined as joined_tables
from napari_sam_amg.amg.tile_painting import PaintedObjects, Painter, paint_window
from napari_sam_amg.amg.tile_seams import MOST_WINDOWS, TileMasks, find_links, joined, merge_tiles, placed, resolve
from napari_sam_amg.errors import in_words, is_out_of_memory
from napari_sam_amg.params import AmgParameters

SAID = 3  # tiles that failed and are named


def overview_step(size: tuple[int, int]) -> int:
    """Every how manieth pixel, along both sides, is in the image of a plane that comes in parts."""
    return max(1, math.ceil(math.sqrt(math.prod(size) / WHOLE_PIXELS)))


def tile_masks(candidates: RegionCandidates, params: AmgParameters) -> Masks:
    """The masks of one tile, in the frame of the plane. Raises ``ValueError`` as ``refilter`` does."""
    found = candidates.found
    if isinstance(found, StoredCandidates):
        found = refilter(found, params)
    found = no_masks(candidates.region.size) if found is None else found
    return placed(found, candidates.region, painting_rules(params))


class Merger:
    """Decides which masks of a plane stay, row of tiles by row of tiles."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._waiting = joined([], size)
        self._size = size
        self.missing = 0  # objects that are too large to be joined, of what is decided

    def add(self, row: TileMasks, next_top: float) -> TileMasks:
        """The masks that are decided now; ``next_top``: the first row of the plane that the next tiles see."""
        found = joined([self._waiting, row], self._size)
        links = find_links(found)
        groups = links.groups()
        boxes = found.masks.boxes
        waits = np.zeros(len(found) + 1, bool)
        waits[groups[boxes[:, 3] >= next_top]] = True
        # what hangs together over rows and rows of tiles is decided as far as it is known
        heights = found.masks.crop_boxes[:, 3] - found.masks.crop_boxes[:, 1]
        waits[groups[boxes[:, 1] < next_top - MOST_WINDOWS * heights]] = False
        open_rows = waits[groups]
        self._waiting = found.select(open_rows)
        decided, missing = resolve(found.select(~open_rows), links.among(~open_rows))
        self.missing += missing
        return decided

    @property
    def undecided_from(self) -> float:
        """The first row of the plane with a mask that is not decided."""
        return float(self._waiting.masks.boxes[:, 1].min()) if len(self._waiting) else np.inf


class TiledPlane:
    """``grid``: the tiles of one plane, see :func:`tiling.tiles`; they come in its order."""

    def __init__(
        self,
        grid: list[list[Region]],
        params: AmgParameters,
        pixel_size: tuple[float, float] | None = None,
        area_column: str = "area_physical",
    ) -> None:
        self._grid, self._params = grid, params
        self._columns = len(grid[0])
        self._size = size = grid[0][0].plane_size
        self._merger = Merger(size)
        self._painter = Painter(grid, params, pixel_size, area_column)
        self._came = self._bands = self._rank = 0
        self._row: list[TileMasks] = []
        self._objects: list[PaintedObjects] = []  # that may reach into bands which are not given yet
        self._tables: list[tuple[pd.DataFrame, Masks]] = []  # of rows of tiles whose bands are not given yet
        self._nothing: dict[str, int] = {}  # why tiles were not asked about, and how many
        self._failed: list[tuple[Region, Exception]] = []
        self._held: list[RegionResult] = []  # until a tile has not failed, or the plane is one result
        self._image: NDArray[np.uint8] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its bands are joined."""
        return self._size[0] * self._size[1] <= WHOLE_PIXELS

    def add(self, candidates: RegionCandidates) -> list[RegionResult]:
        """What is finished now that the next tile is there: bands over the whole width, or at the end all in one."""
        self._row.append(self._masks_of(candidates))
        self._came += 1
        if self._came % self._columns:
            return []
        done = self._came // self._columns
        next_top = self._grid[done][0].window[0].start if done < len(self._grid) else np.inf
        decided = self._merger.add(joined(self._row, self._size), next_top)
        self._row = []
        self._painter.add(decided)
        above = min(next_top, self._merger.undecided_from)
        for objects, masks in self._painter.paint(above):
            self._objects.append(objects)
            self._tables.append((objects.table, masks))
        self._held += self._finished_bands(min(above, self._painter.unpainted_from))
        return self._give()

    def _masks_of(self, candidates: RegionCandidates) -> TileMasks:
        failure, masks = candidates.failure, no_masks(self._size)
        if candidates.nothing:
            self._nothing[candidates.nothing] = self._nothing.get(candidates.nothing, 0) + 1
        try:
            masks = tile_masks(candidates, self._params)
        except FAILURES as error:
            if is_out_of_memory(error):
                raise
            failure = error
        if failure is not None:
            self._failed.append((candidates.region, failure))
        self._keep_image(candidates)
        ranks = self._rank + np.arange(len(masks))
        self._rank += len(masks)
        return TileMasks(masks, np.full(len(masks), self._came), ranks)

    def _keep_image(self, candidates: RegionCandidates) -> None:
        """All of it, or of a plane that is not held as a whole every n-th pixel."""
        if candidates.image is None:
            return
        step = overview_step(self._size)
        if self._image is None:
            self._image = np.zeros((-(-self._size[0] // step), -(-self._size[1] // step), 3), np.uint8)
        offsets = [-side.start % step for side in candidates.region.window]
        some = candidates.image[offsets[0] :: step, offsets[1] :: step]
        top, left = (-(-side.start // step) for side in candidates.region.window)
        self._image[top : top + some.shape[0], left : left + some.shape[1]] = some

    def _finished_bands(self, below: float) -> Iterator[RegionResult]:
        """Bands of the plane into which no more object will reach."""
        while self._bands < min(len(self._grid), len(self._tables) + self._bands):
            first = self._grid[self._bands][0]
            bottom = first.rows[1]
            if bottom > below:
                return
            band = Region(first.index, first.rows, (0, self._size[1]), self._size)
            labels = np.zeros(band.size, np.int32)
            for objects in self._objects:
                paint_window(objects, band.rows, band.columns, labels)
            self._objects = [some for some in self._objects if len(some.boxes) and some.boxes[:, 3].max() >= bottom]
            table, masks = self._tables.pop(0)
            self._bands += 1
            yield RegionResult(RegionCandidates(band, None), masks, labels, table, is_last=False)

    def _give(self) -> list[RegionResult]:
        is_last = self._came == len(self._grid) * self._columns
        if not is_last and (self.is_whole or len(self._failed) == self._came):
            return []
        given, self._held = self._held, []
        if not is_last:
            return given
        if self.is_whole or len(self._failed) == self._came:
            return [self._joined(given)]
        return [*given[:-1], self._closed(given[-1])]

    def _joined(self, bands: list[RegionResult]) -> RegionResult:
        """The whole plane, or what there is to say of one that failed."""
        labels = bands[0].labels if len(bands) == 1 else np.concatenate([band.labels for band in bands])
        whole = RegionResult(
            RegionCandidates(whole_plane(bands[0].candidates.region.index, self._size), None),
            joined_masks([band.masks for band in bands]),
            labels,
            joined_tables([band.features for band in bands]),
        )
        return self._closed(whole)

    def _closed(self, last: RegionResult) -> RegionResult:
        """The last result of the plane, which says what is to be said of all of it."""
        count = len(self._grid) * self._columns
        nothing = next(iter(self._nothing), "") if sum(self._nothing.values()) == count else ""
        if len(self._nothing) > 1 and nothing:
            nothing = "each tile is of one value"
        failure = self._failed[0][1] if len(self._failed) == count else None
        candidates = replace(last.candidates, nothing=nothing, failure=failure, image=self._image)
        problem = "" if failure is not None else self._problem(count)
        return replace(last, candidates=candidates, too_large=self._merger.missing, is_last=True, problem=problem)

    def _problem(self, count: int) -> str:
        """Which tiles failed and why, the first of them if they are many."""
        if not self._failed:
            return ""
        some = [
            f"rows {region.rows[0]} to {region.rows[1] - 1}, columns {region.columns[0]} to {region.columns[1] - 1}: "
            f"{in_words(error)}"
            for region, error in self._failed[:SAID]
        ]
        more = [f"and {len(self._failed) - SAID} more"] if len(self._failed) > SAID else []
        return f"{len(self._failed)} of {count} tiles failed: {', '.join([*some, *more])}"


class TiledCandidates:
    """As :class:`TiledPlane`, for those who need all masks of a plane at once: nothing is painted.

    ``params``: those with which duplicates are removed in each tile.
    """

    def __init__(self, grid: list[list[Region]], params: AmgParameters) -> None:
        self._tiled, self._found = TiledPlane(grid, params), list[TileMasks]()
        self._region = whole_plane(grid[0][0].index, grid[0][0].plane_size)
        self._count = len(grid) * len(grid[0])

    def add(self, candidates: RegionCandidates) -> RegionCandidates | None:
        """The candidates of the plane, its masks, once the last tile is there."""
        self._found.append(self._tiled._masks_of(candidates))
        self._tiled._came += 1
        if len(self._found) < self._count:
            return None
        merged, missing = merge_tiles(joined(self._found, self._region.plane_size))
        empty = np.zeros((0, 0), np.int32)
        whole = RegionResult(RegionCandidates(self._region, None), merged.masks, empty, pd.DataFrame())
        closed = self._tiled._closed(whole)
        return replace(closed.candidates, found=merged.masks, problem=closed.problem, too_large=missing)
