"""Zarr folders: OME-Zarr images of versions 0.1 to 0.5, alone or several in one folder, and plain arrays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.io.discover import is_zarr
from napari_sam_amg.io.ngff import Multiscale, Spacing, ome_attributes, read_multiscale, table, tables
from napari_sam_amg.io.raw_image import RawImage, check_series

if TYPE_CHECKING:
    import zarr

_LETTERS = {"time": "T", "channel": "C"}  # by the type of an axis
_XARRAY = "_ARRAY_DIMENSIONS"  # in which xarray names the axes of Zarr 2 arrays


@dataclass(frozen=True, slots=True, eq=False)
class ZarrPixels:
    """An array of Zarr, whose stores and decoders raise anything for a damaged chunk: here it is said in words."""

    array: "zarr.Array[Any]"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.array.chunks)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Raises ``ValueError`` where a chunk cannot be decoded."""
        try:
            return np.asarray(self.array[index])
        except (OSError, MemoryError, IndexError):
            raise
        except Exception as error:
            raise ValueError(f"a chunk of the Zarr is damaged{_why(error)}") from error


def _why(error: Exception) -> str:
    """What zarr says of a file; nothing if it only stumbled over what is in it."""
    return f": {error}" if isinstance(error, ValueError | RuntimeError) and str(error) else ""


@contextmanager
def open_zarr(path: Path, series: int | None = None) -> Iterator[RawImage]:
    """An image at full resolution; no more is read than the chunks of what is asked for.

    ``series``, counted from 0: which one of a well's fields, or of the images that bioformats2raw wrote side by side.
    Raises ``ValueError`` or ``OSError`` for what holds no image.
    """
    import zarr

    try:
        found: Any = zarr.open(path, mode="r")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # metadata that are none raise anything
        raise ValueError(f"the Zarr is damaged: its metadata cannot be read{_why(error)}") from error
    if isinstance(found, zarr.Array):
        check_series(series, 1)
        yield _plain(found)
    else:
        yield _image(path, found, series)


def labels_in(path: Path) -> list[Path]:
    """The labels of an OME-Zarr image, which lie in it; none of anything else."""
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        if "image-label" in ome_attributes(group):
            return []
        names = ome_attributes(zarr.open_group(path / "labels", mode="r")).get("labels", ())
        return [path / "labels" / str(name) for name in names]
    except (OSError, ValueError, TypeError):  # no group, or one without labels
        return []


def _plain(array: "zarr.Array[Any]") -> RawImage:
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get(_XARRAY) or ()
    if len(array.shape) < 2:
        raise ValueError(f"an array of shape {array.shape} is no image: allowed are (Y, X) and stacks of it")
    letters = [str(name or "") for name in names] if isinstance(names, Sequence) else []
    if len(letters) != len(array.shape):
        return _raw(array, "Q" * (len(array.shape) - 2) + "YX")
    return _raw(array, axis_letters(letters))


def _image(path: Path, group: "zarr.Group", series: int | None) -> RawImage:
    attributes, note, images = ome_attributes(group), "", 1
    if "plate" in attributes:
        wells = [str(well.get("path", "")) for well in tables(table(attributes, "plate"), "wells", "plate")]
        example = f", such as {path / wells[0] / '0'}" if wells else ""
        raise ValueError(f"a plate of {len(wells)} wells is not read as a whole: give its images{example}")
    if "multiscales" in attributes:
        check_series(series, 1)
    else:
        names = _side_by_side(path, attributes)
        if not names:
            raise ValueError("a Zarr group without an image: an OME-Zarr has 'multiscales' in its metadata")
        images = len(names)
        check_series(series, images)
        chosen = series or 0
        if series is None and images > 1:
            note = f"series 0 of 0..{images - 1} (--series chooses)"
        group = _member(group, names[chosen], "Group")
        attributes = ome_attributes(group)
    known = read_multiscale(attributes)
    array = _member(group, known.paths[0], "Array")
    if len(array.shape) != len(known.axes):
        raise ValueError(f"its OME-Zarr metadata name axes {', '.join(known.axes)} for an array of shape {array.shape}")
    letters = axis_letters(known.axes, known.types)
    return replace(_raw(array, letters, _spacings(known, letters), known.channels, note), images=images)


def _side_by_side(path: Path, attributes: dict[str, Any]) -> list[str]:
    """Names of the images in a folder that is none itself: a well's fields, or those of bioformats2raw."""
    if "well" in attributes:
        return [str(image.get("path", "")) for image in tables(table(attributes, "well"), "images", "well")]
    if isinstance(attributes.get("series"), list):
        return [str(name) for name in attributes["series"]]
    inside = [folder.name for folder in path.iterdir() if folder.name.isdecimal() and is_zarr(folder)]
    return sorted(inside, key=int)


def _member(group: "zarr.Group", name: str, kind: str) -> Any:
    try:
        found: Any = group[name]
    except KeyError as error:
        raise ValueError(f"its metadata name {name!r}, which is not there") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"its metadata name {name!r}, whose own metadata cannot be read{_why(error)}") from error
    if type(found).__name__ != kind:
        raise ValueError(f"its metadata name {name!r}, which is no {kind.lower()}")
    return found


def axis_letters(names: Sequence[str], types: Sequence[str] = ()) -> str:
    """A letter for each axis, as TIFF readers name them; Q for those whose name says nothing."""
    letters = []
    for name, kind in zip(names, types or ("",) * len(names), strict=True):
        word = name.strip().lower()
        letter = _LETTERS.get(kind) or _LETTERS.get(word) or (word.upper() if len(word) == 1 else "Q")
        # S stands for colours, which OME-Zarr has not
        letters.append("Q" if letter in letters or letter == "S" or not letter.isascii() else letter)
    return "".join(letters)


def _spacings(known: Multiscale, letters: str) -> dict[str, Spacing]:
    """What is said of each axis; one pixel of no unit says nothing."""
    found = {}
    for letter, length, unit, origin in zip(letters, known.scales[0], known.units, known.translations[0], strict=True):
        if letter not in "CQ" and 0 < length < float("inf") and (unit or length != 1 or origin):
            found[letter] = Spacing(length, unit, origin)
    return found


def _raw(
    array: "zarr.Array[Any]",
    axes: str,
    stated: dict[str, Spacing] | None = None,
    channels: tuple[str, ...] = (),
    note: str = "",
) -> RawImage:
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buifc":
        raise ValueError(f"an array of type {dtype} is no image: allowed are numbers")
    if 0 in (*array.shape, *array.chunks):
        raise ValueError(f"an array of shape {array.shape} in chunks of {array.chunks} has no pixels")
    # a chunk is decoded as a whole, however few of its planes are asked for
    at_once = prod(array.chunks) * dtype.itemsize
    return RawImage(ZarrPixels(array), axes, stated=stated or {}, channels=channels, note=note, read_at_once=at_once)
