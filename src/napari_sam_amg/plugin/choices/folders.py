"""Folders that users see: shown by the system's own program for files."""

from contextlib import suppress
from pathlib import Path

from napari.utils.notifications import show_error
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices


def typed_path(text: str) -> Path:
    """With ``~`` replaced by the home folder, where there is one of that name."""
    with suppress(RuntimeError):
        return Path(text).expanduser()
    return Path(text)


def output_problem(folder: Path) -> str:
    """What keeps results from being written there, in words; empty if nothing does."""
    if not folder.is_absolute():  # nobody sees which folder a program was started in
        return f"{folder} is no whole path: choose the folder, or write all of it."
    return f"{folder} is a file." if folder.exists() and not folder.is_dir() else ""


def show_folder(folder: Path, what: str) -> None:
    """Open a folder, which is made if need be; ``what`` is in it, in words, for systems that cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        show_error(f"The folder {folder} cannot be made: {error.strerror}")
        return
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
        show_error(f"There is no program here that shows folders; {what} in {folder}")
