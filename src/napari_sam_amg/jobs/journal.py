"""What a run has done so far: a file of lines of JSON, each appended when what it tells of is on the disk.

The first line says which run it is, the next ones what was decided for all of it, then there is one line a unit.
Whoever is killed while writing leaves half a line at the end: it is cut off, and what it told of is done again.
"""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Entry = dict[str, Any]


def entries(path: Path) -> list[Entry]:
    """All whole lines of a journal; none if there is no journal. A line that cannot be read is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    found = [_entry(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    return [entry for entry in found if entry is not None]


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:  # bytes that are no text among it
        return None
    return entry if isinstance(entry, dict) else None


class Journal:
    """A journal that is written; by one process at a time."""

    def __init__(self, path: Path) -> None:
        """One that exists is gone on with, without half a line at its end."""
        self.path = path
        self.entries = entries(path)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        os.ftruncate(self._file, path.read_bytes().rfind(b"\n") + 1)

    def add(self, entry: Entry) -> None:
        """Append a line. It outlives the process at once, and a failure of power as soon as the disk has it."""
        line = json.dumps(entry).encode() + b"\n"
        while line:  # a disk that is nearly full takes a part, and then says why
            line = line[os.write(self._file, line) :]
        self.entries.append(entry)

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
