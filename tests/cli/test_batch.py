"""Several inputs, outputs that exist already, interruption."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg.batch import one_file as batch
from napari_sam_amg.models import checkpoint
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
        "TIFF, OME-Zarr, ND2, LIF, CZI, PNG, JPEG, BMP, GIF, WebP, JPEG 2000, AVIF, PNM, TGA and a few more",
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


def test_of_the_run_before_nothing_stale_remains(terminal: Terminal) -> None:
    path = terminal.stack()
    every = ["--format", "labels,zarr,coco-rle,masks,rois", "--overlay", "--link", "z", "--min-planes", "1"]
    assert terminal.segment(path, *every) == 0
    assert len(terminal.written()) == 9
    (terminal.out / "s_notes.txt").write_text("mine")
    (terminal.out / "s_tracks.csv").write_text("mine, though it is called like an output")
    with (terminal.out / "s_objects.csv").open("a") as file:
        file.write("corrected by hand\n")
    terminal.lines()
    assert terminal.segment(path, "--overwrite") == 0
    left = ["s_features.csv", "s_labels.tif", "s_notes.txt", "s_objects.csv", "s_run.json", "s_tracks.csv"]
    assert terminal.written() == left
    (said,), _ = terminal.lines()
    removed = "s_labels.ome.zarr, s_masks.json, s_masks, s_rois.zip, s_overlay.png"
    assert said.endswith(
        f" (removed {removed} of the run before; s_objects.csv of the run before changed since, and stayed)"
    )
    assert (terminal.out / "s_objects.csv").read_text().endswith("corrected by hand\n")


@pytest.mark.parametrize("name", ["a_masks/of_somebody.txt", "a_masks/0.png"])
def test_a_folder_of_masks_in_which_something_has_changed_stays(name: str, terminal: Terminal) -> None:
    path = terminal.png()
    assert terminal.segment(path, "--format", "labels,masks") == 0
    (terminal.out / name).write_text("changed")
    assert terminal.segment(path, "--overwrite") == 0
    assert "a_masks of the run before changed since, and stayed" in terminal.lines()[0][-1]
    assert (terminal.out / name).read_text() == "changed"


def test_a_run_that_fails_removes_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    path = terminal.png()
    assert terminal.segment(path, "--format", "labels,masks") == 0
    before = terminal.written()
    monkeypatch.setattr(terminal.model, "embed", lambda image: 1 / 0)
    assert terminal.segment(path, "--overwrite") == 1
    assert terminal.written() == before


def test_batch_is_resumed(terminal: Terminal) -> None:
    first, second = terminal.png(), terminal.stack()
    assert terminal.segment(first) == 0
    embedded = len(terminal.model.embedded)
    assert terminal.segment(first, second, "--skip-existing") == 0
    assert len(terminal.model.embedded) == embedded + len(STACK) - 1  # there is nothing in the second plane
    out, _ = terminal.lines()
    assert out[1] == f"{first}: skipped, {terminal.out / 'a_run.json'} says that it is done"


def test_an_input_that_is_missing_counts_beside_good_ones(terminal: Terminal) -> None:
    assert terminal.segment(terminal.folder / "gone.tif", terminal.png()) == 1
    assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_run.json"]


SETTINGS = {
    "channel": ["--channel", "0"],
    "precision": ["--precision", "fast"],
    "intensities": ["--intensities", "0", "255"],
    "pixel size": ["--pixel-size", "0.5"],
    "parameter": ["--stability-score-thresh", "0.4"],
}


@pytest.mark.parametrize("first", [[], *SETTINGS.values()], ids=["none", *SETTINGS])
def test_only_equal_settings_are_skipped(first: list[str], terminal: Terminal) -> None:
    path = terminal.png(image=np.stack([blobs()] * 3, axis=-1))
    assert terminal.segment(path, *first) == 0
    for other in ([], *SETTINGS.values()):
        assert terminal.segment(path, *other, "--skip-existing") == (other != first)


@pytest.mark.parametrize("name", ["a_labels.tif", "a_features.csv", "a_masks/0.png"])
def test_outputs_of_another_size_are_not_skipped(name: str, terminal: Terminal) -> None:
    arguments = [terminal.png(), "--format", "labels,masks", "--skip-existing"]
    assert terminal.segment(*arguments) == 0
    with (terminal.out / name).open("ab") as file:
        file.write(b" ")
    assert terminal.segment(*arguments) == 1
    assert "or changed since: add --overwrite" in terminal.lines()[1][0]
    record = json.loads((terminal.out / "a_run.json").read_text())
    del record["output_bytes"]  # of an earlier version
    (terminal.out / "a_run.json").write_text(json.dumps(record))
    assert terminal.segment(*arguments) == 0


def test_a_killed_run_with_other_settings_is_never_taken_for_the_old_one(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as it is before every move is what a kill at this moment leaves."""
    path, other = terminal.png(), ["--pred-iou-thresh", "0.99"]
    assert terminal.segment(path) == 0
    copies: list[Path] = []
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, after_a_copy(getattr(os, name), terminal, copies))
    assert terminal.segment(path, *other, "--overwrite") == 0
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "load_model", lambda *_a, **_k: terminal.model)
    skipped = []
    for copy in copies:
        terminal.out = copy
        skipped.append(terminal.segment(path, "--skip-existing") == 0)
        assert tifffile.imread(copy / "a_labels.tif").max() == (3 if skipped[-1] else 0)
        assert terminal.segment(path, *other, "--skip-existing") == skipped[-1]
        assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_run.json"]
    assert skipped == [True] + [False] * (len(copies) - 1)
    assert len(copies) > 3


