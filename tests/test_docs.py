"""What README and docs tell to type works: the commands are understood, and the Python runs."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam_amg import read_settings
from napari_sam_amg.cli.flags import parse
from tests.disc_model import blobs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = blobs()[:64, :64]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in [*blocks(page, "sh"), *blocks(page, "bash")]:
            for line in block.replace("\\\n", " ").splitlines():
                found += [part.strip() for part in line.split("&&") if "napari-sam-amg " in part.split("#")[0]]
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)
    start = next(place for place, word in enumerate(words) if word.endswith("napari-sam-amg"))
    if "--help" not in words:
        parse(words[start + 1 :])


def test_there_are_commands() -> None:
    assert len(commands()) > 25


@pytest.mark.parametrize(("page", "count"), [("README.md", 2), ("docs/python.md", 4), ("docs/batch.md", 1)])
def test_python_runs(page: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("image.tif", "folder/a.tif"):
        tifffile.imwrite(name, SMALL)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(name, np.stack([SMALL] * 3), imagej=True, metadata={"axes": "ZYX"})
    zarr.save_array("stack.zarr", np.stack([SMALL] * 3))
    names: dict[str, Any] = {"image": SMALL}
    found = blocks(ROOT / page, "python")
    assert len(found) == count
    for code in found:
        exec(code, names)
    if "masks" in names:
        assert len(names["masks"]) == len(names["records"]) > 0
    if "stricter" in names:
        assert set(map(tuple, names["stricter"].boxes)) <= set(map(tuple, names["masks"].boxes))
    if "step" in names:
        assert names["step"].result.features["index"].max() >= 1  # the last plane has an object through z
    if "file" in names:
        assert [names["file"].problem, names["file"].path] == ["", Path("b.tif")]
        assert json.loads(Path("results/b_run.json").read_text())["settings"]["parameters"]["link"] == "z"
    if "done" in names:
        assert names["done"].problem == ""
        assert Path("results/a_rois.zip").exists()


@pytest.mark.parametrize("page", ["docs/presets.md", "docs/exports.md"])
def test_settings_are_allowed(page: str, tmp_path: Path) -> None:
    (text,) = blocks(ROOT / page, "toml")
    (tmp_path / "mine.toml").write_text(text)
    assert read_settings(str(tmp_path / "mine.toml")).params().pred_iou_thresh == 0.6
