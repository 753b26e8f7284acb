"""Outputs appear whole or not at all: written into a hidden folder beside, renamed at the end."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(targets: Sequence[Path]) -> Iterator[Path]:
    """A hidden folder in which to write files of the targets' names; they move when the block succeeds.

    The targets lie in one folder, which is made if need be, and are replaced if they exist, in the
    order given. If the block fails or is interrupted, nothing of it remains.
    """
    parent = targets[0].parent
    made = _missing_folders(parent)
    parent.mkdir(parents=True, exist_ok=True)
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{targets[0].name[:60]}.", suffix=".part", dir=parent))
        yield folder
        _publish(folder, targets)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        remove_empty(made)


def _publish(folder: Path, targets: Sequence[Path]) -> None:
    """Move everything to its place, or, if that fails half-way, put back what was there before."""
    begun: list[Path] = []
    try:
        for target in targets:
            if target.exists() and target.is_dir() != (folder / target.name).is_dir():
                raise ValueError(f"{target} is in the way: it is not an output of this command, move it away")
            begun.append(target)
            if target.exists():
                target.rename(_backup(folder, target))
            (folder / target.name).rename(target)
    except BaseException:
        for target in begun:
            _put_back(folder, target)
        raise


def _backup(folder: Path, target: Path) -> Path:
    return folder / f"{target.name}.old"


def _put_back(folder: Path, target: Path) -> None:
    """Undo whatever was done to one target: the new one away, the old one back."""
    if not (folder / target.name).exists() and target.exists():
        target.rename(folder / target.name)
    if _backup(folder, target).exists():
        _backup(folder, target).rename(target)


def _missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, the deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those folders in which nothing lies, in the order given."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
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
