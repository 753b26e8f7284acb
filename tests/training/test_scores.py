"""Scores against counts done by hand."""

import numpy as np
import pytest

from training.baseline import otsu_watershed
from training.scores import pool_scores, score_labels


def test_counts_by_hand() -> None:
    truth = np.array([[1, 1, 1, 1, 0, 0, 5, 5, 5, 5]])
    found = np.array([[7, 7, 7, 0, 0, 2, 3, 3, 0, 0]])  # IoU 3/4 with 1, none for 2, 2/4 with 5
    score = score_labels(truth, found)
    assert (score.true_objects, score.found_objects) == (2, 3)
    assert (score.matched, score.matched_strictly) == (1, 0)  # an IoU of exactly .5 or .75 is no match
    assert score.ap50 == pytest.approx(1 / 4)
    assert score.f1 == pytest.approx(2 / 5)
    assert score.mean_matched_iou == pytest.approx(0.75)


def test_equal_labels_score_1_and_empty_labels_0() -> None:
    truth = np.array([[1, 0], [1, 2]])
    assert score_labels(truth, truth).ap75 == 1
    assert score_labels(truth, np.zeros_like(truth)).ap50 == 0


def test_pooling_counts_objects_not_images() -> None:
    one = np.array([[1]])
    many = np.arange(1, 10)[None]
    pooled = pool_scores([score_labels(one, one), score_labels(many, np.zeros_like(many))])
    assert pooled.ap50 == pytest.approx(0.1)


def test_other_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        score_labels(np.zeros((1, 2), int), np.zeros((2, 1), int))


def test_otsu_watershed_separates_touching_discs() -> None:
    rows, columns = np.indices((40, 60))
    centers = [(20, 15), (20, 32)]
    truth = np.zeros((40, 60), int)
    for label_id, (row, column) in enumerate(centers, start=1):
        truth[np.hypot(rows - row, columns - column) < 10] = label_id
    assert score_labels(truth, otsu_watershed(40 + 100 * (truth > 0))).ap75 == 1
