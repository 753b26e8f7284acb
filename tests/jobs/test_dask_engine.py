"""Real processes: units of a stack and files of a batch, done by two workers, some of which are killed."""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam_amg import segment_to_files
from napari_sam_amg.cli.main import main
from napari_sam_amg.io.publishing import WORK
from napari_sam_amg.jobs import dask_engine, worker
from napari_sam_amg.jobs.kept import JOURNAL, KeptRun, count_units
from tests.disc_model import blobs

PLANES = np.stack([blobs((64, 80), [(20 + 4 * n, 20, 8), (50, 40, 6 + n)]) for n in range(6)])


@pytest.fixture
def command(tmp_path, tiny_checkpoint, client, capsys):
    """``segment`` by the workers, or with ``here`` by this process; its exit status, and what it has printed."""

    def run(*arguments, out="out", here=False):
        there = [] if here else ["--scheduler", client.scheduler.address]
        status = main(
            [
                "segment",
                *map(str, arguments),
                "--output",
                str(tmp_path / out),
                "--checkpoint",
                str(tiny_checkpoint),
                *there,
            ]
        )
        return status, *(text.splitlines() for text in capsys.readouterr())

    return run


@pytest.fixture
def stack(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", PLANES, photometric="minisblack", compression="zlib")
    return tmp_path / "s.tif"


def hashes(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("_run.json")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def record(folder, name="s"):
    return json.loads((folder / f"{name}_run.json").read_text())


def test_labels_and_tables_are_those_of_one_process(command, stack, tmp_path, told):
    options = ("--format", "labels,coco-rle", "--overlay")
    assert command(stack, *options, here=True, out="here")[0] == 0
    status, out, err = command(stack, *options)
    assert (status, err) == (0, [])
    (line,) = out
    assert (status, err) == (0, [])
    assert "6 planes" in line
    assert hashes(tmp_path / "out") == hashes(tmp_path / "here")
    assert tifffile.imread(tmp_path / "out" / "s_labels.tif").max() >= 6
    units = [line.split(" ", 1) for line in (told / "units").read_text().splitlines()]
    assert sorted(where for _, where in units) == [f"({n},)" for n in range(6)]
    assert len({process for process, _ in units}) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")) == []


def test_a_worker_that_is_killed_loses_nothing(command, stack, tmp_path, told, client):
    assert command(stack, here=True, out="here")[0] == 0
    (told / "slow").write_text("0.4")
    before = set(worker_processes(client))
    killed = []

    def kill_one():
        deadline = time.monotonic() + 60
        while not (told / "units").exists() or len((told / "units").read_text().splitlines()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.append(int((told / "units").read_text().splitlines()[-1].split()[0]))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    status, _, err = command(stack)
    thread.join()
    assert (status, err) == (0, [])
    assert hashes(tmp_path / "out") == hashes(tmp_path / "here")
    units = Counter(line.split(" ", 1)[1] for line in (told / "units").read_text().splitlines())
    assert max(units.values()) <= 2
    client.wait_for_workers(2)
    after = set(worker_processes(client))
    assert killed[0] in before - after
    loads = Counter(map(int, (told / "loads").read_text().split()))
    assert set(loads.values()) == {1}, "a process loads the model once"
    assert set(loads) == before | after


def worker_processes(client):
    return client.run(os.getpid).values()


def test_a_unit_that_kills_its_workers_is_named_and_the_others_are_done(command, stack, tmp_path, told):
    assert command(stack, here=True, out="here")[0] == 0
    (told / "poison").write_text("(2,)")
    status, _, (line,) = command(stack)
    assert status == 1
    assert line == f"{stack}: error: 1 of 6 planes failed: plane 2: it ends every process that works on it"
    labels, expected = (tifffile.imread(tmp_path / out / "s_labels.tif") for out in ("out", "here"))
    assert not labels[2].any()
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(labels[others] > 0, expected[others] > 0)
    (told / "poison").unlink()
    (told / "units").unlink()
    assert command(stack, "--skip-existing")[0] == 0
    assert [line.split(" ", 1)[1] for line in (told / "units").read_text().splitlines()] == ["(2,)"]
    assert hashes(tmp_path / "out") == hashes(tmp_path / "here")


def test_files_of_one_plane_are_done_as_a_whole_and_a_bad_one_stops_no_other(command, stack, tmp_path, told):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(PLANES[number]).save(folder / f"{number}.png")
    (folder / "bad.tif").write_text("hello")
    inputs = (folder, stack)
    assert command(*inputs, here=True, out="here")[0] == 1
    status, out, (line,) = command(*inputs)
    assert status == 1
    assert line.startswith(f"{folder / 'bad.tif'}: error: not an image that can be read")
    assert len(out) == 6
    assert hashes(tmp_path / "out") == hashes(tmp_path / "here")
    processes = {line.split()[0] for line in (told / "units").read_text().splitlines()}
    assert len(processes) == 2
    assert record(tmp_path / "out", "3")["settings"] == record(tmp_path / "here", "3")["settings"]
    status, out, _ = command(*inputs, "--skip-existing")
    assert sum("skipped" in line for line in out) == 6


def test_a_file_that_kills_its_workers_is_named_and_the_others_are_done(command, tmp_path, told):
    for number in range(3):
        Image.fromarray(PLANES[number]).save(tmp_path / f"{number}.png")
    (told / "poison").write_text("()")
    status, out, err = command(tmp_path / "0.png")
    assert (status, out) == (1, [])
    assert err == [f"{tmp_path / '0.png'}: error: it ends every process that works on it"]
    (told / "poison").unlink()
    assert command(*(tmp_path / f"{number}.png" for number in range(3)))[0] == 0


def test_a_run_of_workers_is_continued_by_one_process(command, stack, tmp_path, told):
    assert command(stack, here=True, out="here")[0] == 0
    (told / "poison").write_text("(3,)")
    assert command(stack, out="a")[0] == 1
    units = len((told / "units").read_text().splitlines())
    assert command(stack, "--skip-existing", out="a", here=True)[0] == 0
    assert len((told / "units").read_text().splitlines()) == units
    assert record(tmp_path / "a")["parts_done_before"] == 5
    assert hashes(tmp_path / "a") == hashes(tmp_path / "here")


def test_what_a_worker_cannot_see_is_said(command, stack, tmp_path, monkeypatch, client, told):
    """As on another machine, where the disk is not: a folder that is there for this process alone."""
    unseen = tmp_path / "unseen"
    monkeypatch.setattr(dask_engine, "decide", partial(decide_in, str(unseen)))
    status, out, (line,) = command(stack)
    assert (status, out) == (1, [])
    assert f"does not see {unseen}: the output folder must be on a disk that all workers share" in line


def decide_in(folder, plugin, _, params):
    return worker.decide(plugin, folder, params)


def test_another_file_under_the_same_path_is_refused(command, stack, tmp_path, monkeypatch, told):
    propose = dask_engine.UnitsOnWorkers.propose

    def changed_first(self, *arguments):
        tifffile.imwrite(stack, PLANES[::-1], photometric="minisblack")
        return propose(self, *arguments)

    monkeypatch.setattr(dask_engine.UnitsOnWorkers, "propose", changed_first)
    status, _, (line,) = command(stack)
    assert status == 1
    assert f"sees another file as {stack}, or it was changed since the run began" in line


def test_a_model_that_workers_do_not_have_is_said_once(command, stack, tmp_path, client, capsys):
    arguments = ["segment", str(stack), "--output", str(tmp_path / "out"), "--scheduler", client.scheduler.address]
    assert main([*arguments, "--checkpoint", str(tmp_path / "gone.pt")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("napari-sam-amg: error: the worker at tcp://")
    assert "has no model: " in line
    assert "gone.pt" in line


def test_a_scheduler_that_is_not_there_is_said(stack, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dask_engine, "_PATIENCE", 3)
    arguments = ["segment", str(stack), "--output", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("napari-sam-amg: error: no scheduler of dask answers at tcp://127.0.0.1:9: ")


def test_threads_are_those_that_the_worker_was_given(command, stack, tmp_path, client, told):
    assert command(stack)[0] == 0
    (cores,) = set(client.ncores().values())
    assert record(tmp_path / "out")["threads"] == cores


def test_so_many_workers_are_started_as_are_asked_for(stack, tmp_path, client, monkeypatch, tiny_checkpoint):
    asked = []

    @contextmanager
    def started(count):
        asked.append(count)
        yield client

    monkeypatch.setattr(dask_engine, "local_cluster", started)
    arguments = ["segment", str(stack), "--output", str(tmp_path / "out"), "--checkpoint", str(tiny_checkpoint)]
    assert main([*arguments, "--workers", "2"]) == 0
    assert asked == [2]


def test_a_run_whose_own_process_was_killed_goes_on(command, stack, tmp_path, told, client, tiny_checkpoint):
    assert command(stack, here=True, out="here")[0] == 0
    (told / "slow").write_text("0.5")
    arguments = [
        "segment",
        str(stack),
        "--output",
        str(tmp_path / "out"),
        "--checkpoint",
        str(tiny_checkpoint),
        "--quiet",
    ]
    processes = multiprocessing.get_context("forkserver")  # where all is imported, for the workers
    process = processes.Process(target=main, args=([*arguments, "--scheduler", client.scheduler.address],))
    process.start()
    journals = list[Path]()
    deadline = time.monotonic() + 120
    while not (journals and count_units(journals[0].parent) >= 2):
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.02)
        journals = list((tmp_path / "out").glob(f".*/{WORK}/{JOURNAL}"))
    process.kill()
    process.join()
    (told / "slow").unlink()
    assert command(stack)[0] == 0
    assert record(tmp_path / "out")["parts_done_before"] >= 2
    assert hashes(tmp_path / "out") == hashes(tmp_path / "here")


def test_an_interrupted_run_takes_its_tasks_back(command, stack, tmp_path, told, client, monkeypatch):
    (told / "slow").write_text("0.3")
    read = KeptRun.read

    def interrupted(self, region):
        if region.index == (1,):
            raise KeyboardInterrupt
        return read(self, region)

    monkeypatch.setattr(KeptRun, "read", interrupted)
    status, _, (line,) = command(stack)
    assert status == 130
    assert line == "napari-sam-amg: interrupted; images and planes that were finished are kept"
    deadline = time.monotonic() + 20
    while any(client.processing().values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len((told / "units").read_text().splitlines()) < 6


def test_two_commands_share_workers(command, stack, tmp_path, told, client, tiny_checkpoint):
    """The second tells the workers of the same model, which they have, while the first has them work with it."""
    assert command(stack, here=True, out="here")[0] == 0
    (told / "slow").write_text("0.3")
    processes = multiprocessing.get_context("forkserver")
    arguments = ["segment", str(stack), "--checkpoint", str(tiny_checkpoint), "--scheduler", client.scheduler.address]
    both = [processes.Process(target=main, args=([*arguments, "--output", str(tmp_path / out)],)) for out in "ab"]
    for process in both:
        process.start()
        deadline = time.monotonic() + 60
        while not (told / "units").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    for process in both:
        process.join(120)
    for out in "ab":
        assert hashes(tmp_path / out) == hashes(tmp_path / "here")


def test_workers_of_our_own_hear_no_ctrl_c(client):
    processes = sorted(worker_processes(client))
    for process in processes:
        os.kill(process, signal.SIGINT)
    time.sleep(0.5)
    assert sorted(worker_processes(client)) == processes


def test_a_worker_that_nobody_starts_again_is_started_anew(client):
    before = set(worker_processes(client))
    with dask.config.set({"distributed.deploy.lost-worker-timeout": 0.2}):
        cluster = client.cluster
        cluster.sync(next(iter(cluster.workers.values())).close)
        deadline = time.monotonic() + 60
        while len(after := set(worker_processes(client))) < 2 or after == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert len(before & after) == 1


def test_tiles_are_units_and_are_chosen_as_in_one_process(command, tmp_path, told):
    """By the parts of a large plane that the first look has kept."""
    image = np.zeros((2100, 300), np.uint8)
    image[1500:1800] = blobs((300, 300), [(x, y, 9) for x in range(20, 290, 40) for y in range(20, 290, 40)])
    tifffile.imwrite(tmp_path / "s.tif", image)
    options = ("--crop-layers", "auto", "--overlay")
    assert command(tmp_path / "s.tif", *options, here=True, out="here")[0] == 0
    assert command(tmp_path / "s.tif", *options)[0] == 0
    assert hashes(tmp_path / "out") == hashes(tmp_path / "here")
    used = record(tmp_path / "out")["parameters_used"]
    assert used == record(tmp_path / "here")["parameters_used"]
    assert used["tile_size"]
    units = [line.split(" ", 1) for line in (told / "units").read_text().splitlines()]
    assert len(units) > 2
    assert len({process for process, _ in units}) == 2


def test_files_become_files_from_python_too(stack, tmp_path, client, tiny_checkpoint, told):
    (here,) = segment_to_files(stack, tmp_path / "here", tiny_checkpoint)
    (there,) = segment_to_files(stack, tmp_path / "there", tiny_checkpoint, client=client)
    assert (here.problem, there.problem) == ("", "")
    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")
    assert len((told / "units").read_text().splitlines()) == 6


def test_without_the_extra_it_is_named(stack, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("napari_sam_amg.jobs.dask_engine")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["segment", str(stack), "--output", str(tmp_path / "out"), "--workers", "2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "--workers needs the package distributed, which is not there: pip install 'napari-sam-amg[cluster]'"
    )


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_a_number_of_workers_that_is_none_is_refused(workers, stack, tmp_path, capsys):
    assert main(["segment", str(stack), "--output", str(tmp_path / "out"), "--workers", workers]) == 1
    assert f"workers={workers} is not allowed: it must be a whole number from 1" in capsys.readouterr().err
