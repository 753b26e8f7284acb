"""Candidates of regions, in their order, to results: each plane by itself, or as a part of objects through planes."""

from typing import Protocol

from napari_sam_amg.amg.assemble import Assembler, PlaneResult
from napari_sam_amg.amg.region import Region, RegionCandidates, finish
from napari_sam_amg.amg.tiled_plane import TiledCandidates, TiledPlane
from napari_sam_amg.objects.linker import Linker
from napari_sam_amg.objects.support import loosened
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters


class Results(Protocol):
    """Takes plane by plane, and gives results at once or later."""

    def begin(self, grid: list[list[Region]]) -> None:
        """The regions of the plane that comes next."""

    def add(self, candidates: RegionCandidates) -> list[PlaneResult]: ...

    def end(self) -> list[PlaneResult]:
        """What is left. Raises the first failure if no plane succeeded."""


def results_of(params: AmgParameters, axis: int | None, units: Units) -> Results:
    """``axis``: the one of the stack that objects go through; None if they go through none."""
    return SinglePlanes(params, units) if axis is None else LinkedPlanes(params, axis, units)


class SinglePlanes:
    """Every plane by itself."""

    def __init__(self, params: AmgParameters, units: Units) -> None:
        self._params, self._size, self._assembler = params, (units.pixel_size, units.area_column), Assembler(params)
        self._tiled: TiledPlane | None = None

    def begin(self, grid: list[list[Region]]) -> None:
        self._tiled = TiledPlane(grid, self._params, *self._size) if _is_tiled(grid) else None

    def add(self, candidates: RegionCandidates) -> list[PlaneResult]:
        found = self._tiled.add(candidates) if self._tiled else [finish(candidates, self._params, *self._size)]
        return [result for region_result in found for result in self._assembler.add(region_result)]

    def end(self) -> list[PlaneResult]:
        self._assembler.check()
        return []


class LinkedPlanes:
    """Objects through planes, each of which is needed as a whole."""

    def __init__(self, params: AmgParameters, axis: int, units: Units) -> None:
        self._params, self._linker = params, Linker(params, axis, units)
        self._tiled: TiledCandidates | None = None

    def begin(self, grid: list[list[Region]]) -> None:
        self._tiled = TiledCandidates(grid, loosened(self._params)) if _is_tiled(grid) else None

    def add(self, candidates: RegionCandidates) -> list[PlaneResult]:
        whole = self._tiled.add(candidates) if self._tiled else candidates
        return [] if whole is None else self._linker.add(whole)

    def end(self) -> list[PlaneResult]:
        return self._linker.end()


def _is_tiled(grid: list[list[Region]]) -> bool:
    return len(grid) * len(grid[0]) > 1
