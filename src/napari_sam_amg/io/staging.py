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
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_NEW, _OLD, _COMMIT, _LOCK = "new", "old", "commit", "lock"
_WORK, _ENDED = "work", "ended"
_SYNCED_AT_ONCE = 16
_LONGEST_NAME = 240  # bytes; file systems take 255
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What file systems answer that cannot flush a folder.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


@contextmanager
def staged(targets: Sequence[Path]) -> Iterator[Path]:
    """A hidden folder in which to write files of the targets' names; they move when the block succeeds.

    The targets lie in one folder, which is made if need be, and are replaced if they exist, in the
    order given; the last is the record that vouches for the others. If the block fails or is
    interrupted, nothing of it remains. ``ValueError`` if another process is writing them.
    """
    parent = targets[0].parent
    made = _missing_folders(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with _claimed(targets) as part:
            new = part / _NEW
            new.mkdir()
            try:
                yield new
            except OSError as error:
                raise _of_target(error, new, parent) from error
            _commit(part, targets)
            _publish(part, targets)
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
    had_all = (part / _COMMIT).exists()
    with _claimed(targets):
        return had_all


def work_folder(stage: Path) -> Path:
    """Where a run that writes into ``stage``, the folder of :func:`staged`, may keep its work; it need not be there."""
    work = stage.parent / _WORK
    (work / _ENDED).unlink(missing_ok=True)  # of a run that was killed when it had all but published its outputs
    return work


def end_work(stage: Path) -> None:
    """The work that is kept goes when the outputs are in their places, not before."""
    (stage.parent / _WORK / _ENDED).touch()


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
        if (part / _COMMIT).exists():
            _publish(part, _committed(part))
        _empty(part)
        yield part
    finally:
        if not (part / _COMMIT).exists():  # else it could be neither finished nor undone, and nothing of it is lost
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
    for name in (_NEW, _OLD):
        shutil.rmtree(part / name, ignore_errors=True)


def _commit(part: Path, targets: Sequence[Path]) -> None:
    """Everything is written: flush it to the disk, then say so in a file. From here on it will be published."""
    for target in targets:
        if not os.path.lexists(part / _NEW / target.name):
            raise FileNotFoundError(errno.ENOENT, "it was not written", str(target))
        if os.path.lexists(target) and target.is_dir() != (part / _NEW / target.name).is_dir():
            raise ValueError(f"{target} is in the way: it is not an output of this command, move it away")
    _sync_tree(part / _NEW)
    (part / _OLD).mkdir()
    draft = part / _NEW / f"{_COMMIT}.draft"
    draft.write_text(json.dumps({target.name: _state(target) for target in targets}), "utf-8")
    _sync(draft)
    draft.rename(part / _COMMIT)


def _state(path: Path) -> list[int] | None:
    """By which a file or folder is known again; None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _committed(part: Path) -> list[Path]:
    """The outputs that a killed process was about to publish. ``ValueError`` if somebody has written them since."""
    before = json.loads((part / _COMMIT).read_text("utf-8"))
    for name, state in before.items():
        is_waiting = os.path.lexists(part / _NEW / name)
        if is_waiting and _state(part.with_name(name)) not in (None, state):
            raise ValueError(
                f"{part.with_name(name)} was changed after a run that was about to replace it was killed: "
                f"delete {part} to keep it, or move it away to get the outputs of that run"
            )
    return [part.with_name(name) for name in before]


def _publish(part: Path, targets: Sequence[Path]) -> None:
    """Move everything to its place, or, if that fails half-way, put back what was there before.

    A second attempt goes on where a killed one ended.
    """
    record = targets[-1]
    try:
        _sync(part)
        _sync(part.parent)
        if os.path.lexists(part / _NEW / record.name) and os.path.lexists(record):
            record.replace(part / _OLD / record.name)  # and no link: it must not vouch for what comes
            _sync(record.parent)
        for target in targets:
            if target is record:
                _sync(record.parent)
            if os.path.lexists(part / _NEW / target.name):
                _keep(target, part / _OLD / target.name)
                (part / _NEW / target.name).replace(target)
        _sync(record.parent)
    except BaseException:
        _take_away(part, record)
        for target in targets:
            _put_back(part, target)
        _sync(record.parent)
        (part / _COMMIT).unlink()
        raise
    if (part / _WORK / _ENDED).exists():
        with suppress(OSError):  # work that stays is only in the way of other work
            (part / _WORK).replace(part / _OLD / _WORK)
    (part / _COMMIT).unlink()


def _keep(target: Path, backup: Path) -> None:
    """A second name for a file that will be replaced, so that its place is never empty; a folder has to move."""
    if not os.path.lexists(target) or os.path.lexists(backup):
        return
    try:
        os.link(target, backup, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a folder, or a file system without links
        target.rename(backup)


def _take_away(part: Path, target: Path) -> None:
    if not os.path.lexists(part / _NEW / target.name) and os.path.lexists(target):
        target.rename(part / _NEW / target.name)


def _put_back(part: Path, target: Path) -> None:
    """Undo whatever was done to one target: the new one away, the old one back."""
    _take_away(part, target)
    if os.path.lexists(part / _OLD / target.name):
        (part / _OLD / target.name).replace(target)


def _sync_tree(folder: Path) -> None:
    """Many at once: file systems flush them together."""
    with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
        for place, _, names in os.walk(folder, topdown=False):
            list(pool.map(_sync, [Path(place, name) for name in names]))
            _sync(Path(place))


def _sync(path: Path) -> None:
    """Wait until a file, or which files are in a folder, is on the disk, and would outlast a power failure."""
    if os.name == "nt":  # which neither opens folders nor flushes what is open for reading
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise OSError(error.errno, error.strerror, str(path)) from error


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
