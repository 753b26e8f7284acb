"""Measures against counts done by hand, against StarDist's way of matching, and their properties."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sam_amg import evaluate_labels
from napari_sam_amg.evaluation.overlaps import count_overlaps, merge_overlaps
from napari_sam_amg.evaluation.scores import THRESHOLDS, Calibration, pool_scores, score_overlaps
from tests.evaluation.reference import iou_matrix, match, seg


def row(text: str) -> np.ndarray:
    """A label image of one row: ``"11.22"`` has the objects 1 and 2."""
    return np.array([[0 if letter == "." else int(letter) for letter in text]])


def label_pairs(max_label: int = 4):
    """Two small label images of one shape, 2D or 3D."""
    shapes = array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4)
    return shapes.flatmap(lambda shape: st.tuples(*[arrays(np.int32, shape, elements=st.integers(0, max_label))] * 2))


def test_counts_by_hand() -> None:
    truth, found = row("1111..5555"), row("777..233..")  # IoU of 1 and 7 3/4, of 5 and 3 2/4; 2 meets nothing
    score = evaluate_labels(truth, found)
    assert (score.true_objects, score.found_objects) == (2, 3)
    assert score.matched == (2, 1, 1, 1, 1, 1, 0, 0, 0, 0)  # .75 and .5 themselves are matches
    assert score.ap(0.5) == pytest.approx(2 / 3)
    assert score.ap(0.75) == pytest.approx(1 / 4)
    assert score.ap(0.8) == 0
    assert score.mean_ap() == pytest.approx((2 / 3 + 5 / 4) / 9)
    assert score.mean_ap(0.95) == pytest.approx((2 / 3 + 5 / 4) / 10)
    assert score.precision() == pytest.approx(2 / 3)
    assert score.recall() == 1
    assert score.f1() == pytest.approx(4 / 5)
    assert score.mean_matched_iou == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert score.seg == pytest.approx(3 / 4 / 2)  # a half is not more than half


def test_touching_objects_are_told_apart() -> None:
    truth, found = row("11112222"), row("11122222")
    score = evaluate_labels(truth, found)
    assert score.matched[:6] == (2,) * 6  # 3/4 and 4/5
    assert score.mean_matched_iou == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_split() -> None:
    score = evaluate_labels(row("1111111111"), row("2222223333"))  # IoU .6 and .4
    assert score.matched == (1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
    assert (score.ap(), score.precision(), score.recall(), score.seg) == pytest.approx((1 / 2, 1 / 2, 1, 0.6))


def test_merge() -> None:
    score = evaluate_labels(row("1111112222"), row("3333333333"))
    assert score.matched[:4] == (1, 1, 1, 0)
    assert (score.ap(), score.precision(), score.recall()) == pytest.approx((1 / 2, 1, 1 / 2))
    assert score.seg == pytest.approx((0.6 + 0.4) / 2)  # all of 2 is covered too, as in the challenge


@pytest.mark.parametrize(("truth", "found"), [("1111", "2233"), ("2233", "1111")])
def test_one_of_two_halves_is_matched(truth: str, found: str) -> None:
    score = evaluate_labels(row(truth), row(found))
    assert (score.matched[0], score.iou_sum) == (1, 0.5)
    assert score.ap() == 1 / 2


def test_without_objects_measures_are_undefined_or_zero() -> None:
    nothing, something = row("...."), row("11.2")
    missed = evaluate_labels(something, nothing)
    assert (missed.ap(), missed.recall(), missed.f1(), missed.seg) == (0, 0, 0, 0)
    assert math.isnan(missed.precision())
    assert math.isnan(missed.mean_matched_iou)
    invented = evaluate_labels(nothing, something)
    assert (invented.ap(), invented.precision(), invented.f1()) == (0, 0, 0)
    assert math.isnan(invented.recall())
    assert math.isnan(invented.seg)
    empty = evaluate_labels(nothing, nothing)
    assert (empty.true_objects, empty.found_objects) == (0, 0)
    assert math.isnan(empty.ap())
    assert math.isnan(empty.mean_ap())


def test_ids_may_have_gaps_and_be_huge() -> None:
    truth = row("1122").astype(np.uint64) * np.uint64(2**61)
    assert evaluate_labels(truth, row("55.9")).matched[0] == 2


def test_pooling_counts_objects_not_images() -> None:
    one, many = row("1"), row("123456789")
    pooled = pool_scores([evaluate_labels(one, one), evaluate_labels(many, np.zeros_like(many))])
    assert pooled.ap() == pytest.approx(0.1)
    assert pooled.seg == pytest.approx(0.1)
    assert pooled.precision() == 1


def test_a_volume_is_one_image() -> None:
    truth = np.stack([row("111."), row("111.")])
    found = np.stack([row("111."), row("222.")])  # the object breaks between the planes: two halves
    assert evaluate_labels(truth, found).matched[:2] == (1, 0)
    planes = pool_scores(evaluate_labels(t, f) for t, f in zip(truth, found, strict=True))
    assert planes.ap(0.95) == 1


def test_calibration_by_hand() -> None:
    truth, found = row("1111.2222..."), row("3333.55..7.8")  # true IoU 1, 1/2, 0, 0
    calibration = evaluate_labels(truth, found, {3: 0.9, 5: 0.4, 7: 0.2, 8: math.nan, 99: 0.5}).calibration
    assert calibration == Calibration((0.9, 0.4, 0.2), (1.0, 0.5, 0.0))
    # deviations .4, -.1, -.3 and .5, 0, -.5: .35 / sqrt(.26 * .5)
    assert calibration.correlation == pytest.approx(0.35 / math.sqrt(0.13))
    assert calibration.mean_error == pytest.approx(0)
    assert evaluate_labels(truth, found).calibration is None


def test_true_iou_is_that_with_the_object_it_fits_best() -> None:
    calibration = evaluate_labels(row("1222222"), row("3333..."), {3: 0.5}).calibration
    assert calibration is not None
    assert calibration.true == (3 / 7,)
    assert math.isnan(calibration.correlation)
    assert calibration.mean_error == pytest.approx(0.5 - 3 / 7)


def test_calibrations_are_pooled_over_labels() -> None:
    one = evaluate_labels(row("11"), row("11"), {1: 0.5})
    two = evaluate_labels(row("11"), row("12"), {1: 0.3, 2: 0.2})
    pooled = pool_scores([one, evaluate_labels(row("1"), row("1")), two]).calibration
    assert pooled == Calibration((0.5, 0.3, 0.2), (1.0, 0.5, 0.5))
    assert math.isnan(Calibration((), ()).mean_error)


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (np.zeros((1, 2), int), np.zeros((2, 1), int), r"shape \(1, 2\) and the labels \(2, 1\)"),
        (np.zeros((2, 2), int), np.zeros((2, 2)), "type float64 are not allowed: label ids are integers"),
        (np.zeros((2, 2), bool), np.zeros((2, 2), int), "type bool"),
        (np.zeros((2, 2), int), np.array([[0, 1], [2, -1]]), "label -1 is not allowed: 0 is background"),
        (np.full((1, 1), 2**63, np.uint64), np.zeros((1, 1), int), "label 9223372036854775808 is not allowed"),
        (np.zeros((0, 2), int), np.zeros((0, 2), int), r"shape \(0, 2\) have no pixels"),
    ],
)
def test_what_is_not_allowed_is_named(truth: np.ndarray, found: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_labels(truth, found)


def test_a_threshold_that_was_not_counted_is_named() -> None:
    with pytest.raises(ValueError, match=r"threshold=0\.3 is not allowed: choose one of 0\.5, 0\.55"):
        evaluate_labels(row("1"), row("1")).ap(0.3)


@given(label_pairs())
def test_equals_the_optimal_assignment_of_stardist(labels: tuple[np.ndarray, np.ndarray]) -> None:
    score, iou = evaluate_labels(*labels), iou_matrix(*labels)
    expected = [match(iou, threshold) for threshold in THRESHOLDS]
    assert (score.true_objects, score.found_objects) == iou.shape
    assert list(score.matched) == [count for count, _ in expected]
    assert score.iou_sum == pytest.approx(expected[0][1])
    assert score.seg_sum == pytest.approx(seg(*labels))


@given(label_pairs(), st.permutations([1, 7, 40, 2**40]), st.permutations([3, 4, 90, 2**33]))
def test_ids_do_not_matter(labels: tuple[np.ndarray, np.ndarray], new_truth: list[int], new_found: list[int]) -> None:
    truth, found = labels
    predicted = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    renamed = dict(zip(new_found, predicted.values(), strict=True))
    score = evaluate_labels(truth, found, predicted)
    other = evaluate_labels(np.array([0, *new_truth])[truth], np.array([0, *new_found])[found], renamed)
    assert (other.true_objects, other.found_objects, other.matched) == (
        score.true_objects, score.found_objects, score.matched,
    )  # fmt: skip
    assert (other.iou_sum, other.seg_sum) == pytest.approx((score.iou_sum, score.seg_sum))
    assert score.calibration is not None
    assert other.calibration is not None
    assert sorted(zip(other.calibration.predicted, other.calibration.true, strict=True)) == sorted(
        zip(score.calibration.predicted, score.calibration.true, strict=True)
    )


@given(label_pairs())
def test_the_truth_itself_scores_1(labels: tuple[np.ndarray, np.ndarray]) -> None:
    score = evaluate_labels(labels[0], labels[0])
    count = len(np.unique(labels[0][labels[0] > 0]))
    assert score.matched == (count,) * len(THRESHOLDS)
    if count:
        assert (score.ap(0.95), score.mean_ap(), score.f1(), score.mean_matched_iou, score.seg) == (1, 1, 1, 1, 1)


@given(label_pairs())
def test_planes_counted_one_by_one_and_merged_are_the_volume(labels: tuple[np.ndarray, np.ndarray]) -> None:
    planes = [count_overlaps(truth, found) for truth, found in zip(*labels, strict=True)]
    assert score_overlaps(merge_overlaps(planes)) == evaluate_labels(*labels)


def test_nothing_but_numpy_is_imported() -> None:
    code = "import sys; from napari_sam_amg import evaluate_labels; print('torch' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
