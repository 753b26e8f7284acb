"""A run that keeps its candidates gives what a fresh run at other thresholds gives, with ids that stay."""

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.params import merged
from napari_sam_amg.review import kept as kept_module
from napari_sam_amg.review import plane_memo
from napari_sam_amg.run import as_rgb
from tests.amg.models import OWN, ListeningModel
from tests.review.runs import PARAMS, STACK, assert_as_fresh, at, fresh, kept_run
from tests.samples import sample

SEARCHES = ("grid", "hierarchical", "guided")
CROPS = ({}, {"crop_n_layers": 1}, {"crop_n_layers": 1, "crop_layers": "last"}, {"crop_layers": "auto"})


@pytest.fixture(scope="module", params=SEARCHES)
def search(request):
    return request.param


@pytest.mark.parametrize("crops", CROPS, ids=str)
@settings(max_examples=4, deadline=None)
@given(st.data())
def test_as_a_fresh_run_at_any_thresholds_above_the_floor(search, crops, data):
    params = replace(PARAMS, point_search=search, **crops)
    run, _ = kept_run(STACK[:2], params)
    changes = {
        "pred_iou_thresh": data.draw(st.floats(run.floor.pred_iou_thresh, 1)),
        "stability_score_thresh": data.draw(st.floats(run.floor.stability_score_thresh, 1)),
        "box_nms_thresh": data.draw(st.floats(0, 0.99)),
        "crop_nms_thresh": data.draw(st.floats(0, 1)),
        "overlap": data.draw(st.sampled_from(["score", "small", "large"])),
        "min_visible_fraction": data.draw(st.floats(0, 1)),
        "label_pieces": data.draw(st.sampled_from(["largest", "all"])),
        "min_label_region_area": data.draw(st.sampled_from([0, 30, 200])),
        "max_ring_area": data.draw(st.sampled_from([0.0, 2.0])),
        "min_mask_region_area": data.draw(st.sampled_from([0, 100])),
        "min_area": data.draw(st.sampled_from([0, 300])),
        "max_area": data.draw(st.sampled_from([0, 1000])),
    }
    expected = fresh(STACK[:2], replace(params, **changes))
    for index in run.indices:
        assert_as_fresh(run.plane(index, at(run, **changes)), expected[index])


def test_labels_table_and_ids_of_the_run_itself_are_those_that_it_gave(search):
    run, results = kept_run(STACK, replace(PARAMS, point_search=search))
    assert run.indices == tuple(result.index for result in results) == ((0,), (1,), (2,), (3,))
    for result in reversed(results):  # in any order
        shown = run.plane(result.index, run.params)
        np.testing.assert_array_equal(shown.labels, result.labels)
        assert shown.features["index"].tolist() == result.features["index"].tolist()


def test_what_is_hidden_comes_back_under_its_number_and_what_is_new_gets_the_next():
    """The discs of the first plane have stabilities of .82, .86 and .90, all a predicted IoU of .95."""
    run, results = kept_run(STACK, replace(PARAMS, stability_score_thresh=0.85))
    last = int(results[-1].features["index"].max())
    before = run.plane((0,), run.params)
    some = run.plane((0,), at(run, stability_score_thresh=0.88))
    assert (before.features["index"].tolist(), some.features["index"].tolist()) == ([1, 2], [2])
    np.testing.assert_array_equal(some.labels == 2, before.labels == 2)
    weaker = run.plane((0,), at(run, stability_score_thresh=0.7))
    assert weaker.features["index"].tolist() == [last + 1, 1, 2]
    other = run.plane((1,), at(run, box_nms_thresh=1.0, pred_iou_thresh=0.5, overlap="large"))
    new = other.features["index"][~other.features["index"].isin(results[1].features["index"])]
    assert new.tolist() == list(range(last + 2, last + 2 + len(new)))
    assert len(new)
    np.testing.assert_array_equal(run.plane((0,), at(run, stability_score_thresh=0.7)).labels, weaker.labels)
    np.testing.assert_array_equal(run.plane((0,), run.params).labels, before.labels)


def test_numbers_of_labels_drawn_by_hand_are_not_given_again():
    run, _ = kept_run(STACK, replace(PARAMS, stability_score_thresh=0.85))
    run.reserve(5000)
    run.reserve(3)
    assert run.plane((0,), at(run, stability_score_thresh=0.7)).features["index"].tolist() == [5001, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_iou_thresh": 0.44}, r"pred_iou_thresh=0.44 is lower than 0.45"),
        ({"stability_score_thresh": 0.1}, r"stability_score_thresh=0.1 is lower than 0.2"),
        ({"points_per_side": 3}, "points_per_side=3 differs from 12"),
        ({"link": "z"}, "all planes together"),
    ],
    ids=str,
)
def test_what_was_not_kept_is_refused(changes, message):
    run, _ = kept_run(STACK[:2])
    with pytest.raises(ValueError, match=message):
        run.plane((0,), at(run, **changes))


