"""The candidates of a finished run, in a folder beside its labels: for other thresholds, as long as it is there.

It is the folder in which the work was kept, under a name that one sees. Beside the journal and the files of units lie
``columns.npz``, scores and areas of all candidates, and ``ids.npz``, which candidate has which id.
"""

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.jobs.journal import Entry, Journal, entries
from napari_sam_amg.jobs.kept import JOURNAL, UNITS, head
from napari_sam_amg.jobs.units import read_unit, unit_name, unit_path

FORMAT = "napari-sam-amg candidates of a run 1"
COLUMNS, IDS = "columns.npz", "ids.npz"
_ABOUT = "candidates"  # the journal's line that says what the folder holds
Arrays = Mapping[str, NDArray[Any]]


class UnitStore:
    """Candidates of regions, read from the files of a run's units when they are needed. Threads may share it."""

    def __init__(self, units: Path, run: str, done: Mapping[str, Entry]) -> None:
        """``units``: the folder of the files; ``done``: what the journal says of each, by name, also later."""
        self._units, self._run, self._done = units, run, done
        self._failed: dict[Region, RegionCandidates] = {}

    def put(self, key: Region, value: RegionCandidates, size: int = 0) -> None:
        """Their file is there already, but for what failed."""
        if value.failure is not None:
            self._failed[key] = replace(value, image=None)
        else:
            self._failed.pop(key, None)

    def get(self, key: Region) -> RegionCandidates:
        """``DamagedUnit`` if the file was lost or changed since."""
        if key in self._failed:
            return self._failed[key]
        return read_unit(self._units, key, self._run, self._done.get(unit_name(key)) or {})

    @property
    def failed(self) -> dict[str, str]:
        """Regions that failed, by name of their units, and why."""
        return {unit_name(region): str(found.failure) for region, found in self._failed.items()}

    def close(self) -> None:
        """The files stay."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What such a folder holds."""

    run: str  # by which the labels' record knows it
    about: Mapping[str, Any]  # what else is to be known, as JSON has it
    regions: tuple[Region, ...]  # in the order of work
    columns: Arrays
    ids: Arrays
    store: UnitStore


def end_as_candidates(work: Path, folder: Path, found: Candidates) -> None:
    """What was kept in ``work``, whose run is closed, becomes ``folder``, which must not exist."""
    write_arrays(work, COLUMNS, found.columns)
    write_arrays(work, IDS, found.ids)
    said = {
        "format": FORMAT,
        "about": dict(found.about),
        "regions": [asdict(region) for region in found.regions],
        "failed": found.store.failed,
    }
    with Journal(work / JOURNAL) as journal:
        journal.add({_ABOUT: said})
    work.rename(folder)


def write_arrays(folder: Path, name: str, arrays: Arrays) -> None:
    """``name``: COLUMNS or IDS. The file is replaced whole."""
    draft = folder / f"draft-{name}"
    np.savez(draft, **arrays)  # type: ignore[arg-type]  # which takes keywords for its own
    os.replace(draft, folder / name)


def open_candidates(folder: Path) -> Candidates:
    """``ValueError`` in words where there are none, where some are missing, or where another version wrote them."""
    said = head(folder)
    if not said:
        raise ValueError(f"{folder.name}, in which they were kept, is not there")
    with _in_words(folder):
        known = said[_ABOUT]
        if known["format"] != FORMAT:
            raise ValueError(f"it is of the format {known['format']!r}, this version reads {FORMAT!r}")
        regions = tuple(_region(one) for one in known["regions"])
        store = UnitStore(folder / UNITS, str(said["run"]), _done(folder))
        for region in regions:
            if (why := known["failed"].get(unit_name(region))) is not None:
                store.put(region, RegionCandidates(region, None, failure=ValueError(why)))
        _check_there(folder, [region for region in regions if unit_name(region) not in known["failed"]])
        columns, ids = (_arrays(folder / name) for name in (COLUMNS, IDS))
        return Candidates(str(said["run"]), known["about"], regions, columns, ids, store)


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    """What a damaged folder makes JSON, zipfile and NumPy raise."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        why = f"{error}" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder.name}, in which they were kept, cannot be used: {why}") from error


def _done(folder: Path) -> dict[str, Entry]:
    return {one["unit"]: one for one in entries(folder / JOURNAL) if isinstance(one.get("unit"), str)}


def _region(said: Mapping[str, Any]) -> Region:
    sizes = {name: tuple(value) for name, value in said.items() if name != "halo"}
    return Region(**sizes, halo=said["halo"])


def _check_there(folder: Path, regions: Iterable[Region]) -> None:
    missing = [path.name for one in regions if not (path := unit_path(folder / UNITS, one)).is_file()]
    if missing:
        others = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
        raise ValueError(f"{missing[0]}{others} are missing" if others else f"{missing[0]} is missing")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
