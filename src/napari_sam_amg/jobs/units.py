"""Where the candidates of a unit lie: a unit is a region, and its file is called after it."""

import os
import uuid
import zlib
from pathlib import Path

from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.jobs.journal import Entry
from napari_sam_amg.jobs.masks_file import DamagedUnit, dumps, loads

ENDING = ".npz"


def unit_name(region: Region) -> str:
    """Stable, and another one for every region of a run: "plane_3", "plane_3_y0-512_x512-1024_halo64"."""
    name = "_".join(["plane", *map(str, region.index)])
    (top, bottom), (left, right) = region.rows, region.columns
    is_whole = (bottom - top, right - left) == region.plane_size
    return name if is_whole else f"{name}_y{top}-{bottom}_x{left}-{right}_halo{region.halo}"


def unit_path(folder: Path, region: Region) -> Path:
    return folder / (unit_name(region) + ENDING)


def write_unit(folder: Path, candidates: RegionCandidates, run: str) -> Entry:
    """Write the file of a unit, which appears whole or not at all; returns what the journal says of it.

    Several processes may do so at once: what they write is the same.
    """
    content = dumps(candidates, run)
    path = unit_path(folder, candidates.region)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return _entry(candidates.region, content)


def find_unit(folder: Path, region: Region, run: str) -> Entry | None:
    """What the journal would say of a unit, if its file is there and whole: written by who could not tell of it."""
    try:
        content = unit_path(folder, region).read_bytes()
        loads(content, region, run)
    except (OSError, DamagedUnit):
        return None
    return _entry(region, content)


def _entry(region: Region, content: bytes) -> Entry:
    return {"unit": unit_name(region), "bytes": len(content), "crc32": zlib.crc32(content)}


def read_unit(folder: Path, region: Region, run: str, entry: Entry | None = None) -> RegionCandidates:
    """The candidates of a unit, without their image.

    ``DamagedUnit`` if its file is not there, is not the one that ``entry`` tells of, or is not whole.
    """
    path = unit_path(folder, region)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedUnit(f"{path}: {error.strerror}") from error
    try:
        if entry is not None and (entry.get("bytes"), entry.get("crc32")) != (len(content), zlib.crc32(content)):
            raise DamagedUnit("it is not the file of which the journal tells")
        return loads(content, region, run)
    except DamagedUnit as error:
        raise DamagedUnit(f"{path}: {error}") from error
