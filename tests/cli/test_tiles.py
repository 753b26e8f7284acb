"""``segment`` on planes that are taken tile by tile."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_sam_amg.amg import tiled_plane
from napari_sam_amg.io import labels_tiff, memory
from tests.cli.terminal import Terminal
from tests.disc_model import blobs

TILES = ("--tile-size", 64, "--tile-halo", 16)
DISCS = [(x, y, 9) for x in (30, 64, 120, 170) for y in (20, 64, 100, 150, 210, 260)]


def written(terminal: Terminal, image: Any, **options: Any) -> Any:
    path = terminal.folder / "big.tif"
    tifffile.imwrite(path, image, photometric="minisblack", **options)
    return path


def test_labels_table_and_record(terminal: Terminal) -> None:
    path = written(terminal, blobs((300, 200), DISCS), tile=(64, 64), compression="zlib")
    assert terminal.segment(path, *TILES, "--format", "labels", "--format", "coco-rle", "--overlay") == 0
    (line,), errors = terminal.lines()
    assert errors == []
    assert "24 labels" in line
    assert "(tiles of 64 pixels)" in line
    assert len(np.unique(tifffile.imread(terminal.out / "big_labels.tif"))) == 25
    assert len(pd.read_csv(terminal.out / "big_features.csv")) == 24
    record = json.loads((terminal.out / "big_run.json").read_text())
    assert (record["parameters_used"]["tile_size"], record["parameters_used"]["tile_halo"]) == (64, 16)


def test_a_damaged_tile_of_the_file_is_named_and_the_rest_is_written(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam_amg.amg.planes.LARGE_SIDE", 100)
    path = written(terminal, blobs((300, 200), DISCS), rowsperstrip=20, compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[14]  # rows 280 to 299
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 8)
    assert terminal.segment(path, *TILES) == 1
    _, (error,) = terminal.lines()
    assert "4 of 20 tiles failed: rows 240 to 299, columns 0 to 49: page 0 of the TIFF file cannot be read" in error
    assert "and 1 more" in error
    assert len(pd.read_csv(terminal.out / "big_features.csv")) == 20


def test_a_plane_that_does_not_fit_is_read_in_parts_where_it_can_be(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam_amg.io.images.LARGE_SIDE", 100)
    monkeypatch.setattr("napari_sam_amg.amg.planes.LARGE_SIDE", 100)
    monkeypatch.setattr(memory, "memory_limit", lambda: 200 * 150 * 19)
    image = blobs((300, 200), DISCS)
    path = written(terminal, image, rowsperstrip=20, compression="zlib")
    assert terminal.segment(path, *TILES) == 0
    terminal.lines()
    assert terminal.segment(path, "--overwrite") == 1
    assert "a plane of 300 x 200 pixels needs about" in terminal.lines()[1][0]
    path = written(terminal, image, rowsperstrip=300, compression="zlib")  # a single strip: it must be read whole
    assert terminal.segment(path, *TILES, "--overwrite") == 1
    assert "a plane of 300 x 200 pixels needs about" in terminal.lines()[1][0]


def test_a_large_image_is_segmented_in_little_memory(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tiled_plane, labels_tiff):
        monkeypatch.setattr(module, "WHOLE_PIXELS", 1_000_000)
    image = np.zeros((5000, 2100), np.uint8)  # labels in 32 bits would take 42 MB
    image[4000:4300, 1000:1200] = blobs((300, 200), [(x, y, 20) for x in (40, 90, 150) for y in (50, 150, 250)])
    path = written(terminal, image, rowsperstrip=64, compression="zlib")
    del image
    tracemalloc.start()
    assert terminal.segment(path, "--tile-size", 300, "--tile-halo", 50) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert len(pd.read_csv(terminal.out / "big_features.csv")) == 9
