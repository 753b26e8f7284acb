"""Folders that users see: shown by the system's own program for files."""

from pathlib import Path

from napari.utils.notifications import show_error
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices


def show_folder(folder: Path, what: str) -> None:
    """Open a folder, which is made if need be; ``what`` is in it, in words, for systems that cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        show_error(f"The folder {folder} cannot be made: {error.strerror}")
        return
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
        show_error(f"There is no program here that shows folders; {what} in {folder}")
