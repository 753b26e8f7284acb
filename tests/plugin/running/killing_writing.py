"""A run in a folder, and the writing of other thresholds there, are killed at random moments, over and over.

Run by ``test_killing_writing.py`` as a process of its own, which forks fast since it has imported all that is needed.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from napari.layers import Image

from napari_sam_amg.io.staging import settle_published
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running import work as work_module
from napari_sam_amg.plugin.running.interruptible import Reins
from napari_sam_amg.plugin.running.kept_on_disk import find_candidates, read_record
from napari_sam_amg.plugin.running.result_files import ResultFiles
from napari_sam_amg.plugin.running.rewritten import rewritten
from napari_sam_amg.plugin.running.source import take
from napari_sam_amg.plugin.running.work import Failure, Job, work
from tests.plugin.graded_model import GradedModel, fresh_run, plane

RUNS, KILLS = 4, 24
STACK = np.stack([plane(seed) for seed in range(6)])
PARAMS = AmgParameters(
    points_per_side=16, points_per_batch=64, pred_iou_thresh=0.75, stability_score_thresh=0.5, crop_layers="all",
    point_search="grid",
)  # fmt: skip
THRESHOLDS = (0.62, 0.9, 0.75)


class SlowModel(GradedModel):
    def embed(self, image: Any) -> Any:
        time.sleep(0.03)
        return super().embed(image)


def run(files: ResultFiles) -> None:
    """As the worker of the window does it."""
    reins = Reins()
    reins.hold = lambda *_: None  # type: ignore[method-assign]  # there is no main thread that lets go
    for step in work(Job(take(Image(STACK, name="cells")), PARAMS, "slow", "cpu", "exact", False, files), reins):
        assert not isinstance(step, Failure), step


def write(files: ResultFiles, value: float) -> None:
    found = find_candidates(files, 2**28)
    for _ in rewritten(files, found.kept, replace(found.params, pred_iou_thresh=value), found.layout):
        time.sleep(0.005)


def began(task: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        try:
            task()
        finally:
            os._exit(1)  # or it would go on as its parent does
    return child


@contextmanager
def killed_after(child: int, seconds: float) -> Iterator[None]:
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    yield


def check(files: ResultFiles, fresh: dict[float, Any]) -> float:
    """The files are whole, and those of a fresh run at the thresholds that the record says; which is returned."""
    settle_published(files.record)
    value = float(read_record(files)["parameters_used"]["pred_iou_thresh"])
    assert find_candidates(files, 2**28).params.pred_iou_thresh == value
    labels = np.asarray(zarr.open_group(files.labels, mode="r")["0"])
    table = pd.read_csv(files.path("_features.csv"), dtype=str)
    text = "".join(one.features.to_csv(index=False, header=at == 0) for at, one in enumerate(fresh[value].values()))
    wanted = pd.read_csv(StringIO(text), dtype=str)
    pd.testing.assert_frame_equal(table.drop(columns="index"), wanted.drop(columns="index"))
    names = np.concatenate([[0], table["index"].astype(int).to_numpy()])
    for index, result in fresh[value].items():
        np.testing.assert_array_equal(labels[index], names[result.labels])
    return value


def sweep(folder: Path) -> None:
    fresh = {value: fresh_run(STACK, replace(PARAMS, pred_iou_thresh=value)) for value in (*THRESHOLDS,)}
    chance, runs, written, continued = random.Random(), 0, [], []
    for number in range(RUNS):
        files = ResultFiles(folder / str(number), "cells")
        for _ in range(2):
            with killed_after(began(lambda files=files: run(files)), chance.uniform(0.05, 1.2)):
                runs += 1
        if not files.candidates.exists():
            run(files)
        continued.append(read_record(files)["parts_done_before"])
        assert check(files, fresh) == 0.75
    start = time.perf_counter()
    write(files, 0.75)
    whole = time.perf_counter() - start
    for _ in range(KILLS):
        before, value = check(files, fresh), chance.choice(THRESHOLDS)
        with killed_after(began(lambda value=value: write(files, value)), chance.uniform(0.2 * whole, 2.5 * whole)):
            after = check(files, fresh)
        assert after in (before, value)
        written.append(after != before)
        assert sorted(path.name for path in files.folder.iterdir() if not path.name.startswith(".")) == [
            "cells_candidates", "cells_features.csv", "cells_labels.ome.zarr", "cells_run.json"
        ]  # fmt: skip
    assert any(written), "no writing came to its end"
    assert not all(written), "no writing was killed before its end"
    print(
        f"{runs} runs killed, parts done before {continued}; {KILLS} writings killed, {sum(written)} had come in place"
    )


if __name__ == "__main__":
    work_module.loaded_model = lambda *_: SlowModel()  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as temporary:
        sweep(Path(temporary))