def after_a_copy(move: Any, terminal: Terminal, copies: list[Path]) -> Any:
    def copy_and_move(*arguments: Any) -> None:
        copies.append(terminal.folder / f"copy{len(copies)}")
        shutil.copytree(terminal.out, copies[-1])
        move(*arguments)

    return copy_and_move


@pytest.mark.skipif(os.name != "posix", reason="limits are of POSIX")
@pytest.mark.parametrize("arguments", [["--format", "labels"], ["--format", "coco-rle"], ["--format", "masks"]])
def test_a_disk_that_is_full_fails_this_image_alone(
    arguments: list[str], terminal: Terminal, request: pytest.FixtureRequest
) -> None:
    """Files may have so many bytes and no more: the real error, from real writes."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    noise = np.random.default_rng(0).integers(0, 2, (20, 20)).repeat(8, 0).repeat(8, 1).astype(np.uint8) * 255
    big, small = terminal.png("big.png", noise), terminal.png("a.png")
    assert terminal.segment(small, *arguments) == 0
    whole = terminal.written()
    for room in (0, 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        assert terminal.segment(big, "--overlay", *arguments) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        (line,) = terminal.lines()[1]
        assert re.fullmatch(rf"{big}: error: File too large: {terminal.out}/big_[\w./]+", line)
        assert terminal.written() == whole


@pytest.mark.parametrize("what", ["folder", "file", "foreign"])
def test_what_is_no_output_of_ours_is_never_replaced(what: str, terminal: Terminal) -> None:
    path = terminal.png()
    terminal.out.mkdir()
    precious = terminal.out / ("a_labels.tif/mine" if what == "folder" else "a_masks/mine.png")
    if what == "file":
        precious = terminal.out / "a_masks"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("precious")
    assert terminal.segment(path, "--format", "labels,masks", "--overwrite") == 1
    assert terminal.model.embedded == []  # said before anything is computed
    assert "is in the way: it " in terminal.lines()[1][0]
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(("name", "flags"), [("a_labels.tif", ()), ("a_overlay.png", ("--overlay",))])
def test_an_input_is_never_replaced_by_what_is_written_for_another(
    name: str, flags: tuple[str, ...], terminal: Terminal
) -> None:
    terminal.out = terminal.folder
    first, second = terminal.png(), terminal.folder / name
    second.write_bytes(terminal.png("other.png", blobs()[:64]).read_bytes())
    before = second.read_bytes()
    assert terminal.segment(first, second, "--overwrite", *flags) == 1
    out, (line,) = terminal.lines()
    assert line.endswith(f"{second} would be written, but is an input as well: choose another output folder")
    assert len(out) == 1  # the other is done
    assert second.read_bytes() == before
    assert not (terminal.folder / "a_run.json").exists()
    assert terminal.segment(first, "--overwrite", *flags) == 0  # alone it may be replaced, which was asked for


def test_a_link_to_itself_fails_alone(terminal: Terminal) -> None:
    folder = terminal.folder / "in"
    folder.mkdir()
    terminal.png("in/a.png")
    (folder / "loop.tif").symlink_to("loop.tif")
    assert terminal.segment(folder) == 1
    out, (line,) = terminal.lines()
    assert len(out) == 1
    assert line.startswith(f"{folder / 'loop.tif'}: error: ")
    assert "--debug" not in line


def test_a_link_that_leads_nowhere_is_an_output_that_exists(terminal: Terminal) -> None:
    path = terminal.png()
    terminal.out.mkdir()
    (terminal.out / "a_labels.tif").symlink_to("unplugged")
    assert terminal.segment(path) == 1
    assert "exists already" in terminal.lines()[1][0]
    assert terminal.segment(path, "--overwrite") == 0
    assert not (terminal.out / "a_labels.tif").is_symlink()


def test_outputs_that_another_process_writes_meanwhile_are_kept(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = terminal.png()
    wait = batch.staged

    def write_and_stage(targets: Any, stale: Any) -> Any:
        targets[0].parent.mkdir(exist_ok=True)
        targets[0].write_text("of another process")
        return wait(targets, stale)

    monkeypatch.setattr(batch, "staged", write_and_stage)
    assert terminal.segment(path) == 1
    assert "exists already" in terminal.lines()[1][0]
    assert (terminal.out / "a_labels.tif").read_text() == "of another process"


def test_names_that_are_too_long_with_their_ending(terminal: Terminal) -> None:
    path = terminal.png("x" * 245 + ".png")
    assert terminal.segment(path, terminal.png()) == 1
    assert terminal.lines()[1][0].startswith(f"{path}: error: File name too long: {terminal.out}/xxx")
    assert terminal.written() == ["a_features.csv", "a_labels.tif", "a_run.json"]


@pytest.mark.parametrize("change", ["settings", "image"])
def test_other_results_are_not_skipped(change: str, terminal: Terminal) -> None:
    path = terminal.png()
    assert terminal.segment(path) == 0
    arguments = ["--skip-existing"]
    if change == "settings":
        arguments += ["--box-nms-thresh", "0.5"]
    if change == "image":
        terminal.png(image=blobs(discs=((60, 30, 12),)))
    assert terminal.segment(path, *arguments) == 1
    assert "from another image or other settings, or changed since" in terminal.lines()[1][0]
    assert terminal.segment(path, *arguments, "--overwrite") == 0


@pytest.mark.parametrize("lost", ["a_labels.tif", "a_features.csv", "a_masks"])
def test_an_output_that_is_missing_is_made_again(lost: str, terminal: Terminal) -> None:
    arguments = [terminal.png(), "--format", "labels,masks", "--skip-existing"]
    assert terminal.segment(*arguments) == 0
    whole = terminal.written()
    (terminal.out / lost).rename(terminal.folder / lost)
    assert terminal.segment(*arguments) == 0
    assert terminal.written() == whole
    assert terminal.segment(*arguments, "--overlay") == 0  # which the first run was not asked for
    assert terminal.written() == sorted([*whole, "a_overlay.png"])


@pytest.mark.parametrize("change", ["edited", "edited mask", "foreign", "vouched for", "link"])
def test_incomplete_outputs_are_not_made_again_where_something_would_be_lost(change: str, terminal: Terminal) -> None:
    path = terminal.png()
    assert terminal.segment(path, "--format", "labels,masks") == 0
    (terminal.out / "a_features.csv").unlink()
    arguments = ["--format", "labels" if change == "vouched for" else "labels,masks", "--skip-existing"]
    labels = terminal.out / "a_labels.tif"
    if change.startswith("edited"):  # and as long as before
        file = labels if change == "edited" else terminal.out / "a_masks" / "0.png"
        later = (terminal.out / "a_run.json").stat().st_mtime_ns + 1_000_000_000
        os.utime(file, ns=(later, later))
    if change == "foreign":
        arguments += ["--overlay"]
        (terminal.out / "a_overlay.png").write_text("precious")
        os.utime(terminal.out / "a_overlay.png", (1, 1))  # older than the record, which does not know it
    if change == "link":
        labels.unlink()
        labels.symlink_to("unplugged")
        record = json.loads((terminal.out / "a_run.json").read_text())
        del record["output_bytes"]  # as an earlier version wrote it
        (terminal.out / "a_run.json").write_text(json.dumps(record))

    def state() -> dict[Path, tuple[int, int]]:
        found = {file: file.lstat() for file in terminal.out.rglob("*")}
        return {file: (stat.st_ino, stat.st_mtime_ns) for file, stat in found.items()}

    before = state()
    assert terminal.segment(path, *arguments) == 1
    assert "add --overwrite to replace it" in terminal.lines()[1][0]
    assert state() == before


def test_outputs_that_are_edited_meanwhile_are_not_made_again(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = terminal.png()
    assert terminal.segment(path) == 0
    (terminal.out / "a_features.csv").unlink()
    wait = batch.staged

    def edit_and_stage(targets: Any, stale: Any) -> Any:
        (terminal.out / "a_labels.tif").write_text("edited")
        return wait(targets, stale)

    monkeypatch.setattr(batch, "staged", edit_and_stage)
    assert terminal.segment(path, "--skip-existing") == 1
    assert (terminal.out / "a_labels.tif").read_text() == "edited"


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Shells start background jobs with SIGINT ignored, which the tests' process may have inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_what_is_whole_and_the_work_of_a_stack(
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
    kept, *whole = terminal.written()
    assert whole == ["a_features.csv", "a_labels.tif", "a_masks", "a_masks.json", "a_run.json"]
    assert [path.name for path in (terminal.out / kept).iterdir()] == ["work"]
    assert terminal.lines()[1] == ["napari-sam-amg: interrupted; images and planes that were finished are kept"]
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
