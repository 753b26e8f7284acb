"""Published checkpoints into the models folder: by one process at a time, verified, whole or not at all. Free of torch.

pooch verifies the hash of what its downloader brings and puts it in place. Its own downloaders start
anew each time and cannot be stopped, so ours (:mod:`napari_sam_amg.models.transfer`) takes their place.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models.registry import (
    FOLDER_VARIABLE,
    CheckpointError,
    KnownModel,
    is_offline,
    models_folder,
    size_in_words,
)
from napari_sam_amg.models.transfer import DiskFullError, Part, Progress, Report, TransferError, fetch

if TYPE_CHECKING:
    import tqdm
    from filelock import BaseFileLock

_POLL = 0.2  # s, between two looks at whether another download of the file is over


class DownloadError(CheckpointError):
    """Why a model could not be downloaded, and what to do."""


def ensure(model: KnownModel, *, offline: bool = False, quiet: bool = False) -> None:
    """Download a model that is not there, with its progress on stderr; ``DownloadError`` if that fails.

    Does nothing if downloads are forbidden, by ``offline`` or the environment.
    """
    if not (offline or is_offline() or model.path.is_file()):
        download_with_bar(model, quiet=quiet)


def download_with_bar(model: KnownModel, *, quiet: bool = False) -> None:
    """Download a model with a line on stderr, and a bar if that is a terminal; ``quiet``: neither."""
    import tqdm

    if not (quiet or is_offline()):
        size = "" if model.size is None else f" ({size_in_words(model.size)})"
        print(f"downloading {model.name}{size} from {model.url} to {model.path}", file=sys.stderr, flush=True)
    hidden = quiet or not sys.stderr.isatty()
    with tqdm.tqdm(total=model.size, unit="B", unit_scale=True, leave=False, disable=hidden) as bar:
        download(model, lambda progress: _show(bar, progress))


def _show(bar: "tqdm.tqdm[Any]", progress: Progress) -> None:
    if bar.disable:
        return
    if not bar.n:  # what an earlier attempt brought says nothing about the speed of this one
        bar.initial = bar.n = progress.done
    bar.set_description(progress.stage, refresh=False)
    bar.total = progress.total or bar.total
    bar.update(max(progress.done - bar.n, 0))


def download(model: KnownModel, report: Report) -> None:
    """Put the verified file of a model into the models folder; nothing is sent for if it is there already.

    ``report`` is told how far it is, and ends the download with whatever it raises. What has arrived
    then is kept, and the next download goes on from there. Raises ``DownloadError``, one line.
    """
    if is_offline():
        raise DownloadError(f"model {model.name!r} was not downloaded, since downloads are forbidden: {model.by_hand}")
    failed = f"model {model.name!r} could not be downloaded"
    try:
        model.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(model, report):
            _retrieve(model, report)
    except DiskFullError as error:
        raise DownloadError(f"{failed}: {error} (another folder: set {FOLDER_VARIABLE})") from error
    except TransferError as error:
        raise DownloadError(f"{failed}: {error}; try again, or {model.by_hand}") from error
    except OSError as error:
        where = error.filename or model.path.parent
        reason = f"{where} cannot be written ({error.strerror or error})"
        raise DownloadError(f"{failed}: {reason} (another folder: set {FOLDER_VARIABLE})") from error


def arrived(model: KnownModel) -> int:
    """Bytes of an unfinished download, which the next one goes on with."""
    return _part(model).size


def why_kept(model: KnownModel, asked: bool) -> str:
    """Why :func:`remove` leaves the file of a model alone; empty if it does not, or there is none.

    What lies outside the models folder is the user's, and so is a file of other content than is
    downloaded, unless it is ``asked`` for by name: it may be a damaged one.
    """
    if not _found(model):
        return ""
    folder = models_folder().resolve()
    if not all(path.resolve().is_relative_to(folder) for path in (model.path, model.path.parent)):  # links, too
        return f"it lies outside the models folder {folder}"
    algorithm, expected = model.digest.split(":")
    if not asked and model.path.is_file() and hash_file(model.path, algorithm) != expected:
        return f"it is not what is downloaded under this name; to delete it, give the name {model.name}"
    return ""


def _found(model: KnownModel) -> list[Path]:
    return [path for path in (model.path, _part(model).folder) if path.exists()]


def remove(model: KnownModel, asked: bool = True) -> list[tuple[Path, int]]:
    """Delete the file of a model and what has arrived of it; what was deleted, with bytes.

    Nothing that :func:`why_kept` speaks of. Raises ``DownloadError`` if it is being downloaded.
    """
    from filelock import Timeout

    found = _found(model)
    if not found or why_kept(model, asked):
        return []
    try:
        with _lock(model).acquire(timeout=0):
            return [(path, _remove(path)) for path in found]
    except Timeout as error:
        raise DownloadError(f"{model.path} is being downloaded and was left alone: cancel that first") from error


def _remove(path: Path) -> int:
    if not path.is_dir():
        size = path.stat().st_size
        path.unlink()
        return size
    size = sum(file.stat().st_size for file in path.iterdir())
    shutil.rmtree(path)
    return size


def _part(model: KnownModel) -> Part:
    return Part(model.path.with_name(f"{model.path.name}.part"))


def _lock(model: KnownModel) -> "BaseFileLock":
    from filelock import FileLock

    # it stays: were it deleted, two processes could each hold the lock on a file of this name
    return FileLock(model.path.with_name(f".{model.path.name}.lock"))


@contextmanager
def _alone(model: KnownModel, report: Report) -> Iterator[None]:
    """Wait until no other process or thread downloads this file."""
    from filelock import Timeout

    lock = _lock(model)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL)
        except Timeout:
            report(Progress("Waiting for another download of it"))
    try:
        yield
    finally:
        lock.release()


def _retrieve(model: KnownModel, report: Report) -> None:
    """By pooch, which works inside the folder of the part: whatever a killed process leaves is found there."""
    import pooch

    if model.path.is_file() and pooch.hashes.hash_matches(model.path, model.digest):
        return  # another process has brought it meanwhile
    part = _part(model)

    def bring(url: str, output: str, _pooch: object) -> None:
        fetch(url, part, report)
        report(Progress("Checking", part.size, part.size))
        os.replace(part.data, output)

    try:
        with _silenced(pooch.get_logger()):
            verified = pooch.retrieve(model.url, model.digest, model.path.name, part.folder, downloader=bring)
        os.replace(verified, model.path)  # in one folder, so that nobody ever finds a half file here
    except ValueError as error:  # a wrong hash
        raise DownloadError(f"what {model.url} sent is not {model.name!r}: {error}") from error
    finally:
        if not part.size:  # else the next attempt goes on with it
            shutil.rmtree(part.folder, ignore_errors=True)


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """It announces a download when ours is over."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
