"""Labels and table of a plane of a finished run, for other thresholds than those of the run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Candidates, Masks
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.region import Region, RegionCandidates, RegionResult, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.tiled_plane import TiledPlane
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.review.ids import IdBook


@dataclass(frozen=True, slots=True, eq=False)
class Refiltered:
    """A plane as a run with these parameters would give it, but for the ids, which stay."""

    index: Index
    params: AmgParameters
    labels: NDArray[np.int32]  # (H, W)
    features: pd.DataFrame  # one row per label in the order of painting, see table.plane_table; ``index`` is the id
    masks: Masks  # before overlaps were resolved
    hidden_by_overlap: int  # masks without a label, since others cover them or lie in them
    too_large: int = 0  # objects without a label that may be larger than the crops, or tiles


class TiledMemo:
    """The same of a plane that was taken tile by tile; ``tiles`` in the order of work. Nothing is remembered."""

    size = 0

    def __init__(self, tiles: Sequence[RegionCandidates], units: Units) -> None:
        self._tiles, self._units = tiles, units

    def finish(self, params: AmgParameters) -> RegionResult:
        """As a run does it."""
        grid = grid_of([tile.region for tile in self._tiles])
        plane = TiledPlane(grid, params, self._units.pixel_size, self._units.area_column)
        *_, whole = (result for tile in self._tiles for result in plane.add(tile))
        return whole


def grid_of(regions: Iterable[Region]) -> list[list[Region]]:
    """Tiles of a plane, row by row."""
    return [list(row) for _, row in groupby(regions, key=lambda region: region.rows)]


def in_one(tiles: Sequence[RegionCandidates]) -> RegionCandidates:
    """What was proposed for all tiles of a plane, in the plane's frame: to be looked at, not to be made labels of."""
    if len(tiles) == 1:
        return tiles[0]
    region = tiles[0].region
    whole = whole_plane(region.index, region.plane_size)
    found = [(tile.region, tile.found) for tile in tiles if isinstance(tile.found, StoredCandidates)]
    if not found:
        nothing = tiles[0].nothing if all(tile.nothing for tile in tiles) else ""
        return RegionCandidates(whole, None, nothing=nothing, failure=tiles[0].failure)
    crops = tuple(_moved(crop, _corner(tile)) for tile, stored in found for crop in stored.crops)
    points = [stored.asked + _corner(tile) for tile, stored in found if stored.asked is not None]
    asked = np.concatenate(points).astype(np.float32) if points else None
    return RegionCandidates(whole, StoredCandidates(found[0][1].params, region.plane_size, crops, asked=asked))


def _corner(tile: Region) -> NDArray[np.int64]:
    """(x, y) of a tile's window in the plane."""
    rows, columns = tile.window
    return np.array([columns.start, rows.start])


def _moved(candidates: Candidates, corner: NDArray[np.int64]) -> Candidates:
    """From the frame of a tile's window to that of the plane."""
    return replace(
        candidates,
        boxes=candidates.boxes + np.tile(corner, 2),
        points=candidates.points + corner,
        crop_boxes=candidates.crop_boxes + np.tile(corner, 2),
    )


def with_ids(result: RegionResult, params: AmgParameters, ids: IdBook) -> Refiltered:
    """The result of a plane, its ids 1, 2, ... replaced by those that stay."""
    index = result.candidates.region.index
    numbers = ids.ids(index, result.features)
    labels = np.concatenate([[0], numbers]).astype(np.int32)[result.labels]
    features = result.features.assign(index=numbers)
    hidden = len(result.masks) - len(numbers)
    return Refiltered(index, params, labels, features, result.masks, hidden, result.too_large)
