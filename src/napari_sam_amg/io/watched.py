"""Files that others may change while they are read: noticed, and never mapped into memory."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one state of a file from another."""

    device: int
    inode: int
    size: int
    modified: int  # nanoseconds

    @classmethod
    def of(cls, file: Path | int) -> "FileState":
        """Of a file by its path, or by its descriptor. Raises ``OSError``."""
        found = os.stat(file)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def check(self, file: Path | int) -> None:
        """Raise ``ValueError`` if the file is not in this state any more."""
        now = FileState.of(file)
        if now.size < self.size:
            raise ValueError(f"the file was cut short while it was read, from {self.size} to {now.size} bytes")
        if now != self:
            raise ValueError("the file was changed while it was read")

    def check_in_place(self, path: Path) -> None:
        """As :meth:`check`, but not for one that was deleted or replaced by another: what is open can still be read."""
        with suppress(FileNotFoundError):
            now = FileState.of(path)
            if (now.device, now.inode) == (self.device, self.inode):
                self.check(path)


def check_regular(path: Path) -> None:
    """Raise ``ValueError`` for what to open may never return, or may do something: pipes, sockets and devices."""
    if not stat.S_ISREG(path.stat().st_mode):
        kind = "a folder" if path.is_dir() else "a pipe, a socket or a device"
        raise ValueError(f"{kind} and no file: only files can be read")
