"""Models that users add in ``models.toml``."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.own_models import THRESHOLDS, OwnModel, read_own_models
from napari_sam_amg.models.registry import (
    EMBEDDED,
    CheckpointError,
    embedded_path,
    find_known,
    find_own,
    find_sha256,
    known_models,
    own_models,
)

HASH = "5" * 64
EMBEDDED_PATH = embedded_path()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A models folder of its own."""
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "models.toml").write_text(text, "utf-8")


def test_without_a_file_there_are_none(folder: Path) -> None:
    assert own_models().models == {}
    assert own_models().problems == ()


def test_every_entry_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    write(
        folder,
        f"""\ufeff
        [nuclei]
        file = "sub/nuclei.pt"
        ["Müller-2.b"]
        file = "~/b.pt"
        url = "https://example.org/b.pt"
        sha256 = "{HASH.replace("5", "A")}"
        description = "of our screen"
        ["Müller-2.b".thresholds]
        pred_iou_thresh = 0
        points_per_side = 16.0
        overlap = "small"
        """,
    )
    thresholds = {"pred_iou_thresh": 0.0, "points_per_side": 16, "overlap": "small"}
    assert own_models().problems == ()
    assert own_models().models == {
        "nuclei": OwnModel("nuclei", folder / "sub" / "nuclei.pt"),
        "Müller-2.b": OwnModel(
            "Müller-2.b", Path("/home/me/b.pt"), "https://example.org/b.pt", "a" * 64, thresholds, "of our screen"
        ),
    }
    assert type(own_models().models["Müller-2.b"].thresholds["points_per_side"]) is int
    assert known_models()[0] == EMBEDDED
    assert known_models()[-2:] == ("nuclei", "Müller-2.b")


def test_only_one_with_an_address_is_a_published_model(folder: Path) -> None:
    """What is published may be downloaded, and deleted to be downloaded again."""
    write(
        folder,
        f'[a]\nfile = "a.pt"\nsha256 = "{HASH}"\n[b]\nfile = "b.pt"\nurl = "http://x.org/b"\nsha256 = "{HASH}"',
    )
    assert find_known("a") is None
    model = find_known("b")
    assert model is not None
    assert (model.name, model.url, model.digest) == ("b", "http://x.org/b", f"sha256:{HASH}")
    assert Path(model.file_name) == folder / "b.pt"
    assert find_sha256(HASH) is None


