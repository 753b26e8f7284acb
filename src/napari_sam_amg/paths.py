"""Paths as people type them."""

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """With ``~`` and ``~name`` replaced by the home folder; a file that is really called so stays as it is.

    ``ValueError`` if there is no such user, or no home folder is known.
    """
    if os.path.lexists(path):
        return Path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0][1:]
        reason = f"there is no user {user!r}" if user else "no home folder is known, set HOME"
        raise ValueError(f"{os.fspath(path)!r} is not allowed: {reason}") from error
