"""The command ``models``: list, download, delete; and ``segment`` with a model that is not there."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from napari_sam_amg.cli.main import main
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.defaults import missing_reason, model_defaults
from napari_sam_amg.models.registry import CheckpointError, KnownModel, embedded_path, known_models, size_in_words
from tests.cli.terminal import Terminal
from tests.loopback import Loopback

CONTENT = bytes(range(256)) * 400  # 102400 bytes
Publish = Callable[..., KnownModel]


def models(terminal: Terminal, *words: str) -> tuple[list[str], list[str]]:
    """What the command prints."""
    assert main(["models", *words]) == 0
    return terminal.lines()


def test_list_names_every_model_with_its_file(terminal: Terminal, publish: Publish) -> None:
    model = publish("vit_t", CONTENT)
    model.path.parent.mkdir()
    model.path.write_bytes(CONTENT)
    rows, errors = models(terminal)
    assert [row.split()[0] for row in rows[1:-2]] == list(known_models())
    size = size_in_words(embedded_path().stat().st_size).split()
    assert rows[1].split()[:5] == ["embedded", "unet", *size, "yes"]
    assert rows[2].split()[:5] == ["vit_t", "vit_t", "102", "kB", "yes"]
    assert rows[2].endswith(str(model.path))
    assert rows[3].split()[:5] == ["vit_b", "vit_b", "375", "MB", "no"]
    assert rows[6].split()[:5] == ["vit_t_lm", "vit_t", "no", "light", "microscopy"]  # of a size that nobody published
    assert rows[-1].startswith(f"folder: {model.path.parent} ")
    assert errors == []
    assert not max(len(row) for row in rows) > 110 + len(str(model.path))


def test_download_then_clear(terminal: Terminal, publish: Publish, server: Loopback) -> None:
    model = publish("vit_t", CONTENT)
    printed, errors = models(terminal, "--download", "vit_t")
    assert printed == [f"vit_t: {model.path}"]
    assert errors == [f"downloading vit_t (102 kB) from {model.url} to {model.path}"]
    assert model.path.read_bytes() == CONTENT
    mine = model.path.with_name("mine.pt")
    mine.touch()
    assert models(terminal, "--clear", "vit_b")[0] == [f"nothing to delete in {mine.parent}"]
    assert models(terminal, "--clear", "vit_b", "vit_t")[0] == [f"deleted {model.path} (102 kB)", "102 kB freed"]
    assert not model.path.exists()
    assert mine.exists()


def test_a_finetune_comes_and_goes_with_its_decoder(terminal: Terminal, publish: Publish) -> None:
    model = publish("vit_t_lm", CONTENT, decoder=True)
    decoder = model.decoder
    assert decoder is not None
    printed, errors = models(terminal, "--download", "vit_t_lm")
    assert printed == [f"vit_t_lm: {model.path}", f"vit_t_lm_decoder: {decoder.path}"]
    assert [error.split()[1] for error in errors] == ["vit_t_lm", "vit_t_lm_decoder"]
    assert models(terminal)[0][6].split()[4] == "yes"
    decoder.path.unlink()
    assert models(terminal)[0][6].split()[4:6] == ["no", "decoder"]
    models(terminal, "--download", "vit_t_lm")
    deleted = models(terminal, "--clear", "vit_t_lm")[0]
    assert deleted == [f"deleted {file.path} (102 kB)" for file in model.files] + ["205 kB freed"]


def test_unfinished_download_is_listed_and_cleared(terminal: Terminal, publish: Publish, server: Loopback) -> None:
    model = publish("vit_t", CONTENT)
    server.cut_after = 50_000
    assert main(["models", "--download", "vit_t", "--quiet"]) == 1
    (line,) = terminal.lines()[1]
    assert line.startswith("napari-sam-amg: error: model 'vit_t' could not be downloaded: the connection was lost")
    assert models(terminal)[0][2].split()[:5] == ["vit_t", "vit_t", "102", "kB", "partly"]
    deleted, freed = models(terminal, "--clear")[0]
    assert deleted.startswith(f"deleted {model.path}.part (49 kB")
    assert freed == "49 kB freed"
    assert models(terminal)[0][2].split()[4] == "no"


def test_folder(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path / "elsewhere"))
    assert models(terminal, "--folder") == ([str(tmp_path / "elsewhere")], [])
    assert not (tmp_path / "elsewhere").exists()


def test_offline_download_is_refused(terminal: Terminal) -> None:
    assert main(["models", "--download", "vit_b"]) == 1
    (line,) = terminal.lines()[1]
    assert "model 'vit_b' was not downloaded, since downloads are forbidden: download https://" in line


@pytest.mark.parametrize("words", [["--download"], ["--download", "vit_x"], ["--clear", "embedded"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["models", *words])
    assert caught.value.code == 2
    assert len(words) == 1 or "choose from vit_t, vit_b," in capsys.readouterr().err


def test_segment_downloads_the_model_unless_it_is_offline(
    terminal: Terminal, publish: Publish, server: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("napari_sam_amg.models.checkpoint.load_model", load_model)
    torch.save({"not": "a SAM"}, tmp_path / "made.pt")  # a real one takes minutes on an image
    model = publish("vit_t", (tmp_path / "made.pt").read_bytes())
    image = terminal.png()
    assert terminal.segment(image, "--model", "vit_t", "--offline") == 1
    assert "'vit_t' is not on this machine: download http://127.0.0.1" in terminal.lines()[1][0]
    assert server.requests == []
    assert terminal.segment(image, "--model", "vit_t") == 1
    first, second = terminal.lines()[1]
    assert first == f"downloading vit_t ({size_in_words(model.size or 0)}) from {model.url} to {model.path}"
    assert second.startswith(f"napari-sam-amg: error: {model.path}: holds no SAM image encoder")
    assert model.path.exists()


def own_model(folder: Path, file: object, content: bytes = CONTENT) -> None:
    folder.mkdir(exist_ok=True)
    sha256 = hashlib.sha256(content).hexdigest()
    entry = f'[mine]\nfile = "{file}"\nurl = "https://example.org/mine.pt"\nsha256 = "{sha256}"\n'
    (folder / "models.toml").write_text(entry)


@pytest.mark.parametrize("words", [["--clear"], ["--clear", "mine"]])
@pytest.mark.parametrize("where", ["{0}/mine.pt", "../mine.pt", "sub/../../mine.pt", "link.pt", "linked/mine.pt"])
def test_clear_leaves_a_checkpoint_outside_the_folder_alone(
    where: str, words: list[str], terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mine = terminal.folder / "models", terminal.folder / "mine.pt"
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(folder))
    own_model(folder, where.format(terminal.folder))
    mine.write_bytes(CONTENT)
    (folder / "sub").mkdir()
    (folder / "link.pt").symlink_to(mine)
    (folder / "linked").symlink_to(terminal.folder, target_is_directory=True)
    printed, _ = models(terminal, *words)
    assert printed[0].startswith("left alone ")
    assert printed[0].endswith(f": it lies outside the models folder {folder}")
    assert mine.read_bytes() == CONTENT
    assert (folder / "link.pt").is_symlink()


def test_clear_deletes_what_was_downloaded_and_what_is_asked_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, publish: Publish
) -> None:
    published = publish("vit_t", CONTENT)
    folder = published.path.parent
    own_model(folder, "mine.pt")
    for file in (published.path, folder / "mine.pt"):
        file.write_bytes(b"finetuned for months")
    printed, _ = models(terminal, "--clear")
    assert [line.split(":")[0] for line in printed] == [
        f"left alone {published.path}", f"left alone {folder / 'mine.pt'}", f"nothing to delete in {folder}"
    ]  # fmt: skip
    assert (folder / "mine.pt").exists()
    (folder / "mine.pt").write_bytes(CONTENT)
    assert models(terminal, "--clear")[0][1:] == [f"deleted {folder / 'mine.pt'} (102 kB)", "102 kB freed"]
    assert models(terminal, "--clear", "vit_t")[0][0] == f"deleted {published.path} (0 kB)"
    assert (folder / "models.toml").exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("NAPARI_SAM_AMG_MODELS", "~nouser/m", "'~nouser/m' is not allowed: there is no user 'nouser'"),
        ("XDG_CACHE_HOME", "~nouser", "'~nouser' is not allowed: there is no user 'nouser'"),
    ],
)
def test_a_models_folder_of_nobody(
    name: str, value: str, reason: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no folder goes on, with a warning; what does says why it cannot."""
    monkeypatch.delenv("NAPARI_SAM_AMG_MODELS", raising=False)
    monkeypatch.setenv(name, value)
    line = f"the models folder is not known: {reason} (NAPARI_SAM_AMG_MODELS sets it)"
    assert terminal.segment(terminal.png()) == 0
    assert terminal.lines()[1] == [f"napari-sam-amg: warning: {line}"]
    for words in ([], ["--folder"], ["--clear"], ["--download", "vit_b"]):
        assert main(["models", *words]) == 1
        assert terminal.lines()[1][-1] == f"napari-sam-amg: error: {line}"
    assert load_model(device="cpu").info.name == "embedded"
    with pytest.raises(CheckpointError, match="there is no user 'nouser'"):
        load_model("vit_b")
    with pytest.raises(CheckpointError, match=r"'~nouser/a.pt' is not allowed: there is no user 'nouser'"):
        load_model("~nouser/a.pt")
    for model in ("vit_b", "~nouser/a.pt"):  # as the widget asks
        assert "there is no user 'nouser'" in str(missing_reason(model))
    assert model_defaults("~nouser/a.pt") == {}
