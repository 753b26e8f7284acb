import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam_amg.io.point_grids import read_point_grids

GRID = ((0.25, 0.5), (0.75, 0.5))


@pytest.mark.parametrize(
    ("content", "expected"),
    [(GRID, (GRID,)), ([GRID], (GRID,)), ([GRID, GRID[:1]], (GRID, GRID[:1])), ([[0, 1]], (((0.0, 1.0),),))],
)
def test_json(content: Any, expected: Any, tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(json.dumps(content))
    assert read_point_grids(tmp_path / "grid.json") == expected


def test_json_that_notepad_has_saved(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(json.dumps(GRID), "utf-8-sig")
    assert read_point_grids(tmp_path / "grid.json") == (GRID,)


@pytest.mark.parametrize("array", [np.array(GRID), np.array([GRID])])
def test_npy(array: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "grid.npy", array)
    assert read_point_grids(tmp_path / "grid.npy") == (GRID,)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"", "no JSON or NPY file"),
        ("a.json", b"\xff\xfe", "no JSON or NPY file"),
        ("a.json", b"[" * 100_000, "no JSON or NPY file"),
        ("a.npy", b"hello", "no JSON or NPY file"),
        ("a.json", b"[]", "must hold"),
        ("a.json", b"{}", "must hold"),
        ("a.json", b"3", "must hold"),
        ("a.json", b"[[1, 2, 3]]", "must hold"),
        ("a.json", b'[["a", "b"]]', "must hold"),
        ("a.json", b"[[[0.5, 0.5]], 7]", "must hold"),
    ],
)
def test_wrong_file_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_point_grids(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.json cannot be read: No such file"):
        read_point_grids(tmp_path / "gone.json")
