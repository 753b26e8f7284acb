"""A run whose work is kept in a folder, so that it can be continued: what was decided, and the units that are done.

``segment_planes(..., work=kept.over(work))`` goes through all regions in their order, whoever has proposed their
candidates, and whenever: so a run that is continued gives what an uninterrupted one gives, ids and all.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from napari_sam_amg.amg.plane_images import FAILURES, PlaneImages
from napari_sam_amg.amg.preprocess import Survey
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.amg.work import Work
from napari_sam_amg.errors import LOGGER
from napari_sam_amg.jobs.identity import Identity, differences, may_change
from napari_sam_amg.jobs.journal import Entry, Journal, entries
from napari_sam_amg.jobs.masks_file import DamagedUnit
from napari_sam_amg.jobs.survey_record import parts_are_kept, survey_of, survey_record, write_parts
from napari_sam_amg.jobs.units import read_unit, unit_name, write_unit
from napari_sam_amg.params import AmgParameters

JOURNAL, UNITS = "journal.jsonl", "units"


class OtherRun(ValueError):
    """The folder holds the work of another run."""

    def __init__(self, message: str, parts: frozenset[str]) -> None:
        super().__init__(message)
        self.parts = parts  # of the identity that differ


class KeptRun:
    """The work of one run; its folder is this process's own as long as this is open.

    ``wants_images``: give results of units that were done before the image, too, which is read again.
    """

    def __init__(self, folder: Path, identity: Identity, wants_images: bool = False) -> None:
        """Begin, or continue the same run. ``OtherRun`` if the folder holds the work of another one."""
        self.folder, self.wants_images = folder, wants_images
        self.units = folder / UNITS
        self.run = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        before = _header(folder)
        if before is None:
            drop_work(folder)  # without its first line nothing in it can be told to be of this run
        elif before.get("identity") != identity:
            raise _other_run(before, identity, count_units(folder))
        self.units.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / JOURNAL)
        if before is None:
            self.journal.add({"run": self.run, "identity": dict(identity)})
        names = (entry for entry in self.journal.entries if isinstance(entry.get("unit"), str))
        self.done: dict[str, Entry] = {entry["unit"]: entry for entry in names}
        self.continued = len(self.done)  # units that were there when the run was continued
        self.dropped = 0  # units of another state of the image, which were in the folder before

    def surveyed(self, look: Callable[[], Survey | None]) -> Survey | None:
        """What a look at all planes says, as it was when the run began."""
        record = self._said("survey")
        # what it shows is needed until all is decided; if that was lost, one has to look again
        with _damaged("survey"):
            if record is not None and (self._said("decided") is not None or parts_are_kept(record, self.folder)):
                return survey_of(record, self.folder)
        survey = look()
        if survey is not None and survey.parts:
            write_parts(survey.parts, self.folder)
        self.journal.add({"survey": {} if survey is None else survey_record(survey)})
        return survey

    def decided(self, params: AmgParameters, decide: Callable[[], AmgParameters]) -> AmgParameters:
        """What was decided when the run began, with those of ``params`` that may change meanwhile."""
        if (record := self._said("decided")) is not None:
            with _damaged("decided"):
                return AmgParameters(**record | {name: getattr(params, name) for name in may_change(params)})
        decided = decide()
        self.journal.add({"decided": dataclasses.asdict(decided)})
        return decided

    def _said(self, what: str) -> Any:
        """The last word on it; None if there is none."""
        return next((entry[what] for entry in reversed(self.journal.entries) if what in entry), None)

    def over(self, work: Work) -> "KeptWork":
        """The same work, done once."""
        return KeptWork(self, work)

    def read(self, region: Region) -> RegionCandidates | None:
        """The candidates of a unit that is done; None if it is not, or if its file was lost or damaged since."""
        entry = self.done.get(unit_name(region))
        if entry is None:
            return None
        try:
            return read_unit(self.units, region, self.run, entry)
        except DamagedUnit as error:
            LOGGER.warning("%s; it is done again", error)
            return None

    def keep(self, candidates: RegionCandidates) -> None:
        """The unit is done, unless it failed: that is tried again when the run is continued."""
        if candidates.failure is None:
            self.note(write_unit(self.units, candidates, self.run))

    def note(self, entry: Entry) -> None:
        """Its file is there."""
        self.journal.add(entry)
        self.done[entry["unit"]] = entry

    def with_image(self, candidates: RegionCandidates, images: PlaneImages) -> RegionCandidates:
        if not self.wants_images:
            return candidates
        with suppress(*FAILURES):  # then there is no image to be shown, and nothing else is missing
            image, _ = images.image(candidates.region.index, candidates.region.window)
            return dataclasses.replace(candidates, image=image)
        return candidates

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """What is done stays; if nothing is, nothing stays."""
        self.journal.close()
        if not self.done:
            drop_work(self.folder)


class KeptWork:
    """Work of which each part is done once, and kept."""

    def __init__(self, kept: KeptRun, work: Work) -> None:
        self._kept, self._work = kept, work

    def decide(self, images: PlaneImages, params: AmgParameters) -> AmgParameters:
        return self._kept.decided(params, lambda: self._work.decide(images, params))

    def propose(
        self, regions: Sequence[Region], images: PlaneImages, params: AmgParameters
    ) -> Iterator[RegionCandidates | None]:
        for region in regions:
            if (before := self._kept.read(region)) is not None:
                yield self._kept.with_image(before, images)
                continue
            for candidates in self._work.propose([region], images, params):
                if candidates is not None:
                    self._kept.keep(candidates)
                yield candidates


@contextmanager
def _damaged(what: str) -> Iterator[None]:
    """A line that could be read as JSON and says something else than was written: what it told of is done again."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        LOGGER.warning("the journal's line %r is damaged (%s); what it said is worked out again", what, error)


def _header(folder: Path) -> Entry | None:
    """The journal's first line, which says whose work it is; None if there is none."""
    first = next(iter(entries(folder / JOURNAL)), None)
    if first is not None and not isinstance(first.get("identity"), dict):
        LOGGER.warning("%s: the journal's first line is damaged; what was done is done again", folder)
        return None
    return first


def drop_work(folder: Path) -> None:
    """Delete what is kept in a folder, its journal last: half of it is still known as what it is."""
    if folder.exists():
        shutil.rmtree(folder / UNITS, ignore_errors=True)
        shutil.rmtree(folder)


def count_units(folder: Path) -> int:
    """How many units of a run are done."""
    return len({entry["unit"] for entry in entries(folder / JOURNAL) if isinstance(entry.get("unit"), str)})


def head(folder: Path) -> Entry:
    """What a journal says of the whole run, the last word on everything; empty if there is no journal."""
    said: Entry = {}
    for entry in entries(folder / JOURNAL):
        if "unit" not in entry:
            said |= entry
    return said


def _other_run(before: Entry, identity: Identity, done: int) -> OtherRun:
    old = before["identity"]
    parts = frozenset(name for name in {*old, *identity} if old.get(name) != identity.get(name))
    units = f"{done} unit" + "s" * (done != 1)
    # axes that were named are part of the settings, and of the image: said once
    said = "; ".join(dict.fromkeys(differences(name, old.get(name), identity.get(name)) for name in sorted(parts)))
    return OtherRun(f"the work of another run, {units} of it, is kept here: {said}", parts)
