"""Outputs that are all written move to their places, and whoever is killed meanwhile leaves a file that says so.

The hidden folder, see ``staging``, holds them as ``new/NAME``, and what they replace, for a while, as ``old/NAME``.
"""

import errno
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

NEW, OLD, COMMIT = "new", "old", "commit"
WORK, ENDED = "work", "ended"
_SYNCED_AT_ONCE = 16
#: What file systems answer that cannot flush a folder.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def commit(part: Path, targets: Sequence[Path], stale: Sequence[Path] = ()) -> None:
    """Everything is written: flush it to the disk, then say so in a file. From here on it will be published."""
    for target in targets:
        if not os.path.lexists(part / NEW / target.name):
            raise FileNotFoundError(errno.ENOENT, "it was not written", str(target))
        if os.path.lexists(target) and target.is_dir() != (part / NEW / target.name).is_dir():
            raise ValueError(f"{target} is in the way: it is not an output of this command, move it away")
    _sync_tree(part / NEW)
    (part / OLD).mkdir()
    draft = part / NEW / f"{COMMIT}.draft"
    said = {name: {path.name: _state(path) for path in paths} for name, paths in ((NEW, targets), (OLD, stale))}
    draft.write_text(json.dumps(said), "utf-8")
    _sync(draft)
    draft.rename(part / COMMIT)


def _state(path: Path) -> list[int] | None:
    """By which a file or folder is known again; None if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return [found.st_mtime_ns, found.st_size]


def committed(part: Path) -> tuple[list[Path], list[Path]]:
    """The outputs that a killed process was about to publish, and those that it was about to remove.

    ``ValueError`` if somebody has written one of the first since; of the others those that were written stay.
    """
    said = json.loads((part / COMMIT).read_text("utf-8"))
    for name, state in said[NEW].items():
        is_waiting = os.path.lexists(part / NEW / name)
        if is_waiting and _state(part.with_name(name)) not in (None, state):
            raise ValueError(
                f"{part.with_name(name)} was changed after a run that was about to replace it was killed: "
                f"delete {part} to keep it, or move it away to get the outputs of that run"
            )
    stale = [
        part.with_name(name)
        for name, state in said[OLD].items()
        if os.path.lexists(part / OLD / name) or _state(part.with_name(name)) == state
    ]
    return [part.with_name(name) for name in said[NEW]], stale


def publish(part: Path, targets: Sequence[Path], stale: Sequence[Path] = ()) -> None:
    """Move everything to its place, or, if that fails half-way, put back what was there before.

    A second attempt goes on where a killed one ended.
    """
    record = targets[-1]
    try:
        _sync(part)
        _sync(part.parent)
        if os.path.lexists(part / NEW / record.name) and os.path.lexists(record):
            record.replace(part / OLD / record.name)  # and no link: it must not vouch for what comes
            _sync(record.parent)
        for path in stale:
            if os.path.lexists(path) and not os.path.lexists(part / OLD / path.name):
                path.replace(part / OLD / path.name)
        for target in targets:
            if target is record:
                _sync(record.parent)
            if os.path.lexists(part / NEW / target.name):
                _keep(target, part / OLD / target.name)
                (part / NEW / target.name).replace(target)
        _sync(record.parent)
    except BaseException:
        _take_away(part, record)
        for target in targets:
            _put_back(part, target)
        for path in stale:
            if not os.path.lexists(path):
                _bring_back(part, path)
        _sync(record.parent)
        (part / COMMIT).unlink()
        raise
    if (part / WORK / ENDED).exists():
        with suppress(OSError):  # work that stays is only in the way of other work
            (part / WORK).replace(part / OLD / WORK)
    (part / COMMIT).unlink()


def _keep(target: Path, backup: Path) -> None:
    """A second name for a file that will be replaced, so that its place is never empty; a folder has to move."""
    if not os.path.lexists(target) or os.path.lexists(backup):
        return
    try:
        os.link(target, backup, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a folder, or a file system without links
        target.rename(backup)


def _take_away(part: Path, target: Path) -> None:
    if not os.path.lexists(part / NEW / target.name) and os.path.lexists(target):
        target.rename(part / NEW / target.name)


def _put_back(part: Path, target: Path) -> None:
    """Undo whatever was done to one target: the new one away, the old one back."""
    _take_away(part, target)
    _bring_back(part, target)


def _bring_back(part: Path, path: Path) -> None:
    if os.path.lexists(part / OLD / path.name):
        (part / OLD / path.name).replace(path)


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
