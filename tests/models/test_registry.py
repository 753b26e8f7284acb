"""Names, folders, hashes and thresholds of published checkpoints."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam_amg import hashes
from napari_sam_amg.models import registry
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.defaults import PUBLISHED
from napari_sam_amg.models.registry import CheckpointError, KnownModel, find_known, known_models, models_folder
from napari_sam_amg.params import AmgParameters

URLS = {
    "vit_h": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
    "vit_t_lm": "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/faithful-chicken/1.1/files/vit_t.pt",
}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    return tmp_path


def test_imports_no_torch() -> None:
    code = "import sys, napari_sam_amg.models.registry; print('torch' in sys.modules, 'numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", known_models()[1:])
def test_known_model_is_complete(name: str) -> None:
    model = find_known(name)
    assert model is not None
    assert model.name == name
    algorithm, digest = model.digest.split(":")
    assert (algorithm, len(digest)) in {("sha256", 64), ("xxh128", 32)}
    assert model.url.startswith("https://")
    AmgParameters(**PUBLISHED[name])


def test_file_names_are_all_different() -> None:
    names = [model.file_name for name in known_models() if (model := find_known(name))]
    assert len(set(names)) == len(names) == len(known_models()) - 1


@pytest.mark.parametrize(("name", "url"), URLS.items())
def test_absent_file_says_what_to_download_and_where_to_put_it(folder: Path, name: str, url: str) -> None:
    with pytest.raises(CheckpointError, match=f"model '{name}' is not on this machine: download {url} ") as caught:
        load_model(name, "cpu")
    model = find_known(name)
    assert model is not None
    assert str(folder / model.file_name) in str(caught.value)


def test_wrong_hash_is_refused(folder: Path) -> None:
    (folder / "sam_vit_b_01ec64.pth").write_bytes(b"half a download")
    found = hashlib.sha256(b"half a download").hexdigest()
    with pytest.raises(CheckpointError, match=f"sha256 is {found}, expected ec2df.*; download it again from https"):
        load_model("vit_b", "cpu")


@pytest.fixture
def published(folder: Path, hollow_vit_t: dict[str, Tensor], monkeypatch: Any) -> KnownModel:
    """A checkpoint in the models folder whose hash is in the registry."""
    path = folder / "mobile_sam.pt"
    torch.save(hollow_vit_t, path)
    model = find_known("vit_t")
    assert model is not None
    model = dataclasses.replace(model, digest=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    monkeypatch.setitem(registry._DOWNLOADABLE, "vit_t", model)
    return model


def test_verified_file_is_loaded_with_its_thresholds(published: KnownModel, folder: Path) -> None:
    info = load_model("vit_t", "cpu").info
    assert (info.name, info.architecture, info.path_name) == ("vit_t", "vit_t", "mobile_sam.pt")
    assert f"sha256:{info.sha256}" == published.digest
    photographs = {"label_pieces": "all", "max_ring_area": 0.0}
    thresholds = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95, "min_mask_region_area": 0}
    assert info.amg_defaults == thresholds | photographs


def test_published_file_is_known_under_any_name(published: KnownModel, folder: Path) -> None:
    renamed = (folder / published.file_name).rename(folder / "vit_b_lm.pt")
    info = load_model(renamed, "cpu").info
    assert (info.name, info.path_name) == ("vit_t", "vit_b_lm.pt")
    assert info.amg_defaults == PUBLISHED["vit_t"]


def test_finetune_is_verified_by_xxh128(folder: Path, hollow_vit_t: dict[str, Tensor], monkeypatch: Any) -> None:
    torch.save(hollow_vit_t, folder / "vit_t_lm.pt")
    monkeypatch.setattr(hashes, "xxhash", SimpleNamespace(xxh128=hashlib.md5))  # the same interface and length
    digest = hashlib.md5((folder / "vit_t_lm.pt").read_bytes()).hexdigest()
    model = find_known("vit_t_lm")
    assert model is not None
    monkeypatch.setitem(registry._DOWNLOADABLE, "vit_t_lm", dataclasses.replace(model, digest=f"xxh128:{digest}"))
    info = load_model("vit_t_lm", "cpu").info
    assert info.name == "vit_t_lm"
    assert info.amg_defaults == {
        "pred_iou_thresh": 0.6,
        "stability_score_thresh": 0.65,
        "min_mask_region_area": 100,
    }


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/napari-sam-amg"),
        ("linux", {"XDG_CACHE_HOME": "cache"}, "cache/napari-sam-amg"),
        ("darwin", {}, "home/Library/Caches/napari-sam-amg"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/napari-sam-amg"),
        ("linux", {"NAPARI_SAM_AMG_MODELS": "~/models"}, "home/models"),
    ],
)
def test_models_folder(monkeypatch: Any, platform: str, variables: dict[str, str], expected: str) -> None:
    for name in ("XDG_CACHE_HOME", "NAPARI_SAM_AMG_MODELS", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "home")
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert models_folder() == Path(expected)
