"""An image to segment into files: a file, or pixels that are open elsewhere, such as a layer of napari."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.read_once import read_once
from napari_sam_amg.hashes import hash_file
from napari_sam_amg.io.images import image_kind, open_image
from napari_sam_amg.io.raw_image import Geometry, RawImage, SourceImage, choose_channel
from napari_sam_amg.io.watched import FileState
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import sizes


@dataclass(frozen=True, slots=True)
class Reading:
    """How an image is read."""

    channel: int | None = None
    series: int | None = None  # None: the main image of a file
    geometry: Geometry = Geometry()  # what is not as the file says


class Image(Protocol):
    """What a run needs of an image; its methods raise ``ValueError`` or ``OSError`` in words."""

    def opened(self, reading: Reading, params: AmgParameters) -> AbstractContextManager[SourceImage]:
        """Planes can be read as long as the context lasts."""

    def hashed(self) -> str:
        """What tells this image from any other."""

    def check(self, in_place: bool = False) -> None:
        """Raise if it was changed since it was first seen; ``in_place``: but not if another one replaced it."""

    def about(self, sha256: str) -> dict[str, Any]:
        """For the record."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file, or a folder that holds a Zarr."""

    path: Path
    state: FileState

    @classmethod
    def of(cls, path: Path) -> "ImageFile":
        image_kind(path)  # before the file is read as a whole: it may be a pipe, or no image
        return cls(path, FileState.of(path))

    def opened(self, reading: Reading, params: AmgParameters) -> AbstractContextManager[SourceImage]:
        return open_image(self.path, reading.channel, reading.series, reading.geometry, params)

    def hashed(self) -> str:
        sha256 = hash_file(self.path)
        self.check()  # so that the hash is that of the file which is open
        return sha256

    def check(self, in_place: bool = False) -> None:
        (self.state.check_in_place if in_place else self.state.check)(self.path)

    def about(self, sha256: str) -> dict[str, Any]:
        size = sizes([self.path])[self.path.name] if self.path.is_dir() else self.state.size
        return {"path": str(self.path.resolve()), "bytes": size, "sha256": sha256}


@dataclass(frozen=True, slots=True, eq=False)
class OpenImage:
    """Pixels that are there already. ``look`` is called between planes that are read, and may raise to stop that."""

    raw: RawImage
    record: Mapping[str, Any] = field(default_factory=dict)  # where they are from, as JSON has it
    look: Callable[[], None] = lambda: None

    @contextmanager
    def opened(self, reading: Reading, params: AmgParameters) -> Iterator[SourceImage]:
        given = reading.geometry
        source = choose_channel(given.applied_to(self.raw), reading.channel, given.plane, dict(given.ranges))
        yield replace(source, stack=read_once(source.stack))

    def hashed(self) -> str:
        """Of shape, type and pixels, read plane by plane."""
        data, axes = self.raw.data, self.raw.axes
        digest = hashlib.sha256(f"{axes} {tuple(data.shape)} {np.dtype(data.dtype)}".encode())
        stack = read_once(PlaneStack(data, axes.endswith("S")))
        for index in stack.indices:
            self.look()
            digest.update(np.ascontiguousarray(stack.plane(index)).data)
        return digest.hexdigest()

    def check(self, in_place: bool = False) -> None:
        """Who opened it keeps it as it is."""

    def about(self, sha256: str) -> dict[str, Any]:
        return {**self.record, "sha256": sha256}
