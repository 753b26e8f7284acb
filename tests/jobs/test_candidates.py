"""The work of a finished run, kept for other thresholds."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam_amg import PlaneStack
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.jobs.candidates import Candidates, UnitStore, end_as_candidates, open_candidates
from napari_sam_amg.jobs.kept import KeptRun
from napari_sam_amg.jobs.masks_file import DamagedUnit
from napari_sam_amg.review.kept import KeepingWork
from napari_sam_amg.review.kept import KeptRun as Reviewed
from napari_sam_amg.run import segment_planes
from tests.plugin.graded_model import GradedModel, fresh_run, plane
from tests.review.runs import PARAMS


class Failing(GradedModel):
    calls = 0

    def embed(self, image):
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("it broke")
        return super().embed(image)


STACK = np.stack([plane(seed) for seed in range(4)])
OTHERS = {"pred_iou_thresh": 0.9}


def run_in(folder: Path, model: GradedModel) -> tuple[Reviewed, list]:
    """A run to its end, whose work becomes the folder "end"."""
    with KeptRun(folder / "work", {"which": 1}) as work:
        store = UnitStore(work.units, work.run, work.done)
        keeping = KeepingWork(work.over(ModelWork(model)), PARAMS, PARAMS, store=store)
        steps = keeping.watch(segment_planes(PlaneStack(STACK), model, PARAMS, work=keeping))
        results = [step.result for step in steps if step.result is not None]
    kept = keeping.kept
    assert kept is not None
    found = Candidates(work.run, {"size": [2, 3]}, kept.regions_kept, kept.columns(), kept.book(), store)
    end_as_candidates(folder / "work", folder / "end", found)
    return kept, results


def opened(folder: Path, kept: Reviewed) -> tuple[Candidates, Reviewed]:
    found = open_candidates(folder)
    again = Reviewed(kept.params, kept.own, kept.floor, plane_size=STACK.shape[1:], store=found.store)
    again.restore(found.regions, found.columns, found.ids)
    return found, again


def test_opened_again_it_is_what_it_was(tmp_path: Path) -> None:
    kept, results = run_in(tmp_path, GradedModel())
    assert not (tmp_path / "work").exists()
    found, again = opened(tmp_path / "end", kept)
    assert found.about == {"size": [2, 3]}
    assert again.indices == kept.indices
    assert again.highest_id == kept.highest_id == max(result.features["index"].max() for result in results)
    for name, values in kept.columns().items():
        np.testing.assert_array_equal(again.columns()[name], values)
    fresh = fresh_run(STACK, replace(PARAMS, **OTHERS))
    for result in results:
        same = again.plane(result.index, again.params)
        np.testing.assert_array_equal(same.labels, result.labels)
        other, wanted = again.plane(result.index, replace(again.params, **OTHERS)), fresh[result.index]
        ids = dict(zip(wanted.features["index"], other.features["index"], strict=True)) | {0: 0}
        np.testing.assert_array_equal(other.labels, np.vectorize(ids.get)(wanted.labels))
        values = (table.drop(columns="index").to_numpy() for table in (other.features, wanted.features))
        np.testing.assert_array_equal(*values)
        assert 0 < len(wanted.features) < len(result.features)


def test_a_plane_that_failed_is_known_as_that(tmp_path: Path) -> None:
    kept, results = run_in(tmp_path, Failing())
    failed = next(result.index for result in results if result.problem)
    _, again = opened(tmp_path / "end", kept)
    assert "it broke" in str(again.candidates(failed).failure)
    assert len(again.plane(failed, again.params).features) == 0
    assert again.indices == kept.indices


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    kept, _ = run_in(tmp_path, GradedModel())
    for number, (name, words) in enumerate(
        [("journal.jsonl", "is not there"), ("ids.npz", "ids.npz"), ("units/plane_1.npz", "plane_1.npz is missing")]
    ):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "end", folder)
        (folder / name).unlink()
        with pytest.raises(ValueError, match=words):
            open_candidates(folder)
    journal = tmp_path / "end" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    _, again = opened(tmp_path / "end", kept)
    unit = tmp_path / "end/units/plane_1.npz"
    unit.write_bytes(unit.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedUnit, match="not the file of which the journal tells"):
        again.candidates((1,))
    journal.write_text("".join(lines[:-1]))  # a run that was killed before it became candidates
    with pytest.raises(ValueError, match="end, in which they were kept, cannot be used: KeyError"):
        open_candidates(tmp_path / "end")