def test_the_floor_lies_below_what_is_shown_and_never_above_the_models_own():
    run, _ = kept_run(STACK[0], replace(PARAMS, pred_iou_thresh=0.9, stability_score_thresh=0.1))
    assert (run.floor.pred_iou_thresh, run.floor.stability_score_thresh) == (OWN["pred_iou_thresh"], 0.0)
    assert (run.own.pred_iou_thresh, run.own.stability_score_thresh) == tuple(OWN.values())
    assert_as_fresh(run.plane((), run.own), fresh(STACK[0], PARAMS)[()])
    run, _ = kept_run(STACK[0], replace(PARAMS, pred_iou_thresh=0.7))
    assert run.floor.pred_iou_thresh == pytest.approx(0.5)


def test_the_models_own_leave_alone_what_is_of_the_run():
    run, _ = kept_run(STACK[0], replace(PARAMS, points_per_batch=7, box_nms_thresh=0.3, crop_n_layers=1))
    assert (run.own.points_per_batch, run.own.crop_n_layers, run.own.box_nms_thresh) == (7, 1, 0.7)


def test_columns_are_those_of_all_candidates():
    run, _ = kept_run(STACK)
    columns = run.columns()
    crops = [crop for index in run.indices if run.candidates(index).found for crop in run.candidates(index).found.crops]
    np.testing.assert_array_equal(columns["predicted_iou"], np.concatenate([crop.predicted_iou for crop in crops]))
    np.testing.assert_array_equal(columns["stability_score"], np.concatenate([crop.stability_score for crop in crops]))
    areas = [np.count_nonzero(crop.cutout(row)) for crop in crops for row in range(len(crop))]
    assert columns["area"].tolist() == areas
    assert run.columns() is columns


def test_of_a_run_that_was_cancelled_the_planes_so_far():
    run, results = kept_run(STACK, stop_after=8)
    assert 0 < len(results) == len(run.indices) < 4
    assert_as_fresh(
        run.plane((0,), at(run, pred_iou_thresh=0.9)), fresh(STACK, replace(PARAMS, pred_iou_thresh=0.9))[(0,)]
    )
    with pytest.raises(KeyError, match="plane \\(3,\\) is not among"):
        run.plane((3,), run.params)


def test_nothing_in_it_and_planes_that_failed():
    class Failing(ListeningModel):
        failed = False

        def embed(self, image):
            if len(self.crops) == 1 and not self.failed:
                self.failed = True
                raise RuntimeError("it broke")
            return super().embed(image)

    run, results = kept_run(STACK, model=Failing())
    assert "it broke" in results[1].problem
    for index in ((1,), (2,)):
        assert len(run.plane(index, run.params).features) == 0
        assert run.plane(index, run.params).labels.shape == (96, 128)
    assert run.candidates((2,)).nothing
    assert "it broke" in str(run.candidates((1,)).failure)


def test_ais_has_no_thresholds(monkeypatch):
    run = kept_module.KeptRun(replace(PARAMS, mode="ais"), PARAMS, replace(PARAMS, mode="ais"), plane_size=(9, 9))
    assert "no thresholds to move" in run.fixed_reason
    with pytest.raises(ValueError, match="no thresholds to move"):
        run.plane((), run.params)


def test_beyond_the_budget_candidates_are_in_files_which_go_with_the_run():
    run, results = kept_run(STACK, budget=1000)
    folder = run._shelf.folder
    assert len(list(folder.iterdir())) >= 3
    assert len(run._shelf._held) == 1
    for result in results:
        np.testing.assert_array_equal(run.plane(result.index, run.params).labels, result.labels)
        assert run.candidates(result.index).image is not None
    assert folder.stat().st_mode & 0o077 == 0
    run.close()
    assert not folder.exists()
    assert run.indices == ()
    other, _ = kept_run(STACK, budget=1000)
    folder = other._shelf.folder
    del other
    gc.collect()
    assert not folder.exists()


def test_what_cannot_be_written_stays_in_memory(monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pickle, "dumps", full)
    run, results = kept_run(STACK, budget=1000)
    assert "No space left" in caplog.text
    for result in results:
        np.testing.assert_array_equal(run.plane(result.index, run.params).labels, result.labels)


TILED = replace(PARAMS, tile_size=64, tile_halo=16, coarse_points_per_side=2)


