"""How much memory may be used: that of the computer, or what its control groups leave."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam_amg.io import memory
from napari_sam_amg.io.memory import check_plane, memory_limit


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


@pytest.mark.parametrize(
    ("stored", "more", "fits"),
    [(1, 0, 1900), (2, 0, 2200), (4, 0, 2800), (3, 0, 2500), (12, 0, 5200), (1, 500, 2400)],
    ids=["uint8", "uint16", "float32", "colour", "float32 colour", "read at once"],
)
def test_a_plane_needs_what_it_was_measured_to_need(
    stored: int, more: int, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: fits)
    check_plane(10, 10, stored, more)
    monkeypatch.setattr(memory, "memory_limit", lambda: fits - 1)
    with pytest.raises(ValueError, match="a plane of 10 x 10 pixels needs about"):
        check_plane(10, 10, stored, more)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured as Linux counts them")
@pytest.mark.parametrize(("dtype", "colours"), [("u2", 1), ("u1", 3), ("f4", 1)])
def test_reading_stays_below_what_is_foreseen(dtype: str, colours: int, tmp_path: Path) -> None:
    """In a process of its own: the peak of reading, survey and RGB, against that of a small image."""
    peaks = []
    for side in (64, 1500):
        image = np.random.default_rng(0).integers(0, 200, (side, side, colours)).astype(dtype).squeeze()
        path = tmp_path / f"{side}.tif"
        tifffile.imwrite(path, image, photometric="rgb" if colours == 3 else "minisblack", compression="zlib")
        run = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    stored = np.dtype(dtype).itemsize * colours
    assert peaks[1] - peaks[0] < 1500**2 * (3 * stored + 16)


PEAK = """
import resource, sys
from pathlib import Path
from napari_sam_amg.amg.preprocess import survey, to_rgb
from napari_sam_amg.io.images import open_image

with open_image(Path(sys.argv[1])) as source:
    found = survey(source.stack)
    rgb = to_rgb(source.stack.plane(()), found.intensities)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
