"""Objects through planes of a finished run, linked again with ids that stay."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg.review.ids import Numbers, Votes
from tests.amg.models import SeeingModel
from tests.disc_model import blobs
from tests.review.runs import PARAMS, at, fresh, kept_run

COLUMN, OTHER, THIN = (20, 20, 8), (70, 60, 12), (105, 20, 7)  # stabilities of .82, .86 and .79
EMPTY = blobs(discs=())
STACK = np.stack(
    [blobs(discs=discs) for discs in [(THIN,), (COLUMN, THIN), (COLUMN, OTHER, THIN), (OTHER,), (), (OTHER,), (OTHER,)]]
)
LINKED = replace(PARAMS, link="z", min_planes=2, pred_iou_thresh=0.7, stability_score_thresh=0.6)


def linked(run, **changes):
    return {plane.index: plane for plane in run.linked(at(run, **changes))}


def assert_as_fresh(planes, expected):
    """Equal but for the ids, of which there is one for each."""
    pairs = set()
    assert planes.keys() == expected.keys()
    for index, plane in planes.items():
        other = expected[index]
        assert not ((plane.labels == 0) != (other.labels == 0)).any()
        pairs |= set(zip(plane.labels.ravel().tolist(), other.labels.ravel().tolist(), strict=True))
        for one, two in ((plane.features, other.features), (plane.objects, other.objects)):
            names = [name for name in one if name in ("index", "parent")]
            pd.testing.assert_frame_equal(one.drop(columns=names), two.drop(columns=names), check_exact=True)
            for name in names:
                pairs |= set(zip(one[name].tolist(), two[name].tolist(), strict=True))
        assert plane.params == other.params
    pairs |= {(0, 0)}
    assert len(pairs) == len({one for one, _ in pairs}) == len({two for _, two in pairs})


@pytest.mark.parametrize(
    "changes",
    [{}, {"pred_iou_thresh": 0.8}, {"stability_score_thresh": 0.84}, {"min_planes": 3}, {"link_gap": 1}, {"link": "t"},
     {"overlap": "small", "link_iou": 0.3}],
    ids=str,
)  # fmt: skip
def test_as_a_fresh_run(changes):
    run, _ = kept_run(STACK, LINKED, axis=0)
    assert_as_fresh(linked(run, **changes), fresh(STACK, replace(LINKED, **changes)))


def test_the_run_itself_and_what_is_hidden_and_shown_again():
    run, results = kept_run(STACK, LINKED, axis=0)
    assert [np.unique(result.labels).tolist() for result in results] == [[0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 3], [0],
                                                                          [0, 4], [0, 4]]  # fmt: skip
    first = linked(run)
    for result in results:
        np.testing.assert_array_equal(first[result.index].labels, result.labels)
    fewer = linked(run, stability_score_thresh=0.8)  # the first object goes
    assert sorted({number for plane in fewer.values() for number in plane.features["index"]}) == [2, 3, 4]
    joined = linked(run, link_gap=1)  # the last two are one, with two planes each: the first keeps its number
    assert [np.unique(plane.labels).tolist() for plane in joined.values()][3:] == [[0, 3]] * 4
    assert [plane.objects["index"].tolist() for plane in joined.values() if len(plane.objects)][-1] == [3]
    for index, plane in linked(run).items():
        np.testing.assert_array_equal(plane.labels, first[index].labels)


def test_what_is_shown_first_gets_the_next_numbers_and_keeps_them():
    run, _ = kept_run(STACK, replace(LINKED, stability_score_thresh=0.84), axis=0)
    assert {number for plane in linked(run).values() for number in plane.features["index"]} == {1, 2}
    run.reserve(10)
    more = linked(run, stability_score_thresh=0.7)
    numbers = sorted({number for plane in more.values() for number in plane.features["index"]})
    assert numbers == [1, 2, 11, 12]
    again = linked(run, stability_score_thresh=0.7)
    for index, plane in again.items():
        np.testing.assert_array_equal(plane.labels, more[index].labels)


def test_planes_by_themselves_and_linked_do_not_mix_their_numbers():
    run, results = kept_run(STACK, LINKED, axis=0)
    with pytest.raises(ValueError, match="all planes together"):
        run.plane((0,), run.params)
    linked(run, link_gap=1)
    alone = run.plane((5,), at(run, link="none"))
    assert alone.features["index"].tolist() == results[5].features["index"].tolist()


def test_results_wait_in_files_beyond_the_budget():
    run, _ = kept_run(STACK, LINKED, axis=0, budget=1000)
    assert_as_fresh(linked(run), fresh(STACK, LINKED))


def test_what_cannot_be_linked_is_said():
    run, _ = kept_run(STACK, PARAMS)
    with pytest.raises(ValueError, match="there is no axis"):
        run.linked(at(run, link="z"))
    run, _ = kept_run(STACK, LINKED, axis=0)
    with pytest.raises(ValueError, match="there is no axis"):
        run.linked(at(run, link="none"))
    with pytest.raises(ValueError, match=r"pred_iou_thresh=0.2.* is lower than"):
        run.linked(at(run, pred_iou_thresh=0.4))


def test_who_has_most_votes_for_a_number_gets_it():
    votes = Votes()
    votes.add([1, 2, 3], [7, 7, 0])
    votes.add([1, 2, 4], [8, 7, 8])
    numbers = Numbers()
    numbers.reserve(8)
    # 2 has two votes for 7; of 1 and 4, which have one for 8, 1 came first
    assert votes.ids(numbers) == {2: 7, 1: 8, 3: 9, 4: 10}
    assert Votes().ids(numbers) == {}


@pytest.mark.parametrize("link", ["z", "t"])
def test_a_linked_run_that_was_cancelled_goes_on_with_what_was_kept(link):
    params = replace(LINKED, link=link)
    model, second = SeeingModel(), SeeingModel()
    whole, expected = kept_run(STACK, params, model, axis=0)
    part, few = kept_run(STACK, params, SeeingModel(), stop_after=16, axis=0)
    done = part.indices
    assert 1 < len(done) < 6
    assert len(few) < len(expected)
    continued, results = kept_run(STACK, params, second, axis=0, goes_on=part)
    assert continued is part
    # a plane with nothing in it is never shown to the model
    asked = sum(np.ptp(STACK[index]) > 0 for index in set(whole.indices) - set(done))
    assert len(second.embedded) == asked < len(model.embedded)
    assert part.indices == whole.indices
    for one, two in zip(results, expected, strict=True):
        np.testing.assert_array_equal(one.labels, two.labels)
        pd.testing.assert_frame_equal(one.features, two.features)
        pd.testing.assert_frame_equal(one.objects, two.objects)
    assert_as_fresh(linked(part, pred_iou_thresh=0.8), fresh(STACK, replace(params, pred_iou_thresh=0.8)))


def test_a_plane_that_failed_is_asked_again_when_a_linked_run_goes_on():
    class Failing(SeeingModel):
        def embed(self, image):
            if len(self.embedded) == 1:
                self.embedded.append(image)
                raise ValueError("torn")
            return super().embed(image)

    part, before = kept_run(STACK, LINKED, Failing(), axis=0)
    assert any(result.problem for result in before)
    model = SeeingModel()
    _, results = kept_run(STACK, LINKED, model, axis=0, goes_on=part)
    assert not any(result.problem for result in results)
    assert 1 <= len(model.embedded) <= 2
    whole = fresh(STACK, LINKED)
    for result in results:
        np.testing.assert_array_equal(result.labels, whole[result.index].labels)


def test_an_id_that_is_given_away_while_results_are_read_is_nobodys_later():
    run, _ = kept_run(STACK, replace(LINKED, stability_score_thresh=0.8), axis=0)
    results = run.linked(at(run, stability_score_thresh=0.7))
    before = run.highest_id
    next(results)
    new = list(range(before + 1, run.highest_id + 1))
    assert new, "candidates that were not shown until now"
    run.give_away(new)
    list(results)
    again = linked(run, stability_score_thresh=0.7)
    assert not {number for plane in again.values() for number in plane.features["index"]} & set(new)
