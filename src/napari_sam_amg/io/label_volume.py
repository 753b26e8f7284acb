"""Labels as OME-NGFF, written chunk by chunk, by one process or by several. The library ome-zarr writes the metadata.

A chunk is a part of one plane, and has one writer; chunks of zeros leave no file.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.io.ngff import Spacing, ome_attributes, read_multiscale

if TYPE_CHECKING:
    import zarr
    from ome_zarr.format import Format

DTYPE = np.dtype(np.uint32)  # there is no time to see how many labels there will be
#: px of a chunk along Y and X: 4 MB, of labels about 20 kB on the disk. Planes of up to twice as many are one chunk:
#: viewers show a level that is about as large as the window, and read one chunk for it.
SIDE = 1024
COARSEST = 512  # px: the longer side of the last level
VERSIONS = ("0.5", "0.4")
OWN_KEY = "napari-sam-amg"  # of the attributes, by which a volume of ours is known
_SPACE, _TYPES = "ZYX", {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}

Bounds = tuple[int, int]  # the first position, and the one after the last


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """A chunk of a level."""

    level: int
    index: tuple[int, ...]  # of the plane
    rows: Bounds
    columns: Bounds


@dataclass(frozen=True, slots=True, eq=False)
class LabelVolume:
    """Labels (..., Y, X), with coarser levels beside them. Can be pickled, and opened again by its path."""

    path: Path
    axes: str  # a letter each
    levels: "tuple[zarr.Array[Any], ...]"  # the finest first

    @classmethod
    def create(
        cls,
        path: Path,
        shape: tuple[int, ...],
        axes: str,
        spacing: Mapping[str, Spacing] | None = None,
        version: str = VERSIONS[0],
        side: int = SIDE,
    ) -> Self:
        """An empty one, in a folder that does not exist yet. ``axes`` as :func:`ngff_axes` orders them.

        In the folder "labels" of an OME-Zarr image it becomes one of the labels of this image, which must be of the
        same ``version``, and has as many levels. ``side``: px of a chunk, where a plane has several.
        """
        import zarr
        from ome_zarr.format import format_from_version

        if version not in VERSIONS:
            raise ValueError(f"OME-NGFF version {version!r} is not allowed: choose from {', '.join(VERSIONS)}")
        if ngff_axes(axes) != axes:
            raise ValueError(f"axes {axes} are not in the order of OME-NGFF: allowed is {ngff_axes(axes)}")
        if len(shape) != len(axes) or min(shape) < 1:
            raise ValueError(f"labels of shape {shape} do not fit axes {axes}")
        fmt = format_from_version(version)
        count = _levels_of_image(path, fmt) or count_levels(shape)
        group = zarr.create_group(path, zarr_format=2 if fmt.zarr_format == 2 else 3)
        levels = tuple(_add_array(group, fmt, level, shape, axes, side) for level in range(count))
        _describe(group, fmt, axes, len(levels), spacing or {})
        return cls(path, axes, levels)

    @classmethod
    def open(cls, path: Path) -> Self:
        """One that was created, for writing. Raises ``ValueError`` or ``OSError`` for anything else."""
        import zarr

        group = zarr.open_group(path, mode="r+")
        if OWN_KEY not in group.attrs:
            raise ValueError(f"{path} is no label volume of napari-sam-amg")
        known = read_multiscale(ome_attributes(group))
        arrays = [group[name] for name in known.paths]
        return cls(path, "".join(known.axes).upper(), tuple(a for a in arrays if isinstance(a, zarr.Array)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.levels[0].shape)

    def write(self, index: tuple[int, ...], rows: Bounds, columns: Bounds, labels: NDArray[Any]) -> None:
        """Whole chunks of one plane: ``labels`` (rows, columns) of any integer type.

        Two processes may write at the same time, but not the same chunk. ``ValueError`` for parts of chunks.
        """
        array = self.levels[0]
        for (start, stop), length, side in zip((rows, columns), array.shape[-2:], array.chunks[-2:], strict=True):
            if start % side or not 0 <= start < stop <= length or (stop % side and stop != length):
                raise ValueError(f"pixels {start} to {stop} are not whole chunks of {side} px of {length} px")
        where: Any = (*index, slice(*rows), slice(*columns))
        array[where] = labels.astype(DTYPE)

    def write_plane(self, index: tuple[int, ...], labels: NDArray[Any]) -> None:
        """A whole plane (Y, X)."""
        height, width = self.shape[-2:]
        self.write(index, (0, height), (0, width), labels)

    def chunks(self, level: int = 0, plane: tuple[int, ...] | None = None) -> Iterator[ChunkPlace]:
        """All chunks of a level, in C order, or those of one plane."""
        array = self.levels[level]
        rows, columns = (_cut(length, side) for length, side in zip(array.shape[-2:], array.chunks[-2:], strict=True))
        planes: Iterable[tuple[int, ...]] = np.ndindex(array.shape[:-2]) if plane is None else [plane]
        for place in product(planes, rows, columns):
            yield ChunkPlace(level, *place)

    def reduce(self, place: ChunkPlace) -> None:
        """Write one chunk of a coarser level: every second pixel of the level above, which must be finished."""
        finer = self.levels[place.level - 1]
        source: Any = (*place.index, *(slice(2 * start, 2 * stop, 2) for start, stop in (place.rows, place.columns)))
        target: Any = (*place.index, slice(*place.rows), slice(*place.columns))
        self.levels[place.level][target] = finer[source]

    def reduce_plane(self, index: tuple[int, ...]) -> None:
        """The coarser levels of one plane, once its finest is written."""
        for level in range(1, len(self.levels)):
            for place in self.chunks(level, index):
                self.reduce(place)

    def pyramid(self) -> None:
        """All coarser levels, once the finest is written; a few chunks in memory at a time."""
        for level in range(1, len(self.levels)):
            for place in self.chunks(level):
                self.reduce(place)


class RowsOfPlanes:
    """Planes, or rows of planes from the top down, to whole chunks: what is none yet waits for more rows."""

    def __init__(self, volume: LabelVolume) -> None:
        self._volume = volume
        self._rest = np.zeros((0, volume.shape[-1]), np.int32)

    def write(self, index: tuple[int, ...], labels: NDArray[Any], rows: Bounds | None = None) -> None:
        """``labels`` of one plane, or of some ``rows`` of it."""
        height, width = self._volume.shape[-2:]
        first, last = rows or (0, height)
        start = first - len(self._rest) if first else 0
        whole = np.concatenate([self._rest, labels]) if first and len(self._rest) else labels
        side = self._volume.levels[0].chunks[-2]
        end = last if last == height else last // side * side
        if end > start:
            self._volume.write(index, (start, end), (0, width), whole[: end - start])
        self._rest = whole[max(end - start, 0) :].copy()


def is_label_volume(path: Path) -> bool:
    """Whether a folder is one of ours, by its metadata."""
    for name in ("zarr.json", ".zattrs"):
        try:
            if f'"{OWN_KEY}"' in (path / name).read_text("utf-8"):
                return True
        except (OSError, UnicodeDecodeError):
            continue
    return False


def ngff_axes(axes: str) -> str:
    """The axes in the order that OME-NGFF asks for: T, channels or one other axis, Z, Y, X.

    ``ValueError`` where it has no place for them.
    """
    others = [letter for letter in axes if letter not in "T" + _SPACE]
    space = [letter for letter in _SPACE if letter in axes]
    if len(set(axes)) < len(axes) or len(others) > 1 or len(space) < 2:
        raise ValueError(
            f"labels with axes {axes} cannot be an OME-Zarr: allowed are T, one other axis, and two or three of "
            "Z, Y and X; --axes names them"
        )
    return "".join(["T"] * ("T" in axes) + others + space)


def count_levels(shape: tuple[int, ...]) -> int:
    longest, levels = max(shape[-2:]), 1
    while longest > COARSEST:
        longest, levels = -(-longest // 2), levels + 1
    return levels


def _levels_of_image(path: Path, fmt: "Format") -> int:
    """How many the image has that labels at ``path`` belong to; 0 if there is none."""
    import zarr

    if path.parent.name != "labels":
        return 0
    try:
        image = zarr.open_group(path.parents[1], mode="r")
        levels = len(read_multiscale(ome_attributes(image)).paths)
    except (OSError, ValueError):
        return 0
    if image.metadata.zarr_format != fmt.zarr_format:
        raise ValueError(f"{path.parents[1]} is of Zarr {image.metadata.zarr_format}, OME-NGFF {fmt.version} is not")
    return levels


def _cut(length: int, side: int) -> list[Bounds]:
    return [(start, min(start + side, length)) for start in range(0, length, side)]


def _add_array(
    group: "zarr.Group", fmt: "Format", level: int, shape: tuple[int, ...], axes: str, side: int
) -> "zarr.Array[Any]":
    from numcodecs import Blosc
    from zarr.codecs import BloscCodec

    plane = tuple(-(-length // 2**level) for length in shape[-2:])
    is_old = fmt.zarr_format == 2
    return group.create_array(
        str(level),
        shape=(*shape[:-2], *plane),
        chunks=(*(1 for _ in shape[:-2]), *(plane if max(plane) <= 2 * side else (min(side, s) for s in plane))),
        dtype=DTYPE,
        fill_value=0,
        # neighbours are alike and ids are small: bytes of one weight together pack best
        compressors=Blosc("zstd", 5, Blosc.BITSHUFFLE) if is_old else BloscCodec(cname="zstd", shuffle="bitshuffle"),
        chunk_key_encoding=fmt.chunk_key_encoding,
        dimension_names=None if is_old else list(axes.lower()),
    )


def _describe(group: "zarr.Group", fmt: "Format", axes: str, levels: int, spacing: Mapping[str, Spacing]) -> None:
    """The metadata of the volume, and of the folder "labels" that it may lie in."""
    from ome_zarr.writer import add_metadata, write_label_metadata, write_multiscales_metadata

    described = []
    for letter in axes:
        axis = {"name": letter.lower()} | ({"type": _TYPES[letter]} if letter in _TYPES else {"type": "other"})
        unit = spacing[letter].unit if letter in spacing else ""
        described.append(axis | ({"unit": unit} if unit else {}))
    known = [spacing.get(letter, Spacing(1.0, "")) for letter in axes]
    # every second pixel stays where it is: levels are not shifted, as they are where pixels are averaged
    origin = [axis.origin for axis in known]
    moved = [{"type": "translation", "translation": origin}] if any(origin) else []
    datasets = []
    for level in range(levels):
        scale = [axis.length for axis in known]
        scale[-2:] = [length * 2**level for length in scale[-2:]]
        transforms = [{"type": "scale", "scale": scale}, *moved]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    folder = Path(str(group.store_path).removeprefix("file://"))
    write_multiscales_metadata(group, datasets, fmt, described, name=folder.name)
    group.attrs[OWN_KEY] = {"labels": True}
    if folder.parent.name != "labels":
        add_metadata(group, {"image-label": {"version": fmt.version}}, fmt)
        return
    import zarr

    labels = zarr.open_group(folder.parent, mode="a", zarr_format=2 if fmt.zarr_format == 2 else 3)
    write_label_metadata(labels, folder.name, fmt=fmt, source={"image": "../../"})
    if fmt.zarr_format == 3:
        add_metadata(labels, {"version": fmt.version}, fmt)  # which ome-zarr leaves out
