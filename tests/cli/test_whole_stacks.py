"""What is written and said of images with nothing in them, and of stacks of which some planes cannot be read."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import percentile_range
from napari_sam_amg.hashes import hash_file
from tests.cli.terminal import Terminal
from tests.disc_model import blobs

EMPTY = {
    "zeros.tif": (np.zeros((96, 128), np.uint8), "every pixel is 0"),
    "stack.tif": (np.full((3, 96, 128), 9, np.uint16), "every pixel is 9"),
    "nan.tif": (np.full((96, 128), np.nan, np.float32), "no pixel is finite: every value is NaN or infinite"),
    "inf.tif": (np.full((96, 128), np.inf, np.float32), "no pixel is finite: every value is NaN or infinite"),
    "bool.tif": (np.ones((96, 128), bool), "every pixel is 1"),
    "white.png": (np.full((96, 128, 3), 255, np.uint8), "every pixel is 255"),
}


def write(path: Path, image: Any) -> Path:
    if path.suffix == ".png":
        Image.fromarray(image).save(path)
    else:
        tifffile.imwrite(path, image, photometric="minisblack")
    return path


def record_of(terminal: Terminal, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((terminal.out / f"{name}_run.json").read_text())
    return record


@pytest.mark.parametrize("options", [[], ["--crop-layers", "auto"], ["--intensities", "0", "65536"]])
def test_images_with_nothing_in_them_are_results(options: list[str], terminal: Terminal) -> None:
    files = [write(terminal.folder / name, image) for name, (image, _) in EMPTY.items()]
    assert terminal.segment(*files, terminal.png("z.png"), *options, "--overlay", "--format", "labels,coco-rle") == 0
    out, err = terminal.lines()
    assert (len(out), err) == (len(EMPTY) + 1, [])
    for line, (name, (image, reason)) in zip(out, EMPTY.items(), strict=False):
        assert "0 masks, 0 labels" in line
        assert line.endswith(f"(nothing in it: {reason})")
        stem = Path(name).stem
        labels = tifffile.imread(terminal.out / f"{stem}_labels.tif")
        assert (labels.shape, labels.max()) == (image.shape[:2] if name == "white.png" else image.shape, 0)
        assert len(pd.read_csv(terminal.out / f"{stem}_features.csv")) == 0
        assert json.loads((terminal.out / f"{stem}_masks.json").read_text()) == []
        assert len(record_of(terminal, stem)["empty_planes"]) == record_of(terminal, stem)["planes"]
    assert {image.shape[:2] for image in terminal.model.embedded} <= {(96, 128), (80, 80), (64, 86), (86, 64)}
    assert "3 masks" in out[-1] or options


def test_a_plane_with_nothing_in_it_is_recorded_and_not_worth_a_word(terminal: Terminal) -> None:
    assert terminal.segment(terminal.stack()) == 0
    assert "(nothing" not in terminal.lines()[0][0]
    assert record_of(terminal, "s")["empty_planes"] == [1]
    assert record_of(terminal, "s")["intensities"] == {
        "from": "percentiles", "low": 0, "high": 200, "planes": [0, 2], "planes_looked_at": 3, "every_nth_pixel": 1
    }  # fmt: skip


def test_how_many_pixels_have_no_data_is_said_and_recorded(terminal: Terminal) -> None:
    image = (blobs() + np.random.default_rng(0).random((96, 128))).astype(np.float32)
    image[40, 50], image[60:62, 20], image[5, 5] = np.inf, np.nan, -np.inf
    assert terminal.segment(write(terminal.folder / "ratio.tif", image), "--overlay") == 0
    said = terminal.lines()[0][0]
    assert "(4 pixels are NaN or infinite, which is taken for no data: gaps" in said
    assert "3 masks, 3 labels" in said
    assert record_of(terminal, "ratio")["intensities"]["pixels_without_data"] == 4


def test_given_intensities_are_recorded_as_such(terminal: Terminal) -> None:
    assert terminal.segment(terminal.stack(), "--intensities", "0", "255") == 0
    assert record_of(terminal, "s")["intensities"] == {"from": "given", "low": 0, "high": 255}


@pytest.mark.parametrize("given", [["--intensities", "0", "255"], []])
def test_the_plane_by_which_the_crop_layer_is_chosen_is_recorded(given: list[str], terminal: Terminal) -> None:
    stack = np.zeros((40, 96, 128), np.uint8)
    stack[33] = blobs()
    write(terminal.folder / "s.tif", stack)
    assert terminal.segment(terminal.folder / "s.tif", "--crop-layers", "auto", *given) == 0
    assert record_of(terminal, "s")["crop_layer_chosen_on"] == 33
    assert terminal.segment(terminal.png(), "--crop-layers", "auto", *given) == 0
    assert record_of(terminal, "a")["crop_layer_chosen_on"] is None


@pytest.mark.parametrize("rest", ["black", "noise"])
def test_objects_in_2_of_40_planes_are_found(rest: str, terminal: Terminal) -> None:
    noise = np.random.default_rng(0).normal(20, 2, (40, 96, 128)).astype(np.uint8)
    stack = noise if rest == "noise" else np.zeros_like(noise)
    stack[3] = stack[4] = np.maximum(blobs(), stack[3])
    path = write(terminal.folder / "s.tif", stack)
    assert terminal.segment(path) == 0
    labels = tifffile.imread(terminal.out / "s_labels.tif")
    assert [at for at in range(40) if labels[at].any()] == [3, 4]
    assert labels.max() == 6
    assert percentile_range(PlaneStack(stack)).high >= 200


def damaged_stack(terminal: Terminal, *lost: int) -> Path:
    """A compressed stack of six planes, of which those that are named cannot be decoded."""
    path = terminal.folder / "s.tif"
    tifffile.imwrite(path, np.stack([blobs()] * 6), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        places = [(tiff.pages[at].dataoffsets[0], tiff.pages[at].databytecounts[0]) for at in lost]
    with path.open("r+b") as file:
        for offset, size in places:
            file.seek(offset)
            file.write(bytes(size))
    return path


@pytest.mark.parametrize("options", [[], ["--crop-layers", "auto"], ["--intensities", "0", "255"]])
def test_a_lost_plane_is_named_and_the_others_are_done(options: list[str], terminal: Terminal) -> None:
    path = damaged_stack(terminal, 0, 4)
    assert terminal.segment(path, terminal.png(), "--overlay", *options) == 1
    out, err = terminal.lines()
    (line,) = err
    assert re.match(rf"{path}: error: 2 of 6 planes failed: plane 0: .+, plane 4: .+", line)
    assert line.removeprefix(f"{path}: error: ") in out[0]
    assert len(out) == 2
    problems = record_of(terminal, "s")["problems"]
    assert [problem["plane"] for problem in problems] == [0, 4]
    assert all(problem["reason"] for problem in problems)
    labels = tifffile.imread(terminal.out / "s_labels.tif")
    assert [bool(plane.any()) for plane in labels] == [False, True, True, True, False, True]
    assert (terminal.out / "s_overlay.png").exists()
    assert record_of(terminal, "a")["problems"] == []


def test_many_lost_planes_are_counted(terminal: Terminal) -> None:
    assert terminal.segment(damaged_stack(terminal, 0, 1, 2, 3, 4), "--quiet") == 1
    out, (line,) = terminal.lines()
    assert out == []
    assert "5 of 6 planes failed: plane 0: " in line
    assert line.endswith("and 2 more")
    assert "plane 3" not in line
    assert len(record_of(terminal, "s")["problems"]) == 5


def test_planes_that_a_run_lost_are_tried_again_when_a_batch_is_resumed(terminal: Terminal) -> None:
    path = damaged_stack(terminal, 2)
    assert terminal.segment(path) == 1
    planes = len(terminal.model.embedded)
    assert terminal.segment(path, "--skip-existing") == 1
    assert len(terminal.model.embedded) == planes  # the others are kept
    assert "1 of 6 planes failed: plane 2" in terminal.lines()[1][1]
    assert terminal.segment(path, "--skip-existing", "--pred-iou-thresh", "0.8") == 1  # other settings
    assert len(terminal.model.embedded) == planes


def raw_stack(terminal: Terminal) -> Path:
    return write(terminal.folder / "s.tif", np.stack([blobs()] * 4))


def when_embedded(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act once, while the model looks at the second plane."""
    embed, calls = terminal.model.embed, iter(range(100))
    monkeypatch.setattr(terminal.model, "embed", lambda image: (next(calls) == 1 and act(), embed(image))[1])


