"""A label volume on the disk with other labels over some of its planes, which are kept apart, packed."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from napari_sam_amg.io.label_volume import DTYPE
from napari_sam_amg.io.ngff import ome_attributes, read_multiscale

Index = tuple[int, ...]  # of a plane along all axes of the volume but the last two
BUDGET = 256 * 2**20  # bytes of packed planes in memory; more of them lie in files


class PackedPlane:
    """Labels (H, W) int32, compressed: .1 to .3 MB for 2048 x 2048 pixels with 400 discs. Threads may share it."""

    def __init__(self, content: bytes, shape: tuple[int, int]) -> None:
        self._content: bytes | Path = content
        self.shape, self.size = shape, len(content)  # bytes

    @classmethod
    def of(cls, labels: NDArray[np.int32]) -> Self:
        height, width = labels.shape
        return cls(bytes(_codec().encode(np.ascontiguousarray(labels, np.int32))), (height, width))

    def labels(self) -> NDArray[np.int32]:
        content = self._content
        packed = content.read_bytes() if isinstance(content, Path) else content
        return np.frombuffer(_codec().decode(packed), np.int32).reshape(self.shape)

    def move_to(self, folder: Path) -> None:
        """Into a file, which goes with this object."""
        if isinstance(self._content, bytes):
            path = folder / uuid4().hex
            path.write_bytes(self._content)
            self._content = path
            weakref.finalize(self, path.unlink, missing_ok=True)


def _codec() -> Any:
    from numcodecs import Blosc

    return Blosc("zstd", 1, Blosc.BITSHUFFLE)


class PatchedLabels:
    """What is shown of a volume whose files have other labels in some planes."""

    def __init__(self, path: Path, budget: int = BUDGET) -> None:
        self.path, self._budget = path, budget
        self._over: dict[Index, PackedPlane] = {}
        self.folder: Path | None = None  # of planes beyond the budget; it goes with this object

    def put(self, planes: Mapping[Index, PackedPlane]) -> None:
        """Over those of the file, and of before. ``OSError`` if they fit neither into memory nor on the disk."""
        used = sum(plane.size for index, plane in self._over.items() if index not in planes)
        for plane in planes.values():
            used += plane.size
            if used > self._budget:
                plane.move_to(self.folder or self._make_folder())
        self._over = {**self._over, **planes}

    def _make_folder(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="napari-sam-amg-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        return self.folder

    def clear(self) -> None:
        """The files have all of it."""
        self._over = {}

    def levels(self) -> list[da.Array]:
        """As they are now, the finest first: arrays (..., Y, X) uint32 that no cache of dask's knows."""
        group = zarr.open_group(self.path, mode="r")
        paths = read_multiscale(ome_attributes(group)).paths
        return [_array(_Level(group[name], self._over, 2**level)) for level, name in enumerate(paths)]


class _Level:
    """A level of the volume, of which dask asks for one chunk at a time: a part of one plane."""

    def __init__(self, array: Any, over: Mapping[Index, PackedPlane], step: int) -> None:
        """``over``: by index; ``step``: coarser levels have every n-th pixel."""
        self.array, self._over, self._step = array, over, step
        self.shape, self.ndim, self.dtype = tuple(array.shape), len(array.shape), DTYPE

    def __getitem__(self, where: tuple[Any, ...]) -> NDArray[Any]:
        """``where``: a slice or a position along each axis, all within one plane: dask asks for chunks, or for less."""
        stack = where[:-2]
        packed = self._over.get(tuple(part.start if isinstance(part, slice) else int(part) for part in stack))
        if packed is None:
            return np.asarray(self.array[where])
        plane = packed.labels()[:: self._step, :: self._step].astype(DTYPE)[(None,) * len(stack)]
        first = tuple(slice(0, part.stop - part.start) if isinstance(part, slice) else 0 for part in stack)
        return plane[(*first, *where[-2:])]


def _array(level: _Level) -> da.Array:
    meta = np.empty((0,) * level.ndim, DTYPE)
    return da.from_array(level, chunks=level.array.chunks, name=f"labels-{uuid4().hex}", asarray=False, meta=meta)
