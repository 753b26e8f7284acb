"""What is printed may go nowhere: the work is done all the same, and the exit status says how it went."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest

from napari_sam_amg.cli.main import main
from tests.cli.terminal import Terminal
from tests.disc_model import blobs

OUTPUTS = ["a_features.csv", "a_labels.tif", "a_run.json", "b_features.csv", "b_labels.tif", "b_run.json"]


def broken_pipe() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def full_disk() -> TextIO:
    return Path("/dev/full").open("w")


def closed_in_python() -> TextIO:
    with Path(os.devnull).open("w") as stream:
        return stream


def no_stream() -> None:
    return None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("make", [broken_pipe, full_disk, closed_in_python, no_stream])
def test_all_images_are_done_whatever_becomes_of_the_output(
    make: Callable[[], TextIO | None], name: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [terminal.png("a.png"), terminal.png("b.png")]
    for said in ((), (terminal.folder / "gone.png",)):  # without and with something to say on stderr
        stream, before = make(), getattr(sys, name)
        monkeypatch.setattr(sys, name, stream)
        is_failure = bool(said) or (name == "stdout" and make is full_disk)
        assert terminal.segment(*inputs, *said, "--overwrite") == is_failure
        assert getattr(sys, name) is stream
        monkeypatch.setattr(sys, name, before)
        if stream is not None:
            stream.close()  # which does not try to write once more
        assert terminal.written() == OUTPUTS
        out, err = terminal.lines()
        assert len(out) == (0 if name == "stdout" else 2)
        if name == "stdout":
            full = ["napari-sam-amg: error: No space left on device: standard output"] * (make is full_disk)
            assert err == [f"{path}: error: no such file or folder" for path in said] + full


COMMANDS = ("models", "models --folder", "segment --help", "--version")
PLACES = {"| true": 0, ">/dev/full": 1}
CLOSED = {">&-": 0, "2>&-": 0, "<&- >&- 2>&-": 0}


@pytest.mark.parametrize(
    ("words", "where", "status"),
    [(words, *place) for words in COMMANDS for place in PLACES.items()]
    + [("models", *place) for place in CLOSED.items()],
)
def test_every_command_alike(words: str, where: str, status: int) -> None:
    line = f'"{sys.executable}" -m napari_sam_amg {words} {where}'
    command = ["bash", "-o", "pipefail", "-c", line]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    full = "napari-sam-amg: error: No space left on device: standard output\n"
    assert done.stderr == (full if status else "")


def test_files_never_take_the_place_of_a_closed_stream(terminal: Terminal, tiny_checkpoint: Path) -> None:
    """The next file that a process opens has the lowest free number, and libraries write to 2 whatever it is."""
    code = """
import os, sys
from napari_sam_amg.cli.main import main
from napari_sam_amg.models import checkpoint
load = checkpoint.load_model
def look_and_load(*names, **options):
    with open(os.devnull) as file:
        assert file.fileno() > 2
    return load(*names, **options)
checkpoint.load_model = look_and_load
sys.exit(main(sys.argv[1:]))
"""
    words = ["segment", terminal.png("a.png"), "--output", terminal.out, "--device", "cpu"]
    shell = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", sys.executable, "-c", code]
    done = subprocess.run([*shell, *map(str, words), "--checkpoint", str(tiny_checkpoint)], check=False)
    assert done.returncode == 0
    assert terminal.written() == OUTPUTS[:3]


def test_names_of_files_stay_in_their_line(terminal: Terminal) -> None:
    odd = "one\ntwo \x1b[31m 100%s \udcff.png"
    path = terminal.png(odd)
    assert terminal.segment(path, terminal.folder / "go\nne.png") == 1
    (out,), (err,) = terminal.lines()
    assert out.startswith(f"{terminal.folder}/one\\ntwo \\x1b[31m 100%s \\udcff.png: 96 x 128 pixels")
    assert err == f"{terminal.folder}/go\\nne.png: error: no such file or folder"
    assert terminal.segment(path, "--skip-existing") == 0  # the record holds the name, too
    assert "skipped" in terminal.lines()[0][0]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_closed_terminal_cleans_up_unless_it_is_to_be_ignored(
    name: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(signal, name)
    embed = terminal.model.embed

    def embed_and_signal(image: Any) -> Any:
        os.kill(os.getpid(), number)
        return embed(image)

    monkeypatch.setattr(terminal.model, "embed", embed_and_signal)
    path = terminal.png(image=blobs())
    before = signal.signal(number, signal.SIG_IGN)  # as nohup does
    try:
        assert terminal.segment(path) == 0
        assert terminal.written() == OUTPUTS[:3]
        signal.signal(number, signal.SIG_DFL)
        assert terminal.segment(path, "--overwrite") == 130
        assert terminal.written() == OUTPUTS[:3]
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_main_leaves_the_streams_as_they_were() -> None:
    before = sys.stdout, sys.stderr
    assert main(["models", "--folder"]) == 0
    assert (sys.stdout, sys.stderr) == before
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["models", "--folder"]) == 0
    assert len(printed.getvalue().splitlines()) == 1
