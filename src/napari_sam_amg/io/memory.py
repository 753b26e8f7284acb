"""How much memory this process may use, so that an image that does not fit is refused in words."""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")

#: What a plane needs at once, in bytes a pixel: three times what is stored (as read, as decoded, as kept by the survey
#: of the stack); 8-bit RGB for the model; labels, while they are painted and counted. Measured at 4000 x 4000 in fresh
#: processes, reading, survey and RGB peak at 7 to 13 for grey of 8 to 32 bit, 11 to 18 for 8-bit colour, 25 for 16-bit
#: PNG in colour and 29 for float32 colour, the highest where a picture is decoded as a whole (PNG, BMP).
_TIMES_STORED = 3
_RGB_AND_LABELS = 16


def memory_limit(own_groups: Path = Path("/proc/self/cgroup"), groups: Path = _CGROUPS) -> int | None:
    """Bytes: the memory of the computer, or less where a container or a batch system sets a limit. None if unknown."""
    known = [limit for limit in (_installed(), *_group_limits(own_groups, groups)) if limit is not None]
    return min(known, default=None)


def _installed() -> int | None:
    if sys.platform == "win32":
        return _installed_on_windows()
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _group_limits(own_groups: Path, groups: Path) -> Iterator[int]:
    """The limits of the control groups that this process is in, and of the groups around them: versions 1 and 2.

    Inside a container the path that Linux names is that of the host, and the limit lies at the top.
    """
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        place = top / path.lstrip("/")
        for folder in (place, *place.parents):
            limit = _read_number(folder / name)
            if limit is not None:
                yield limit
            if folder == top:
                break


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _installed_on_windows() -> int | None:
    """From GlobalMemoryStatusEx: nine fields, of which the second is the memory that is installed."""
    fields: list[tuple[str, Any]] = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)]
    fields += [(name, ctypes.c_ulonglong) for name in ("total", "free", "files", "free_files", "all", "left", "more")]
    status = type("MemoryStatus", (ctypes.Structure,), {"_fields_": fields})()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - only there on Windows
    return int(status.total) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def check_plane(height: int, width: int, stored: int, more: int = 0) -> None:
    """Refuse a plane that does not fit into memory, before the operating system ends the process.

    ``stored``: bytes a pixel, of all its colours. ``more``: bytes that are needed beside it. Raises ``ValueError``.
    """
    needed = height * width * (_TIMES_STORED * stored + _RGB_AND_LABELS) + more
    limit = memory_limit()
    if limit is not None and needed > limit:
        raise ValueError(
            f"a plane of {height} x {width} pixels needs about {_gigabytes(needed)} of memory, {_gigabytes(limit)} may "
            "be used here: cut the image into parts"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.0f} GB" if count >= 1e10 else f"{count / 1e9:.1f} GB"
