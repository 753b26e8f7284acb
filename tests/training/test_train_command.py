"""``python -m training.train``: its options, and a run that ends by the clock."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io

from training import train
from training.recipe import ModelConfig, Recipe, recipe_from, recipe_options

CONFIG = ModelConfig(
    img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), blocks=(0, 1, 1, 1, 1), mlp_dim=32, iou_head_hidden_dim=16
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "train" / "squares"
    folder.mkdir(parents=True)
    labels = np.zeros((70, 90), np.uint16)
    labels[10:30, 10:40], labels[35:60, 50:80] = 1, 2
    io.imsave(folder / "000_image.png", (labels * 90).astype(np.uint8), check_contrast=False)
    io.imsave(folder / "000_labels.png", labels, check_contrast=False)
    return tmp_path / "data"


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def parse(monkeypatch: pytest.MonkeyPatch, *options: str) -> Recipe:
    monkeypatch.setattr("sys.argv", ["train", "--data", "somewhere", "--name", "run", *options])
    return recipe_from(recipe_options(train.parse_arguments()))


def test_a_share_is_that_of_one_data_set_and_the_others_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse(monkeypatch, "--share", "sponges=2.5", "--share", "bbbc039=1", "--hold-out", "6")
    assert recipe.shares == Recipe().shares | {"sponges": 2.5, "bbbc039": 1.0}
    assert recipe.hold_out == 6
    assert parse(monkeypatch).shares == Recipe().shares


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "abacus"], "'abacus' can't be used here"),
        (["--share", "sponges"], "invalid share value: 'sponges'"),
        (["--device", "meta", "--workers", "2"], "--workers 2 is for CPUs"),
    ],
)
def test_what_cannot_be_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        parse(monkeypatch, *options)
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_run_ends_by_the_clock_and_saves(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    monkeypatch.setattr(train, "RUNS", tmp_path)
    monkeypatch.setattr(train, "ModelConfig", lambda: CONFIG)
    monkeypatch.setattr(train, "log_to", lambda folder: None)  # it opens a file that stays open
    for name, value in train.MALLOC.items():
        monkeypatch.setenv(name, value)
    options = ["--max-seconds", "2", "--steps", "1000000", "--batch", "2", "--crop", "64", "--points", "3"]
    monkeypatch.setattr("sys.argv", ["t", "--data", str(data), "--name", "run", *options])
    threads = torch.get_num_threads()
    train.main()
    assert torch.get_num_threads() == threads
    assert np.finfo(float).smallest_subnormal * np.ones(1) > 0  # flushed to zero for the run only
    saved = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert 1 <= saved["step"] < 1000000
    assert saved["recipe"]["points"] == 3