BAD = {
    "name": ('["../x"]\nfile = "a.pt"', r"\['../x'\] is no name for a model: allowed are letters, digits"),
    "empty name": ('[""]\nfile = "a.pt"', r"\[''\] is no name"),
    "dash in front": ('[-x]\nfile = "a.pt"', r"\['-x'\] is no name"),
    "built-in": ('[vit_b]\nfile = "a.pt"', r"\[vit_b\] is the name of a model that is built in"),
    "embedded": ('[embedded]\nfile = "a.pt"', r"\[embedded\] is the name of a model that is built in"),
    "no table": ('x = "a.pt"', r"x='a.pt' is not allowed: a model is a table"),
    "list": ('[[x]]\nfile = "a.pt"', r"x=\[\{'file': 'a.pt'\}\] is not allowed: a model is a table"),
    "no file": ('[x]\ndescription = "d"', r"\[x\] has no file: it needs file"),
    "number": ("[x]\nfile = 3", r"\[x\] file=3 is not allowed: it must be a text in quotes"),
    "no user": (
        '[x]\nfile = "~nobody-here/a.pt"',
        r"\[x\] file='~nobody-here/a.pt' is not allowed: there is no such user",
    ),
    "typo": (
        '[x]\nfile = "a.pt"\nfiel = "b"',
        r"\[x\] has fiel='b', which is unknown: allowed are file, url, sha256, thresholds, description",
    ),
    "short hash": ('[x]\nfile = "a.pt"\nsha256 = "abc"', r"\[x\] sha256='abc' is not allowed: it must be 64 digits"),
    "no hash": ('[x]\nfile = "a.pt"\nurl = "https://x.org"', r"\[x\] url='https://x.org' needs a sha256 beside it"),
    "other protocol": (
        f'[x]\nfile = "a.pt"\nurl = "file:///etc"\nsha256 = "{HASH}"',
        r"\[x\] url='file:///etc' is not allowed: it must begin with https:// or http://",
    ),
    "threshold out of range": (
        '[x]\nfile = "a.pt"\nthresholds = { pred_iou_thresh = 3 }',
        r"\[x\] thresholds: pred_iou_thresh=3 is out of range: allowed is 0 to 1",
    ),
    "not finite": (
        '[x]\nfile = "a.pt"\nthresholds = { box_nms_thresh = nan }',
        r"\[x\] thresholds: box_nms_thresh=nan is not allowed: it must be a number from 0 to 1",
    ),
    "wrong word": (
        '[x]\nfile = "a.pt"\nthresholds = { overlap = "big" }',
        r"\[x\] thresholds: overlap='big' is not allowed: choose one of score, small, large",
    ),
    "unknown threshold": (
        '[x]\nfile = "a.pt"\nthresholds = { iou = 0.3 }',
        rf"\[x\] thresholds: iou=0.3 is unknown: allowed are {', '.join(THRESHOLDS)}",
    ),
    "point grid": (
        '[x]\nfile = "a.pt"\nthresholds = { point_grids = [[[0.5, 0.5]]] }',
        r"\[x\] thresholds: point_grids=.* is unknown",
    ),
    "thresholds no table": ('[x]\nfile = "a.pt"\nthresholds = 3', r"\[x\] thresholds=3 is not allowed: .* a table"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_entry_gets_one_line_and_the_others_stay(folder: Path, text: str, message: str) -> None:
    write(folder, f'{text}\n[good]\nfile = "good.pt"')
    (problem,) = own_models().problems
    with pytest.raises(ValueError, match=rf"^{folder / 'models.toml'}: {message}"):
        raise ValueError(problem)
    assert "\n" not in problem
    assert list(own_models().models) == ["good"]
    assert known_models()[-2:] == ("vit_l_em_organelles", "good")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[x\n", "models.toml is no TOML file: .*line 1"),
        (b"a = 1\na = 2", "models.toml is no TOML file: Cannot overwrite a value"),
        (b"\xff\xfe[\0", "models.toml is no TOML file: .*utf-8"),
        (None, "models.toml cannot be read: Is a directory"),
    ],
)
def test_a_bad_file_gets_one_line_and_the_built_in_models_stay(
    folder: Path, content: bytes | None, message: str
) -> None:
    path = folder / "models.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    (problem,) = own_models().problems
    with pytest.raises(ValueError, match=message):
        raise ValueError(problem)
    assert len(problem.splitlines()) == 1
    assert known_models()[-1] == "vit_l_em_organelles"
    with pytest.raises(CheckpointError, match=f"'mine' is neither a known model .*; {path}"):
        load_model("mine", "cpu")


def test_own_model_is_loaded_with_its_name_and_thresholds(folder: Path, hollow_vit_t: dict[str, Tensor]) -> None:
    torch.save(hollow_vit_t, folder / "a.pt")
    digest = hashlib.sha256((folder / "a.pt").read_bytes()).hexdigest()
    write(folder, f'[mine]\nfile = "a.pt"\nsha256 = "{digest}"\nthresholds.pred_iou_thresh = 0.3')
    info = load_model("mine", "cpu").info
    assert (info.name, info.architecture, info.path_name) == ("mine", "vit_t", "a.pt")
    assert info.amg_defaults == {"pred_iou_thresh": 0.3}


def test_with_an_address_too(folder: Path, hollow_vit_t: dict[str, Tensor]) -> None:
    torch.save(hollow_vit_t, folder / "a.pt")
    digest = hashlib.sha256((folder / "a.pt").read_bytes()).hexdigest()
    url = "https://example.org/a.pt"
    write(folder, f'[mine]\nfile = "a.pt"\nurl = "{url}"\nsha256 = "{digest}"\nthresholds.points_per_side = 7')
    info = load_model("mine", "cpu").info
    assert info.name == "mine"
    assert info.amg_defaults["points_per_side"] == 7


def test_thresholds_in_the_checkpoint_are_kept_where_the_entry_says_nothing(folder: Path) -> None:
    write(folder, f'[mine]\nfile = "{EMBEDDED_PATH.as_posix()}"\nthresholds.pred_iou_thresh = 0.123')
    defaults = load_model(EMBEDDED, "cpu").info.amg_defaults
    assert load_model("mine", "cpu").info.amg_defaults == {**defaults, "pred_iou_thresh": 0.123}
    assert load_model("mine", "cpu").info.name == "mine"


def test_absent_or_other_file(folder: Path) -> None:
    write(folder, f'[gone]\nfile = "gone.pt"\n[other]\nfile = "other.pt"\nsha256 = "{HASH}"')
    (folder / "other.pt").write_bytes(b"other")
    with pytest.raises(CheckpointError, match=rf"model 'gone': there is no file {folder / 'gone.pt'}, which models"):
        load_model("gone", "cpu")
    with pytest.raises(CheckpointError, match=rf"damaged or not 'other': its sha256 is .*, models.toml says {HASH}"):
        load_model("other", "cpu")


def test_names_of_others_are_taken(tmp_path: Path) -> None:
    write(tmp_path, '[a]\nfile = "a.pt"\n[b]\nfile = "b.pt"')
    found: Any = read_own_models(tmp_path, ["a"])
    assert list(found.models) == ["b"]


def test_the_file_is_read_anew(folder: Path) -> None:
    write(folder, '[a]\nfile = "a.pt"')
    assert find_own("a") is not None
    write(folder, "")
    assert find_own("a") is None
