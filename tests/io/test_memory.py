"""How much memory may be used: that of the computer, or what its control groups leave."""

import os
from pathlib import Path

import pytest

from napari_sam_amg.io.memory import memory_limit


def limit(tmp_path: Path, own: str, files: dict[str, str]) -> int | None:
    groups = tmp_path / "groups"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    (tmp_path / "own").write_text(own)
    return memory_limit(tmp_path / "own", groups)


INSTALLED = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
CASES: dict[str, tuple[str, dict[str, str], int]] = {
    "none": ("0::/\n", {}, INSTALLED),
    "version 2": ("0::/a/b\n", {"a/b/memory.max": "5000\n"}, 5000),
    "version 2, of the group around": ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "4000\n"}, 4000),
    "version 2, in a container": ("0::/host/path\n", {"memory.max": "3000\n"}, 3000),
    "version 1": ("5:cpu:/x\n4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "2000\n"}, 2000),
    "version 1, in a container": ("4:memory:/docker/1\n", {"memory/memory.limit_in_bytes": "1000\n"}, 1000),
    "no limit": ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, INSTALLED),
    "another's": ("0::/a\n", {"b/memory.max": "10\n"}, INSTALLED),
}


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows has no control groups")
@pytest.mark.parametrize(("own", "files", "expected"), CASES.values(), ids=CASES)
def test_limit(own: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert limit(tmp_path, own, files) == expected


def test_where_there_are_no_groups(tmp_path: Path) -> None:
    assert memory_limit(tmp_path / "none", tmp_path) == (INSTALLED or memory_limit())
