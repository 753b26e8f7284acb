"""Which files of a batch are read, which image of a file, and what is said about it."""

import json
import os

import numpy as np
import pytest
import tifffile

from tests.cli.terminal import Terminal
from tests.disc_model import blobs


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_is_said_in_a_line_and_the_batch_goes_on(terminal: Terminal) -> None:
    folder = terminal.folder / "in"
    folder.mkdir()
    os.mkfifo(folder / "a.tif")
    terminal.png("in/b.png")
    assert terminal.segment(folder) == 1
    out, err = terminal.lines()
    assert len(out) == 1
    assert err == [f"{folder / 'a.tif'}: error: a pipe, a socket or a device and no file: only files can be read"]


def test_a_file_that_is_found_twice_is_said_and_done_once(terminal: Terminal) -> None:
    path = terminal.png()
    (terminal.folder / "z.png").symlink_to(path)
    assert terminal.segment(path, terminal.folder / "z.png") == 0
    out, err = terminal.lines()
    assert len(out) == 1
    assert err == [f"{terminal.folder / 'z.png'}: note: is the same file as {path}, which is segmented once"]


def test_only_a_file_that_will_be_read_is_hashed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    monkeypatch.setattr("napari_sam_amg.batch.image.hash_file", lambda path: hashed.append(path.name) or "0" * 64)
    (terminal.folder / "text.tif").write_text("hello")
    cmyk = terminal.folder / "cmyk.tif"
    tifffile.imwrite(cmyk, np.zeros((32, 32, 4), np.uint8), photometric="separated")
    assert terminal.segment(terminal.folder / "text.tif", cmyk, terminal.png()) == 1
    assert hashed == ["a.png"]


def test_a_file_that_is_replaced_before_it_is_hashed_is_not_recorded(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = terminal.png()

    def replace_and_hash(_path: object) -> str:
        path.write_bytes(b"another file")
        return "0" * 64

    monkeypatch.setattr("napari_sam_amg.batch.image.hash_file", replace_and_hash)
    assert terminal.segment(path) == 1
    assert "while it was read" in terminal.lines()[1][0]
    assert terminal.written() == []


def test_series_chooses_the_image_and_is_recorded(terminal: Terminal) -> None:
    path = terminal.folder / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(blobs())
        writer.write(np.pad(blobs(), 8), photometric="minisblack")
    assert terminal.segment(path, "--series", 0) == 0
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert record["settings"]["series"] == 0
    assert record["plane_size"] == list(blobs().shape)
    assert terminal.segment(path, "--overwrite") == 0
    assert "series 1 of 0..1 (--series chooses)" in terminal.lines()[0][-1]
    assert terminal.segment(path, "--series", 2, "--overwrite") == 1
    assert "series=2 is not in this file: allowed is 0 to 1" in terminal.lines()[1][-1]
