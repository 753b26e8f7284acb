"""Zarr folders on the command line: found among files, recognised when they change, read chunk by chunk."""

import json
import shutil

from napari_sam_amg.cli.main import main
from napari_sam_amg.hashes import hash_file
from tests.cli.terminal import Terminal
from tests.ome_zarrs import STACK, write


def test_a_damaged_chunk_is_a_plane_that_fails(terminal: Terminal) -> None:
    path = write(terminal.folder / "a.zarr", STACK[0], "zyx", storage_options={"chunks": (1, 40, 64)})
    chunk = min(path.rglob("c/1/0/0"))  # of the finest level, which is named first
    chunk.write_bytes(b"damaged")
    assert terminal.segment(path) == 1
    out, err = terminal.lines()
    assert "3 planes, 2 masks" in out[0]
    assert "1 of 3 planes failed: plane 1:" in err[0]


def test_labels_that_are_zarrs_are_evaluated(terminal: Terminal) -> None:
    folder, truth = terminal.folder / "in", terminal.folder / "truth"
    folder.mkdir()
    terminal.stack("in/s.tif")
    assert terminal.segment(folder, "--format", "labels,zarr") == 0
    truth.mkdir()
    shutil.move(terminal.out / "s_labels.tif", truth / "s.tif")
    terminal.lines()
    assert main(["evaluate", str(terminal.out), str(truth)]) == 0
    row = [cell.strip() for cell in terminal.lines()[0][-1].split("|")]
    assert row[1:8] == ["truth", "1", "5", "5", "1.000", "1.000", "1.000"]
    assert float(row[-2]) <= 0  # predicted minus true IoU, from the table beside


def test_zarr_folders_are_images_among_the_files_of_a_folder(terminal: Terminal) -> None:
    folder = terminal.folder / "in"
    (folder / "sub").mkdir(parents=True)
    terminal.png("in/b.png")
    write(folder / "a.ome.zarr", STACK[0], "zyx")
    write(folder / "sub" / "c.zarr", STACK[0], "zyx", "0.4")
    assert terminal.segment(folder, "--format", "zarr") == 0
    assert [line.split(":")[0] for line in terminal.lines()[0]] == [str(folder / "a.ome.zarr"), str(folder / "b.png")]
    shutil.copytree(terminal.out, folder / "sub" / "out")  # outputs are not segmented again, nor is what is in a Zarr
    assert terminal.segment(folder, "--format", "zarr", "--recursive", "--skip-existing") == 0
    out = terminal.lines()[0]
    assert [line.split(":")[0] for line in out] == [
        str(folder / name) for name in ("a.ome.zarr", "b.png", "sub/c.zarr")
    ]  # fmt: skip
    assert ["skipped" in line for line in out] == [True, True, False]


def test_a_zarr_that_has_changed_is_done_again(terminal: Terminal) -> None:
    path = write(terminal.folder / "a.zarr", STACK[0], "zyx")
    assert terminal.segment(path) == 0
    record = json.loads((terminal.out / "a_run.json").read_text())
    assert record["input"]["bytes"] == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    before = hash_file(path)
    chunk = next(file for file in path.rglob("*") if file.parent.name == "0" and file.is_file())
    chunk.write_bytes(chunk.read_bytes())
    assert hash_file(path) != before
    assert terminal.segment(path, "--skip-existing") == 1
    assert "from another image" in terminal.lines()[1][0]
