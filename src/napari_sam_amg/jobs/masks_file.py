"""The candidates of one unit as a file: an .npz that NumPy reads, without the model, and that says what it is.

Beside the columns lies ``about.json``. Masks are packed bits in one piece, cut up by the shapes beside them. Every
member of a zip file has a checksum, so what is damaged is refused; what was cut short has no directory at its end.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Candidates, Masks, concatenate, no_candidates
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.params import AmgParameters

FORMAT = "napari-sam-amg candidates 1"
_LEVEL = 1  # of deflate: 103 masks of neurites, 155 kB as they are, take 23 kB and 2 ms; with level 6 19 kB and 8 ms
#: Of every mask, and their types; all but the scores have as many columns as the number says.
_COLUMNS: dict[str, tuple[type[Any], int]] = {
    "boxes": (np.int64, 4),
    "predicted_iou": (np.float32, 0),
    "stability_score": (np.float32, 0),
    "points": (np.float64, 2),
    "crop_boxes": (np.int64, 4),
}
_SHAPES, _BITS, _ABOUT, _ASKED = "shapes", "bits", "about.json", "asked"
#: What a damaged or foreign file makes zipfile, NumPy and json raise.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, IndexError, TypeError, ValueError, NotImplementedError,
    AttributeError, RuntimeError,
)  # fmt: skip


class DamagedUnit(ValueError):
    """A file is no whole file of candidates, or one of another region or run."""


def dumps(candidates: RegionCandidates, run: str) -> bytes:
    """The content of the file: all but the image, which can be read again. ``run`` names the run that it belongs to.

    ``ValueError`` for a region that failed: a failure is nothing to be kept.
    """
    if candidates.failure is not None:
        raise ValueError(f"candidates of {candidates.region} are not kept: the region failed") from candidates.failure
    about: dict[str, Any] = {"format": FORMAT, "run": run, "region": asdict(candidates.region)}
    about["nothing"] = candidates.nothing
    found, tables, more = candidates.found, dict[str, Candidates | Masks](), dict[str, NDArray[Any]]()
    if isinstance(found, StoredCandidates):
        about |= {"kind": "candidates", "params": asdict(found.params), "size": found.size}
        for name, crops in (("crops", found.crops), ("cut", found.cut)):
            about[name] = [len(crop) for crop in crops]
            tables[name] = concatenate([no_candidates(), *crops])
        more = {} if found.asked is None else {_ASKED: found.asked}
    elif found is not None:
        about |= {"kind": "masks", "size": found.size}
        tables["masks"] = found
    columns = {f"{name}_{column}": values for name in tables for column, values in _columns(tables[name])}
    return _packed(about, columns | more)


def _packed(about: dict[str, Any], columns: dict[str, NDArray[Any]]) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        archive.writestr(_ABOUT, json.dumps(about))
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)
    return content.getvalue()


def _columns(table: Candidates | Masks) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of a table, its pixels as bits one behind the other."""
    yield from ((name, getattr(table, name)) for name in _COLUMNS)
    pixels = table.cutouts if isinstance(table, Masks) else table.bits
    packed = [np.packbits(part) if isinstance(table, Masks) else part.ravel() for part in pixels]
    yield _SHAPES, np.array([part.shape for part in pixels], np.int64).reshape(-1, 2)
    yield _BITS, np.concatenate([np.empty(0, np.uint8), *packed])


def loads(content: bytes, region: Region, run: str) -> RegionCandidates:
    """What :func:`dumps` was given, but for the image. ``DamagedUnit`` for anything else, saying what is wrong."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            about = json.loads(archive.read(_ABOUT))
            _check(about, region, run)
            return RegionCandidates(region, _found(archive, about), nothing=str(about["nothing"]))
    except DamagedUnit:
        raise
    except _DAMAGE as error:
        raise DamagedUnit(f"it is damaged, or no file of candidates: {error or type(error).__name__}") from error


def _check(about: dict[str, Any], region: Region, run: str) -> None:
    expected = {"format": FORMAT, "run": run, "region": json.loads(json.dumps(asdict(region)))}
    for name, value in expected.items():
        if about.get(name) != value:
            raise DamagedUnit(f"its {name} is {about.get(name)!r}, expected is {value!r}")


def _found(archive: zipfile.ZipFile, about: dict[str, Any]) -> StoredCandidates | Masks | None:
    kind = about.get("kind")
    if kind is None:
        return None
    height, width = about["size"]
    if kind == "masks":
        shapes = _array(archive, f"masks_{_SHAPES}", np.int64)
        packed = _pieces(archive, "masks", -(-shapes.prod(axis=1) // 8))
        cutouts = [_unpacked(bits, shape) for bits, shape in zip(packed, shapes.tolist(), strict=True)]
        return Masks(**_read(archive, "masks"), cutouts=cutouts, size=(height, width))
    if kind != "candidates":
        raise DamagedUnit(f"its kind is {kind!r}, allowed are candidates and masks")
    crops, cut = (_crops(archive, name, about[name]) for name in ("crops", "cut"))
    # files of earlier versions do not say it
    asked = _array(archive, _ASKED, np.float32) if f"{_ASKED}.npy" in archive.namelist() else None
    return StoredCandidates(AmgParameters(**about["params"]), (height, width), crops, cut, asked)


def _unpacked(bits: NDArray[np.uint8], shape: list[int]) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=shape[0] * shape[1]).view(np.bool_).reshape(shape)


def _crops(archive: zipfile.ZipFile, name: str, lengths: Sequence[int]) -> tuple[Candidates, ...]:
    """The candidates of each crop, of which the table ``name`` has all."""
    shapes = _array(archive, f"{name}_{_SHAPES}", np.int64)
    pieces = _pieces(archive, name, shapes.prod(axis=1))
    bits = [piece.reshape(shape) for piece, shape in zip(pieces, shapes.tolist(), strict=True)]
    table = Candidates(**_read(archive, name), bits=bits)
    if len(bits) != len(table) or sum(lengths) != len(table):
        raise DamagedUnit(f"it has {len(table)} {name} and {len(bits)} masks, expected are {sum(lengths)}")
    ends = np.cumsum(lengths).tolist()
    return tuple(table.select(np.arange(end - length, end)) for end, length in zip(ends, lengths, strict=True))


def _read(archive: zipfile.ZipFile, name: str) -> dict[str, NDArray[Any]]:
    columns = {column: _array(archive, f"{name}_{column}", kind) for column, (kind, _) in _COLUMNS.items()}
    rows = len(columns["boxes"])
    for column, (_, width) in _COLUMNS.items():
        shape = (rows, width) if width else (rows,)
        if columns[column].shape != shape:
            raise DamagedUnit(f"{name}_{column} is of shape {columns[column].shape}, expected is {shape}")
    return columns


def _array(archive: zipfile.ZipFile, name: str, kind: type[Any]) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        values: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    if values.dtype != kind:
        raise DamagedUnit(f"{name} is of type {values.dtype}, expected is {np.dtype(kind)}")
    return values


def _pieces(archive: zipfile.ZipFile, name: str, sizes: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """The pixels of each mask, which has as many bytes as ``sizes`` says."""
    pixels = _array(archive, f"{name}_{_BITS}", np.uint8)
    if sizes.sum() != len(pixels):
        raise DamagedUnit(f"its masks have {len(pixels)} bytes, expected are {sizes.sum()}")
    return np.split(pixels, np.cumsum(sizes)[:-1]) if len(sizes) else []
