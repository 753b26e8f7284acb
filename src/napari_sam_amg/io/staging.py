"""Outputs appear whole or not at all: written into a hidden folder beside, and put in place at the end.

The hidden folder, ``.NAME.part`` after the last output, belongs to one process at a time, which holds a
lock in it. A process that is killed leaves it, and the next run that writes the same outputs
(:func:`settle`) finds in it how far that process was:

- still writing: nothing was replaced yet, and what had been written is deleted;
- all written, which a file named "commit" says: what is not in its place yet is put there.

Between the two the last output is not there. It is the record that vouches for the others: it goes
before the first of them is replaced, and comes when all of them are in place and on the disk.

A run may keep its work in the hidden folder (:func:`work_folder`), to be continued by the next one. It outlives
everything but the publication of outputs for which it has served (:func:`end_work`).
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.io.publishing import COMMIT, ENDED, NEW, OLD, WORK, commit, committed, publish

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK = "lock"
_LONGEST_NAME = 240  # bytes; file systems take 255
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def staged(targets: Sequence[Path], stale: Sequence[Path] = ()) -> Iterator[Path]:
    """A hidden folder in which to write files of the targets' names; they move when the block succeeds.

    The targets lie in one folder, which is made if need be, and are replaced if they exist, in the
    order given; the last is the record that vouches for the others. ``stale`` are outputs of an earlier
    run in the same folder that go with its record: they are removed when the new ones come. If the block
    fails or is interrupted, nothing of it remains, and nothing is gone. ``ValueError`` if another process
    is writing them.
    """
    parent = targets[0].parent
    made = _missing_folders(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with _claimed(targets) as part:
            new = part / NEW
            new.mkdir()
            try:
                yield new
            except OSError as error:
                raise _of_target(error, new, parent) from error
            commit(part, targets, stale)
            publish(part, targets, stale)
    finally:
        remove_empty(made)


def settle(targets: Sequence[Path]) -> bool:
    """Finish or undo what a killed process began to write; returns whether it had all but finished.

    Does nothing if there is nothing of it. ``ValueError`` if the process still runs, or if the outputs were changed
    since it was killed.
    """
    part = _part(targets[-1])
    if not part.exists():
        return False
    had_all = (part / COMMIT).exists()
    with _claimed(targets):
        return had_all


def settle_published(record: Path) -> None:
    """Put in place what a killed process had written all of, and nothing else; raises as :func:`settle`."""
    if (_part(record) / COMMIT).exists():
        settle([record])


def work_folder(stage: Path) -> Path:
    """Where a run that writes into ``stage``, the folder of :func:`staged`, may keep its work; it need not be there."""
    work = stage.parent / WORK
    (work / ENDED).unlink(missing_ok=True)  # of a run that was killed when it had all but published its outputs
    return work


def end_work(stage: Path) -> None:
    """The work that is kept goes when the outputs are in their places, not before."""
    (stage.parent / WORK / ENDED).touch()


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """A disk that is full is said with the output that did not fit: errors of writing name no file themselves."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def _of_target(error: OSError, new: Path, parent: Path) -> OSError:
    """The same error of the output, where it is one of the hidden file as which it is written."""
    if error.errno is None:
        return error
    if error.filename is None and error.errno in _FULL:
        return OSError(error.errno, error.strerror, str(parent))
    with suppress(TypeError, ValueError):  # no file of ours
        return OSError(error.errno, error.strerror, str(parent / Path(error.filename).relative_to(new)))
    return error


def _part(record: Path) -> Path:
    """The hidden folder: one for all sets of outputs that share a record, whatever else is in them."""
    name = record.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[:40] + hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return record.with_name(f".{name}.part")


@contextmanager
def _claimed(targets: Sequence[Path]) -> Iterator[Path]:
    """The hidden folder, empty and our own, with what a killed process left in it settled."""
    part = _part(targets[-1])
    lock = _locked(part, targets[-1])
    try:
        if (part / COMMIT).exists():
            publish(part, *committed(part))
        _empty(part)
        yield part
    finally:
        if not (part / COMMIT).exists():  # else it could be neither finished nor undone, and nothing of it is lost
            _empty(part)
            with suppress(OSError):  # Windows deletes it on release; here it must go while nobody else can have it
                (part / _LOCK).unlink()
        lock.release()
        with suppress(OSError):
            part.rmdir()


def _locked(part: Path, target: Path) -> "BaseFileLock":
    """Make the hidden folder and lock it; the lock ends with the process, however that ends."""
    from filelock import FileLock, Timeout

    while True:
        part.mkdir(exist_ok=True)
        lock = FileLock(part / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(f"{target} is being written by another process: wait until it is done") from error
        if (part / _LOCK).exists():
            return lock
        lock.release()  # whoever had it was deleting the folder at this moment


def _empty(part: Path) -> None:
    for name in (NEW, OLD):
        shutil.rmtree(part / name, ignore_errors=True)


def _missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, the deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those folders in which nothing lies, in the order given."""
    for folder in folders:
        with suppress(OSError):  # there is something in it, or somebody has removed it
            folder.rmdir()


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and try to write into it; returns the folders that were made, the deepest first."""
    made = _missing_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remove_empty(made)
        raise ValueError(f"the output folder {folder} cannot be written to: {error.strerror}") from error
    return made
