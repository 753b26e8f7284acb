"""``--settings FILE`` runs again, flags override it, and ``diff`` says what was changed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.cli.main import main
from tests.cli.terminal import DEFAULTS, STACK, Terminal


def again(terminal: Terminal, *arguments: object) -> Any:
    """The record of a run into another folder, whose name is the next letter."""
    terminal.out = terminal.folder / f"out{len(list(terminal.folder.glob('out*')))}"
    assert terminal.segment(*arguments) == 0
    return json.loads(next(terminal.out.glob("*_run.json")).read_text())


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of blobs has a name."""
    monkeypatch.setattr("napari_sam_amg.cli.from_settings.known_models", lambda: ("embedded", "blobs"))
    monkeypatch.setattr("napari_sam_amg.cli.segment.known_models", lambda: ("embedded", "blobs"))


FLAGS = ("--pred-iou-thresh", "0.65", "--overlap", "small", "--precision", "fast", "--intensities", "0", "210")


@pytest.mark.usefixtures("known")
def test_a_record_runs_again_to_equal_files(terminal: Terminal) -> None:
    two = np.stack([STACK // 3, STACK], axis=1)
    tifffile.imwrite(terminal.folder / "s.tif", two, photometric="minisblack", imagej=True, metadata={"axes": "ZCYX"})
    first = again(
        terminal, terminal.folder / "s.tif", *FLAGS, "--channel", "1", "--range", "z=0:2", "--pixel-size", "2"
    )
    before = terminal.out
    second = again(terminal, terminal.folder / "s.tif", "--settings", before / "s_run.json")
    assert terminal.loaded == ["embedded", "blobs"]
    assert second["settings"] == first["settings"]
    assert second["settings"]["channel"] == 1
    assert second["labels"] == first["labels"] == 3
    for name in ("s_labels.tif", "s_features.csv"):
        assert (terminal.out / name).read_bytes() == (before / name).read_bytes()


@pytest.mark.usefixtures("known")
def test_flags_come_before_the_file(terminal: Terminal) -> None:
    first = again(terminal, terminal.png(), *FLAGS)
    flags = ("--overlap", "large", "--intensities", "0", "220", "--precision", "exact", "--model", "embedded")
    second = again(terminal, terminal.png(), "--settings", terminal.out / "a_run.json", *flags)
    expected = first["settings"]["parameters"] | {"overlap": "large"}
    assert second["settings"]["parameters"] == expected
    assert second["settings"]["intensities"] == [0, 220]
    assert second["settings"]["precision"] == "exact"
    assert terminal.loaded == ["embedded", "embedded"]


def of_layer(terminal: Terminal, source: dict[str, Any]) -> Path:
    """The record of a layer whose run was on a part of it, as napari saves it."""
    assert terminal.segment(terminal.png()) == 0
    run = json.loads((terminal.out / "a_run.json").read_text())
    kept = {name: run["settings"][name] for name in ("model", "precision", "parameters")}
    path = terminal.folder / "cells.json"
    path.write_text(json.dumps({"run": kept | {"versions": {}, "intensities": None, "source": source}}))
    terminal.lines()
    return path


PARTS = [
    ({"region": {"rows": [3, 40], "columns": [5, 60]}}, "rows 3 to 39 and columns 5 to 59"),
    ({"region": {"rows": [3, 40], "columns": [5, 60], "outline": [[3, 5], [40, 5], [3, 60]]}}, "a polygon in rows 3"),
    (
        {"region": {"rows": [3, 40], "columns": [5, 60], "outlines": [[[3, 5], [40, 5], [3, 60]]] * 2}},
        "shapes in rows 3",
    ),
    ({"ranges": {"0": [1, 3]}}, "planes 1 to 2 along axis 0"),
    ({"plane": [2]}, "plane 2"),
]


@pytest.mark.parametrize(("part", "words"), PARTS)
@pytest.mark.usefixtures("known")
def test_a_part_that_was_segmented_in_the_window_is_named_once(part: Any, words: str, terminal: Terminal) -> None:
    record = of_layer(terminal, {"axes": {"names": "yx"}, "channel": {}, "plane": None, **part})
    terminal.out = terminal.folder / "again"
    assert terminal.segment(terminal.png(), terminal.png("b.png"), "--settings", record) == 0
    _, (line,) = terminal.lines()
    assert line.startswith(f"{record}: note: is of a part of its image, {words}")
    assert "all planes are segmented whole" in line


@pytest.mark.usefixtures("known")
def test_a_layers_channel_and_planes_are_read_as_in_the_window(terminal: Terminal) -> None:
    record = of_layer(terminal, {"axes": {"names": "zx"}, "channel": {"1": 1}, "plane": None})
    volume = np.repeat(np.stack([STACK // 3, STACK], axis=1), 4, axis=0)[:, :, :12]
    path = terminal.folder / "s.tif"
    tifffile.imwrite(path, volume, photometric="minisblack", imagej=True, metadata={"axes": "ZCYX"})
    said = again(terminal, path, "--settings", record)
    assert (said["settings"]["channel"], said["settings"]["plane"]) == (1, "ZX")
    assert terminal.lines()[1] == []
    flags = again(terminal, path, "--settings", record, "--channel", "0", "--plane", "YX")
    assert (flags["settings"]["channel"], flags["settings"]["plane"]) == (0, "YX")


@pytest.mark.usefixtures("known")
def test_what_a_record_says_of_its_part_must_be_numbers(terminal: Terminal) -> None:
    record = of_layer(terminal, {"ranges": {"0": ["a", 3]}})
    assert terminal.segment(terminal.png(), "--settings", record) == 1
    _, (line,) = terminal.lines()
    assert "ranges={'0': ['a', 3]} is not allowed: it must have whole numbers, from and to" in line


def test_a_file_of_ones_own(terminal: Terminal) -> None:
    path = terminal.folder / "mine.toml"
    path.write_text('precision = "fast"\n[parameters]\noverlap = "small"\npoints_per_side = 8\n')
    record = again(terminal, terminal.png(), "--settings", path, "--points-per-side", "12")
    expected = DEFAULTS | {"overlap": "small", "points_per_side": 12}
    assert expected.items() <= record["settings"]["parameters"].items()
    assert record["settings"]["precision"] == "fast"


@pytest.mark.parametrize("name", ["mine.toml", "mine.json"])
def test_a_file_that_notepad_has_saved(name: str, terminal: Terminal) -> None:
    text = {"mine.toml": '[parameters]\noverlap = "small"', "mine.json": '{"parameters": {"overlap": "small"}}'}[name]
    (terminal.folder / name).write_text(text, "utf-8-sig")
    record = again(terminal, terminal.png(), "--settings", terminal.folder / name)
    assert record["settings"]["parameters"]["overlap"] == "small"


def test_axes_of_ranges_may_be_small_letters_as_those_of_the_flag(terminal: Terminal) -> None:
    (terminal.folder / "mine.json").write_text('{"ranges": {"z": [0, 2]}}')
    path = terminal.folder / "s.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    record = again(terminal, path, "--settings", terminal.folder / "mine.json")
    assert record["settings"]["ranges"] == {"Z": [0, 2, 1]}


def test_a_model_that_is_another_file_by_now_is_refused(terminal: Terminal, known: None) -> None:
    again(terminal, terminal.png())
    record = terminal.out / "a_run.json"
    terminal.model.info = dataclasses.replace(terminal.model.info, sha256="5" * 64)
    terminal.lines()
    terminal.out = terminal.folder / "other"
    assert terminal.segment(terminal.png(), "--settings", record) == 1
    _, (line,) = terminal.lines()
    assert "model 'blobs' is not the one of the record any more: its sha256 is 5555" in line
    assert terminal.segment(terminal.png(), "--settings", record, "--model", "blobs") == 0


BAD = [
    ('{"model": "vit_x"}', "s.json: there is no model of the name 'vit_x': give its file with --checkpoint"),
    ('{"precision": "double"}', "s.json: precision='double' is not allowed: choose from exact, fast"),
    ('{"parameters": {"overlap": "none"}}', "s.json: overlap='none' is not allowed: choose one of score"),
    ('{"ranges": {"Z": 5}}', "s.json: ranges={'Z': 5} is not allowed: each axis, a letter, has [first, stop]"),
    ('{"ranges": {"Z": [0]}}', "s.json: ranges={'Z': [0]} is not allowed: each axis, a letter, has [first, stop]"),
    ('{"ranges": {"Z": [0, 2, -1]}}', "s.json: ranges={'Z': [0, 2, -1]} is not allowed: each axis"),
    ('{"ranges": {"Z": [true, 2]}}', "s.json: ranges={'Z': [True, 2]} is not allowed: each axis"),
    ('{"ranges": {"": [0, 1]}}', "s.json: ranges={'': [0, 1]} is not allowed: each axis, a letter"),
    ('{"axes": "zz"}', "s.json: axes=zz is not allowed: give a letter for each axis, such as TZCYX"),
    ('{"plane": "x"}', "s.json: plane=x is not allowed: give a letter for each axis"),
    ("[" * 100_000, "s.json is no file of settings, JSON or TOML: maximum recursion depth exceeded"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_is_wrong_is_said_before_a_model_is_loaded(text: str, words: str, terminal: Terminal) -> None:
    (terminal.folder / "s.json").write_text(text)
    assert terminal.segment(terminal.png(), "--settings", terminal.folder / "s.json") == 1
    out, (line,) = terminal.lines()
    assert words in line
    assert (out, terminal.loaded, terminal.written()) == ([], [], [])


def test_diff_names_what_was_changed(terminal: Terminal) -> None:
    again(terminal, terminal.png())
    first = terminal.out / "a_run.json"
    again(terminal, terminal.png(), *FLAGS)
    second = terminal.out / "a_run.json"
    terminal.lines()
    assert main(["diff", str(first), str(first)]) == 0
    assert terminal.lines() == ([], [])
    assert main(["diff", str(first), str(second)]) == 1
    out, err = terminal.lines()
    assert out[:4] == [
        'precision: "exact" -> "fast"',
        "parameters.pred_iou_thresh: 0.9 -> 0.65",
        'parameters.overlap: "score" -> "small"',
        'intensities.from: "percentiles" -> "given"',
    ]
    assert err == []


def test_what_cannot_be_compared_is_no_difference(terminal: Terminal) -> None:
    again(terminal, terminal.png())
    record = terminal.out / "a_run.json"
    terminal.lines()
    assert main(["diff", str(record), str(terminal.folder / "none.json")]) == 2
    assert "none.json cannot be read" in terminal.lines()[1][0]
    (terminal.folder / "drawn.json").write_text('{"run": null}')
    assert main(["diff", str(record), str(terminal.folder / "drawn.json")]) == 2
    assert "drawn.json: these labels were not found by a run" in terminal.lines()[1][0]
    (terminal.folder / "dated.toml").write_text("model = 2026-01-02")
    assert main(["diff", str(record), str(terminal.folder / "dated.toml")]) == 1
    assert 'model: not said -> "2026-01-02"' in terminal.lines()[0]
