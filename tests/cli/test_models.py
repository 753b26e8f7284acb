"""The command ``models``: list, download, delete; and ``segment`` with a model that is not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from napari_sam_amg.cli.main import main
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.registry import KnownModel, embedded_path, known_models, size_in_words
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
