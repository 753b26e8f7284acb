"""The model that is kept from run to run is that of the file, of the entry and of the settings chosen now."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from napari_sam_amg.models import checkpoint
from napari_sam_amg.models.registry import embedded_path
from napari_sam_amg.plugin.running import work

needs_weights = pytest.mark.skipif(not embedded_path().exists(), reason="the embedded weights are not there")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    monkeypatch.setattr(work, "_loaded", {})
    (tmp_path / "mine.pt").write_bytes(b"first")
    (tmp_path / "models.toml").write_text('[mine]\nfile = "mine.pt"\n')
    (tmp_path / "mobile_sam.pt").write_bytes(b"first")
    return tmp_path


@pytest.fixture
def loads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were loaded from a file; a model is an object of its own each time."""
    names: list[str] = []

    def load(name: str, *_: Any, **__: Any) -> object:
        names.append(name)
        return object()

    monkeypatch.setattr(checkpoint, "load_model", load)
    return names


def rewrite(path: Path) -> None:
    path.write_bytes(b"other content")


def rewrite_at_the_same_time(path: Path) -> None:
    """As an archive or ``cp -p`` does, with a file of another length."""
    before = path.stat()
    path.write_bytes(b"other content")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_alike(path: Path) -> None:
    """Another file of the same length and time takes its place."""
    before, other = path.stat(), path.with_suffix(".new")
    other.write_bytes(b"FIRST")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def touch(path: Path) -> None:
    """By less than a float of seconds tells."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 100))


@pytest.mark.parametrize("change", [rewrite, rewrite_at_the_same_time, replace_alike, touch])
@pytest.mark.parametrize("name", ["mine", "vit_t", "path"])
def test_a_file_that_changed_is_loaded_again(
    folder: Path, loads: list[str], name: str, change: Callable[[Path], None]
) -> None:
    file = folder / ("mobile_sam.pt" if name == "vit_t" else "mine.pt")
    name = str(file) if name == "path" else name
    first = work.loaded_model(name, "cpu", "exact")
    assert work.loaded_model(name, "cpu", "exact") is first
    change(file)
    second = work.loaded_model(name, "cpu", "exact")
    assert second is not first
    assert work.loaded_model(name, "cpu", "exact") is second
    assert loads == [name, name]


KNOWN_OF_A_FILE = ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


@pytest.mark.parametrize("changed", KNOWN_OF_A_FILE)
def test_each_thing_that_is_known_of_a_file_counts(folder: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    """Not every file system has all of them; a real change moves several at once."""
    file, stat = folder / "mine.pt", Path.stat
    found = {name: getattr(file.stat(), name) for name in KNOWN_OF_A_FILE}
    before = work.model_files(str(file))

    def changed_stat(path: Path, **options: Any) -> Any:
        if path != file:
            return stat(path, **options)
        return SimpleNamespace(**found | {changed: found[changed] + 1})

    monkeypatch.setattr(Path, "stat", changed_stat)
    assert work.model_files(str(file)) != before


@pytest.mark.parametrize(
    "entry",
    ['[mine]\nfile = "other.pt"\n', '[mine]\nfile = "mine.pt"\nthresholds = { pred_iou_thresh = 0.5 }\n'],
    ids=["file", "thresholds"],
)
def test_an_entry_that_changed_is_loaded_again(folder: Path, loads: list[str], entry: str) -> None:
    first = work.loaded_model("mine", "cpu", "exact")
    (folder / "models.toml").write_text(entry)
    assert work.loaded_model("mine", "cpu", "exact") is not first
    assert loads == ["mine", "mine"]


def test_device_and_precision_are_part_of_the_model(loads: list[str]) -> None:
    models = [
        work.loaded_model("mine", *settings) for settings in (("cpu", "exact"), ("cpu", "fast"), ("auto", "fast"))
    ]
    assert len(set(map(id, models))) == len(loads) == 3
    assert len(work._loaded) == 1  # they are large


def test_a_path_is_that_of_the_present_folder(folder: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    os.link(folder / "mine.pt", folder / "sub" / "mine.pt")
    monkeypatch.chdir(folder)
    work.loaded_model("mine.pt", "cpu", "exact")
    monkeypatch.chdir(folder / "sub")
    work.loaded_model("mine.pt", "cpu", "exact")
    assert len(loads) == 2


def test_two_threads_load_a_model_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(name: str, *_: Any, **__: Any) -> object:
        loads.append(name)
        time.sleep(0.1)
        return object()

    monkeypatch.setattr(checkpoint, "load_model", load)
    models: list[object] = []
    threads = [
        threading.Thread(target=lambda: models.append(work.loaded_model("mine", "cpu", "exact"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(models) == 3
    assert len(set(map(id, models))) == len(loads) == 1


def test_a_model_that_cannot_be_loaded_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(checkpoint.CheckpointError):
        work.loaded_model("mine", "cpu", "exact")
    with pytest.raises(checkpoint.CheckpointError):
        work.loaded_model("mine", "cpu", "exact")
    assert work._loaded == {}


@needs_weights
def test_new_weights_under_the_same_name_are_those_that_compute(folder: Path) -> None:
    contents = torch.load(embedded_path(), weights_only=True)
    torch.save(contents, folder / "mine.pt")
    old = work.loaded_model("mine", "cpu", "exact")
    key = next(key for key, value in contents["model"].items() if value.is_floating_point())
    contents["model"][key] = contents["model"][key] + 1
    torch.save(contents, folder / "mine.pt")
    new = work.loaded_model("mine", "cpu", "exact")
    assert new.info.sha256 != old.info.sha256


def test_a_decoder_that_comes_later_is_loaded_with_the_model(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    (tmp_path / "vit_b_lm.pt").touch()
    before = work.model_files("vit_b_lm")
    assert work.model_files("vit_b_lm") == before
    (tmp_path / "vit_b_lm_decoder.pt").touch()
    assert work.model_files("vit_b_lm") != before