@pytest.mark.parametrize("how", ["cut", "appended", "touched"])
def test_a_stack_that_is_changed_while_it_is_read_replaces_nothing(
    how: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw_stack(terminal)
    assert terminal.segment(path) == 0
    before = (terminal.out / "s_labels.tif").read_bytes()
    changes = {
        "cut": lambda: os.truncate(path, path.stat().st_size // 2),
        "appended": lambda: path.write_bytes(path.read_bytes() + b"more"),
        "touched": lambda: os.utime(path, (1, 1)),
    }
    when_embedded(terminal, monkeypatch, changes[how])
    assert terminal.segment(path, terminal.png(), "--overwrite", "--pred-iou-thresh", "0.8") == 1
    (line,) = terminal.lines()[1]
    assert re.match(rf"{path}: error: the file was (cut short|changed) while it was read", line)
    assert (terminal.out / "s_labels.tif").read_bytes() == before
    assert (terminal.out / "a_labels.tif").exists()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_stack_that_is_deleted_or_replaced_meanwhile_is_done_as_it_was(
    how: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw_stack(terminal)
    size, sha256 = path.stat().st_size, hash_file(path)
    write(terminal.folder / "other.tif", np.zeros((1, 96, 128), np.uint8))
    act = path.unlink if how == "deleted" else lambda: os.replace(terminal.folder / "other.tif", path)
    when_embedded(terminal, monkeypatch, act)
    assert terminal.segment(path) == 0
    assert tifffile.imread(terminal.out / "s_labels.tif").max() == 12
    record = record_of(terminal, "s")["input"]
    assert (record["bytes"], record["sha256"]) == (size, sha256)


def test_a_stack_that_lost_all_planes_writes_nothing(terminal: Terminal) -> None:
    path = damaged_stack(terminal, *range(6))
    assert terminal.segment(path) == 1
    out, (line,) = terminal.lines()
    assert out == []
    assert re.match(rf"{path}: error: .+", line)
    assert terminal.written() == []