def test_of_a_plane_in_tiles_all_of_it():
    image = np.concatenate([np.concatenate([STACK[0], STACK[1]]), np.concatenate([STACK[3], STACK[0]])], axis=1)
    run, (result,) = kept_run(image, TILED)
    np.testing.assert_array_equal(run.plane((), run.params).labels, result.labels)
    for changes in ({"stability_score_thresh": 0.85}, {"pred_iou_thresh": 0.5, "overlap": "large"}):
        assert_as_fresh(run.plane((), at(run, **changes)), fresh(image, replace(TILED, **changes))[()])
    before = dict.fromkeys(result.features["index"])
    few = run.plane((), at(run, stability_score_thresh=float(result.features["stability_score"].median()) + 0.001))
    assert before.keys() - set(few.features["index"])
    assert before.keys() & set(few.features["index"])
    candidates = run.candidates(())
    assert candidates.region.size == image.shape
    (crops, asked) = (candidates.found.crops, candidates.found.asked)
    for row in result.features.itertuples():  # each label's mask is among them, where it lies in the plane
        crop, at_row = next(
            (crop, at_row)
            for crop in crops
            for at_row in np.flatnonzero((crop.points == (row.point_x, row.point_y)).all(axis=1)).tolist()
            if crop.predicted_iou[at_row] == np.float32(row.predicted_iou)
        )
        x0, y0, x1, y1 = crop.boxes[at_row].tolist()
        part = result.labels[y0 : y1 + 1, x0 : x1 + 1] == row.index
        assert (part & crop.cutout(at_row)).sum() > 0.5 * row.area
        assert (np.abs(asked - (row.point_x, row.point_y)).max(axis=1) < 0.01).any()


def test_of_a_plane_in_tiles_nothing_before_all_are_there():
    image = np.concatenate([STACK[0], STACK[1]])
    run, results = kept_run(image, TILED, stop_after=3)
    assert results == []
    assert run.indices == ()


def test_labels_of_planes_that_do_not_fit_are_not_made_again():
    huge = kept_module.KeptRun(TILED, PARAMS, TILED, plane_size=(5000, 5000))
    assert "too large" in huge.fixed_reason
    assert not kept_module.KeptRun(TILED, PARAMS, TILED, plane_size=(4000, 4000)).fixed_reason
    assert not kept_module.KeptRun(PARAMS, PARAMS, PARAMS, plane_size=(5000, 5000)).fixed_reason


def test_what_is_remembered_of_planes_stays_within_the_budget():
    run, results = kept_run(STACK, budget=20_000)
    for result in results * 2:
        np.testing.assert_array_equal(run.plane(result.index, run.params).labels, result.labels)
        assert len(run._memos) == 1
    run, results = kept_run(STACK)
    memo = [run.plane(result.index, run.params) and run._memos[result.index] for result in results]
    assert [run._memos[result.index] for result in results] == memo


def test_threads_share_a_run():
    run, _ = kept_run(STACK, budget=20_000)
    values = np.linspace(0.5, 0.9, 8).tolist()
    expected = {value: run.plane((1,), at(run, stability_score_thresh=value)).labels for value in values}
    with ThreadPoolExecutor(4) as pool:
        planes = pool.map(lambda k: run.plane((k % 4,), at(run, stability_score_thresh=values[k % 8])), range(64))
        for k, plane in enumerate(planes):
            if k % 4 == 1:
                np.testing.assert_array_equal(plane.labels, expected[values[k % 8]])


def test_a_real_model_and_what_was_cleaned_once_is_not_cleaned_again():
    image = as_rgb(sample("nuclei.tif")[:200, :200])
    model = load_model(device="cpu")
    params = merged(model.info.amg_defaults, {"min_mask_region_area": 50})
    run, _ = kept_run(image, params, model)
    values = [0.6, 0.4]
    for value in values:
        assert_as_fresh(
            run.plane((), at(run, pred_iou_thresh=value)),
            fresh(image, replace(params, pred_iou_thresh=value), model)[()],
        )
    cleaned = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plane_memo, "clean_one", lambda *_: cleaned.append(1))
        patch.setattr(plane_memo, "without_strays", lambda *_: cleaned.append(1))
        run.plane((), at(run, pred_iou_thresh=values[-1]))
    assert cleaned == []


def test_an_id_that_hands_have_taken_is_given_away():
    run, _ = kept_run(STACK[:2], PARAMS)
    first, second = (run.plane(index, run.params) for index in run.indices)
    taken = int(first.features["index"].max())
    names = run.give_away([taken, 10_000])
    assert names == {taken: 10_001}
    again = run.plane((0,), run.params)
    np.testing.assert_array_equal(again.labels, np.where(first.labels == taken, 10_001, first.labels))
    assert again.features["index"].max() == 10_001
    np.testing.assert_array_equal(run.plane((1,), run.params).labels, second.labels)
    assert (run.numbering, run.give_away([20_000]), run.numbering) == (1, {}, 1)
    assert run.new_id() == 20_001
