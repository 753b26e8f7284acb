"""Zip files that are put together in other ways than ``torch.save`` does, and files that change."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_sam_amg.models import archive, checkpoint
from napari_sam_amg.models.checkpoint import CheckpointError, load_model
from napari_sam_amg.models.defaults import missing_reason, model_defaults

Entries = list[tuple[str, bytes]]


@pytest.fixture
def path(tiny_file: dict[str, Any], tmp_path: Path) -> Path:
    """A whole checkpoint whose tensors are views of one storage."""
    floats = {key: value for key, value in tiny_file["model"].items() if value.is_floating_point()}
    flat = torch.cat([value.flatten() for value in floats.values()])
    parts = flat.split([value.numel() for value in floats.values()])
    views = {key: part.view_as(floats[key]) for key, part in zip(floats, parts, strict=True)}
    torch.save(tiny_file | {"model": tiny_file["model"] | views}, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def write_anew(path: Path, methods: tuple[int, ...], change: Callable[[Entries], Entries] = lambda entries: entries):
    """The same entries, compressed by these methods in turn."""
    with zipfile.ZipFile(path) as old:
        entries = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for index, (name, data) in enumerate(change(entries)):
            new.writestr(zipfile.ZipInfo(name), data, methods[index % len(methods)])


def is_loaded(path: Path, tiny_file: dict[str, Any]) -> None:
    loaded = load_model(path, "cpu").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in tiny_file["model"].items())


def test_views_of_a_compressed_storage(path: Path, tiny_file: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    write_anew(path, (zipfile.ZIP_DEFLATED,))
    is_loaded(path, tiny_file)
    monkeypatch.setattr(archive, "_MAX_UNFOLDED", 100_000)  # what stands before a view is unfolded anew for each
    with pytest.raises(CheckpointError, match="is compressed so that it unfolds to absurdly much"):
        load_model(path, "cpu")


def test_only_some_entries_are_compressed(tiny_file: dict[str, Any], tmp_path: Path) -> None:
    """Both kinds are read from one place in one file."""
    torch.save(tiny_file, tmp_path / "a.pt")
    write_anew(tmp_path / "a.pt", (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
    is_loaded(tmp_path / "a.pt", tiny_file)


def test_two_entries_of_one_name(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_anew(path, (zipfile.ZIP_STORED,), lambda entries: [*entries, entries[0]])
    with pytest.raises(CheckpointError, match=r"a.pt: damaged: several of its entries have the same name; expected"):
        load_model(path, "cpu")


def test_a_list_that_names_another_entry(tiny_file: dict[str, Any], tmp_path: Path) -> None:
    """Two tensors of one size, of which the list of entries gives each the place of the other."""
    path = tmp_path / "a.pt"
    torch.save(tiny_file, path)
    with zipfile.ZipFile(path) as file:
        entries = [entry for entry in file.infolist() if entry.filename.endswith(("data/0", "data/1"))]
    content = bytearray(path.read_bytes())
    for entry, other in zip(entries, entries[::-1], strict=True):
        start = content.rindex(entry.filename.encode()) - 46
        assert content[start : start + 4] == b"PK\x01\x02"
        content[start + 42 : start + 46] = struct.pack("<I", other.header_offset)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"truncated or damaged \(File name in directory"):
        load_model(path, "cpu")


@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_a_file_that_changes_while_it_is_loaded(path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash would be of other weights than those that segment."""

    def build(config: Any) -> Any:
        if path.exists() and not torch.empty(0).is_meta:
            path.unlink() if what == "deleted" else os.utime(path, ns=(0, 0))
        return built(config)

    built = checkpoint.build_sam
    monkeypatch.setattr(checkpoint, "build_sam", build)
    words = "cannot be read .No such file" if what == "deleted" else "was changed while it was read, try again"
    with pytest.raises(CheckpointError, match=f"^{path}: {words}"):
        load_model(path, "cpu")


def test_a_name_that_is_too_long_for_any_file(tmp_path: Path) -> None:
    name = str(tmp_path / ("a" * 300))
    with pytest.raises(CheckpointError, match=rf"^{name}: cannot be read \(File name too long\)$"):
        load_model(name, "cpu")
    assert missing_reason(name) == f"{name} cannot be read (File name too long)"
    assert model_defaults(name) == {}


def test_a_file_without_a_sam_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A language model of 100 GB that was chosen by mistake."""
    torch.save({"weight": torch.ones(1)}, tmp_path / "a.pt")
    monkeypatch.setattr("napari_sam_amg.models.defaults.hash_file", lambda _: pytest.fail("hashed"))
    assert model_defaults(str(tmp_path / "a.pt")) == {}
