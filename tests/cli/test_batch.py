"""Several inputs, outputs that exist already, interruption."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile

from tests.cli.terminal import STACK, Terminal
from tests.disc_model import blobs


def test_folder_loads_the_model_once(terminal: Terminal) -> None:
    folder = terminal.folder / "in"
    folder.mkdir()
    terminal.png("in/b.png")
    terminal.stack("in/a.tif")
    assert terminal.segment(folder) == 0
    assert len(terminal.loaded) == 1
    assert [Path(line.split(":")[0]).name for line in terminal.lines()[0]] == ["a.tif", "b.png"]


def test_one_failure_does_not_stop_the_others(terminal: Terminal) -> None:
    (terminal.folder / "bad.tif").write_text("hello")
    inputs = [terminal.folder / "bad.tif", terminal.folder / "gone.tif", terminal.png()]
    assert terminal.segment(*inputs) == 1
    assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_run.json"]
    out, err = terminal.lines()
    assert len(out) == 1
    assert err == [
        f"{inputs[1]}: error: no such file or folder",
        f"{inputs[0]}: error: not an image that can be read: allowed are "
        "TIFF, PNG, JPEG, BMP, GIF, WebP, JPEG 2000, AVIF, PNM, TGA and a few more",
    ]


def test_names_that_clash_are_refused_before_anything_runs(terminal: Terminal) -> None:
    for name in ("x", "y"):
        (terminal.folder / name).mkdir()
        terminal.png(f"{name}/a.png")
    assert terminal.segment(terminal.folder / "x", terminal.folder / "y") == 1
    assert "would both be written as" in terminal.lines()[1][0]
    assert terminal.loaded == []
    assert not terminal.out.exists()


def test_existing_output_is_kept(terminal: Terminal) -> None:
    path = terminal.png()
    terminal.out.mkdir()
    (terminal.out / "a_labels.tif").write_text("precious")
    assert terminal.segment(path, terminal.stack()) == 1
    assert (terminal.out / "a_labels.tif").read_text() == "precious"
    assert terminal.lines()[1] == [
        f"{path}: error: {terminal.out / 'a_labels.tif'} exists already: "
        "give --overwrite to replace it, or --skip-existing to keep it"
    ]
    assert terminal.written() == ["a_labels.tif", "s_features.csv", "s_labels.tif", "s_run.json"]


def test_overwrite_replaces(terminal: Terminal) -> None:
    path = terminal.png()
    assert terminal.segment(path, "--format", "labels,masks") == 0
    terminal.png(image=blobs(discs=((60, 30, 12),)))
    assert terminal.segment(path, "--format", "labels,masks", "--overwrite") == 0
    assert tifffile.imread(terminal.out / "a_labels.tif").max() == 1
    assert sorted(path.name for path in (terminal.out / "a_masks").iterdir()) == ["0.png", "metadata.csv"]


def test_batch_is_resumed(terminal: Terminal) -> None:
    first, second = terminal.png(), terminal.stack()
    assert terminal.segment(first) == 0
    embedded = len(terminal.model.embedded)
    assert terminal.segment(first, second, "--skip-existing") == 0
    assert len(terminal.model.embedded) == embedded + len(STACK)
    out, _ = terminal.lines()
    assert out[1] == f"{first}: skipped, {terminal.out / 'a_run.json'} says that it is done"


@pytest.mark.parametrize("change", ["settings", "image", "format", "half"])
def test_other_results_are_not_skipped(change: str, terminal: Terminal) -> None:
    path = terminal.png()
    assert terminal.segment(path) == 0
    arguments = ["--skip-existing"]
    if change == "settings":
        arguments += ["--box-nms-thresh", "0.5"]
    if change == "image":
        terminal.png(image=blobs(discs=((60, 30, 12),)))
    if change == "format":
        arguments += ["--overlay"]
    if change == "half":
        (terminal.out / "a_features.csv").unlink()
    assert terminal.segment(path, *arguments) == 1
    assert "from another image or other settings, or incomplete" in terminal.lines()[1][0]
    assert terminal.segment(path, *arguments, "--overwrite") == 0


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Shells start background jobs with SIGINT ignored, which the tests' process may have inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_what_is_whole_and_nothing_else(
    number: signal.Signals, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [terminal.png(), terminal.stack()]
    decode = terminal.model.decode

    def decode_and_stop(embedding: Any, points: Any, keep: Any) -> Any:
        if len(terminal.model.embedded) == 3:  # the second plane of the second input
            os.kill(os.getpid(), number)
        return decode(embedding, points, keep)

    monkeypatch.setattr(terminal.model, "decode", decode_and_stop)
    before = signal.getsignal(signal.SIGTERM)
    assert terminal.segment(*inputs, "--format", "labels,coco-rle,masks") == 130
    assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_masks", "a_masks.json", "a_run.json"]
    assert terminal.lines()[1] == ["napari-sam-amg: interrupted; images that were finished are kept"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory.\nTried"), "not enough memory: .*CUDA out of memory. Tried"),
        (ZeroDivisionError("oops"), r"ZeroDivisionError: oops \(--debug shows where\)"),
        (OSError(28, "No space left on device", "x.tif"), "No space left on device: x.tif"),
    ],
)  # fmt: skip
def test_failure_while_segmenting(
    error: Exception, message: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: Any) -> Any:
        raise error

    monkeypatch.setattr(terminal.model, "embed", fail)
    assert terminal.segment(terminal.png()) == 1
    (line,) = terminal.lines()[1]
    assert re.search(message, line)
    assert not terminal.out.exists()


def test_debug_shows_the_traceback(terminal: Terminal) -> None:
    (terminal.folder / "bad.tif").write_text("hello")
    assert terminal.segment(terminal.folder / "bad.tif", "--debug") == 1
    err = terminal.lines()[1]
    assert err[0] == "Traceback (most recent call last):"
    assert err[-1].endswith("AVIF, PNM, TGA and a few more")
