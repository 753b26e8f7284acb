"""Stacks that are interrupted, and the same command given again."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam_amg.batch import file_run
from napari_sam_amg.jobs import identity
from tests.cli.terminal import Terminal
from tests.disc_model import blobs

PLANES = np.stack([blobs(discs=((20 + n, 20, 8), (60, 30 + n, 12))) for n in range(5)])
WORK = Path(".s_run.json.part", "work")


@pytest.fixture
def stack(terminal: Terminal) -> Path:
    tifffile.imwrite(terminal.folder / "s.tif", PLANES, photometric="minisblack")
    return terminal.folder / "s.tif"


@pytest.fixture
def broken_off(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    """Give the command and interrupt it at the plane whose number is given; returns how many planes were looked at."""

    def run(plane: int, *arguments: object) -> int:
        seen, embed = len(terminal.model.embedded), terminal.model.embed

        def interrupted(image):
            if len(terminal.model.embedded) - seen == plane:
                raise KeyboardInterrupt
            return embed(image)

        with monkeypatch.context() as patched:
            patched.setattr(terminal.model, "embed", interrupted)
            assert terminal.segment(*arguments) == 130
        terminal.lines()
        return len(terminal.model.embedded) - seen

    return run


def contents(terminal: Terminal) -> dict[str, bytes]:
    return {name: (terminal.out / name).read_bytes() for name in terminal.written() if name != "s_run.json"}


def units(terminal: Terminal) -> list[str]:
    return sorted(path.name for path in (terminal.out / WORK / "units").iterdir())


OPTIONS = ("--format", "labels,coco-rle", "--overlay")


@pytest.mark.parametrize("first", [1, 4])
def test_a_stack_goes_on_where_it_was(first, terminal, stack, broken_off):
    assert terminal.segment(stack, *OPTIONS) == 0
    whole = contents(terminal)
    assert broken_off(first, stack, *OPTIONS, "--overwrite") == first
    assert units(terminal) == [f"plane_{n}.npz" for n in range(first)]
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, *OPTIONS, "--overwrite") == 0
    assert len(terminal.model.embedded) - seen == 5 - first
    assert contents(terminal) == whole
    assert f"(goes on from {first} part{'s' * (first > 1)} done before" in terminal.lines()[0][0]
    assert json.loads((terminal.out / "s_run.json").read_text())["parts_done_before"] == first


@pytest.mark.parametrize("link", ["z", "t"])
def test_objects_through_a_stack_are_those_of_a_run_in_one_go(link, terminal, stack, broken_off):
    options = (*OPTIONS, "--link", link, "--overwrite")
    assert terminal.segment(stack, *options) == 0
    whole = contents(terminal)
    assert f"s_{'tracks' if link == 't' else 'objects'}.csv" in whole
    broken_off(3, stack, *options)
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, *options) == 0
    assert len(terminal.model.embedded) - seen == 2
    assert contents(terminal) == whole


def test_links_may_change_when_a_run_goes_on_and_what_the_model_was_asked_may_not(terminal, stack, broken_off):
    broken_off(3, stack, "--link", "z")
    assert terminal.segment(stack, "--link", "none") == 1
    assert 'kept here: link was "z", now it is "none or t"; give the same' in terminal.lines()[1][0]
    assert terminal.segment(stack, "--link", "z", "--pred-iou-thresh", "0.8") == 1
    assert "kept here: pred_iou_thresh was 0.9, now it is 0.8; give the same" in terminal.lines()[1][0]
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, "--link", "z", "--min-planes", "1", "--link-gap", "1") == 0
    assert len(terminal.model.embedded) - seen == 2


def test_a_run_of_single_planes_goes_on_with_links_through_time(terminal, stack, broken_off):
    broken_off(3, stack, "--link", "none")
    assert terminal.segment(stack, "--link", "z") == 1
    assert 'kept here: link was "none or t", now it is "z"; give the same' in terminal.lines()[1][0]
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, "--link", "t") == 0
    assert len(terminal.model.embedded) - seen == 2


def test_a_single_plane_keeps_nothing(terminal, broken_off):
    broken_off(0, terminal.png())
    assert terminal.written() == []


def test_nothing_is_kept_where_that_is_not_wanted(terminal, stack, broken_off):
    broken_off(2, stack, "--no-resume")
    assert terminal.written() == []
    broken_off(2, stack)
    assert broken_off(3, stack, "--no-resume") == 3
    assert terminal.written() == []


def test_other_settings_are_refused_until_they_are_meant(terminal, stack, broken_off):
    broken_off(2, stack)
    assert terminal.segment(stack, "--points-per-side", "8") == 1
    (line,) = terminal.lines()[1]
    assert line == (
        f"{stack}: error: {terminal.out / WORK}: the work of another run, 2 units of it, is kept here: points_per_side "
        "was 16, now it is 8; give the same settings to go on with it, or --overwrite to begin anew"
    )
    assert units(terminal) == ["plane_0.npz", "plane_1.npz"]
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, "--points-per-side", "8", "--overwrite") == 0
    assert len(terminal.model.embedded) - seen == 5
    assert terminal.written() == ["s_features.csv", "s_labels.tif", "s_run.json"]


@pytest.mark.parametrize("arguments", [("--channel", 0), ("--intensities", 0, 200), ("--precision", "fast")])
def test_settings_that_decide_about_the_masks_are_known(arguments, terminal, stack, broken_off):
    broken_off(2, stack)
    assert terminal.segment(stack, *arguments) == 1
    assert f"{arguments[0].strip('-')} was " in terminal.lines()[1][0]


@pytest.mark.parametrize("arguments", [("--format", "masks"), ("--pixel-size", 2), ("--min-label-region-area", 0)])
def test_settings_that_do_not_may_change(arguments, terminal, stack, broken_off):
    broken_off(2, stack)
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, *arguments) == 0
    assert len(terminal.model.embedded) - seen == 3


def test_work_of_other_versions_is_not_mixed(terminal, stack, broken_off, monkeypatch):
    broken_off(2, stack)
    monkeypatch.setattr(identity, "versions", lambda: {"torch": "9", "platform": "any"})
    assert terminal.segment(stack) == 1
    assert re.search(r'torch was "2\..*, now it is "9"', terminal.lines()[1][0])


def test_work_on_an_image_that_was_changed_is_dropped(terminal, stack, broken_off):
    broken_off(2, stack)
    tifffile.imwrite(stack, PLANES[::-1], photometric="minisblack")
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack) == 0
    assert len(terminal.model.embedded) - seen == 5
    (line,), _ = terminal.lines()
    assert "(2 parts done before, of the image as it was, dropped: it has changed since)" in line
    broken_off(1, stack, "--overwrite")
    assert terminal.segment(stack, "--overwrite", "--points-per-side", "9") == 0
    assert "dropped" not in terminal.lines()[0][0]  # that is what --overwrite was asked for


def lose(stack: Path, *planes: int) -> None:
    tifffile.imwrite(stack, PLANES, photometric="minisblack", compression="zlib", compressionargs={"level": 1})
    with tifffile.TiffFile(stack) as tiff:
        places = [(tiff.pages[at].dataoffsets[0], tiff.pages[at].databytecounts[0]) for at in planes]
    with stack.open("r+b") as file:
        for offset, size in places:
            file.seek(offset)
            file.write(bytes(size))


def test_planes_that_failed_are_tried_again_and_no_others(terminal, stack, monkeypatch):
    assert terminal.segment(stack) == 0
    whole, decode = contents(terminal), terminal.model.decode
    with monkeypatch.context() as patched:  # a plane that fails, and may not the next time

        def fails(embedding, points, keep):
            if len(terminal.model.embedded) % 5 == 3:
                raise RuntimeError("no answer")
            return decode(embedding, points, keep)

        patched.setattr(terminal.model, "decode", fails)
        assert terminal.segment(stack, "--overwrite") == 1
    assert "1 of 5 planes failed: plane 2: RuntimeError: no answer" in terminal.lines()[1][0]
    assert units(terminal) == [f"plane_{n}.npz" for n in (0, 1, 3, 4)]
    seen = len(terminal.model.embedded)
    assert terminal.segment(stack, "--skip-existing") == 0
    assert len(terminal.model.embedded) - seen == 1
    assert contents(terminal) == whole


def test_a_stack_of_which_all_planes_failed_keeps_nothing(terminal, stack):
    lose(stack, *range(5))
    assert terminal.segment(stack) == 1
    assert terminal.written() == []


def test_outputs_that_were_all_but_in_place_are_put_there_and_the_work_goes(terminal, stack, monkeypatch):
    """Killed between the last move and the end: the same command says that all is done."""
    replace = os.replace

    def killed(source, target):
        if str(target).endswith("s_features.csv"):
            os._exit(9)
        replace(source, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(os, "replace", killed)
        os._exit(terminal.segment(stack))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (terminal.out / WORK / "journal.jsonl").exists()
    assert terminal.segment(stack) == 0
    assert terminal.lines()[0][-1].endswith("s_run.json says that it is done")
    assert terminal.written() == ["s_features.csv", "s_labels.tif", "s_run.json"]
    assert terminal.model.embedded == []


def test_two_processes_never_share_work(terminal, stack, monkeypatch):
    second = []
    run = file_run.segment_planes

    def run_another(*arguments, **options):
        if not second:
            second.append(None)
            second[0] = terminal.segment(stack)
        return run(*arguments, **options)

    monkeypatch.setattr(file_run, "segment_planes", run_another)
    assert terminal.segment(stack) == 0
    assert second == [1]
    assert "is being written by another process" in terminal.lines()[1][0]
