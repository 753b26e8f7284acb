"""The table of the model card, with a model that finds blobs."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import io

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import generate_masks
from tests.disc_model import BLOB_IOU, BlobModel, blobs
from training.dataset import Example
from training.evaluate import evaluate_example, read_some, table_head, table_row
from training.rating import best_ious

PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5)


@pytest.fixture
def example(tmp_path: Path) -> Example:
    """Three blobs, of which the truth cuts one in two: its best partner has half of it."""
    image = blobs()
    labels = cv2.connectedComponents(image)[1].astype(np.uint16)
    first = labels == labels[20, 20]
    columns = np.flatnonzero(first.any(axis=0))
    labels[first & (np.arange(image.shape[1]) > columns.mean())] = 9
    folder = tmp_path / "val" / "blobs"
    folder.mkdir(parents=True)
    io.imsave(folder / "000_image.png", image, check_contrast=False)
    io.imsave(folder / "000_labels.png", labels, check_contrast=False)
    (read,) = read_some(tmp_path, "val", "blobs", None)
    return read


def test_labels_are_scored_with_their_predicted_iou(example: Example) -> None:
    score = evaluate_example(example, BlobModel(), PARAMS).ours
    assert (score.true_objects, score.found_objects, score.matched[5]) == (4, 3, 2)
    assert score.calibration is not None
    assert score.calibration.predicted == pytest.approx((BLOB_IOU[1],) * 3)
    assert sorted(score.calibration.true)[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("all_masks", [False, True])
def test_a_row_has_a_cell_for_every_column(example: Example, all_masks: bool) -> None:
    outcome = evaluate_example(example, BlobModel(), PARAMS, all_masks)
    lines = (*table_head(all_masks).splitlines(), table_row("blobs", [outcome, outcome]))
    names, rule, cells = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    assert len(names) == len(rule) == len(cells)
    named = dict(zip(names, cells, strict=True))
    assert cells[0] == "blobs (2, 8)"
    assert named["AP.75"] == f"{2 / (4 + 3 - 2):.3f}"
    assert named["precision"] == f"{outcome.ours.precision():.3f}"
    assert named["recall"] == f"{outcome.ours.recall():.3f}"
    assert named["r(IoU)"] == "nan"  # the model predicts the same for all
    assert outcome.ours.calibration is not None
    assert named["IoU error"] == f"{outcome.ours.calibration.mean_error:.3f}"
    assert ("IoU error, all masks" in named) == all_masks
    if outcome.all_masks is not None:
        assert named["IoU error, all masks"] == f"{outcome.all_masks.mean_error:.3f}"


def test_all_masks_are_rated_and_not_only_the_kept_ones(example: Example) -> None:
    params = replace(PARAMS, pred_iou_thresh=1.0)
    outcome = evaluate_example(example, BlobModel(), params, all_masks=True)
    assert outcome.ours.found_objects == 0
    assert outcome.all_masks is not None
    assert len(outcome.all_masks.predicted) > 3 * 16  # most points lie on background, and have masks too
    assert min(outcome.all_masks.true) == 0
    assert max(outcome.all_masks.true) > 0.9


def test_best_iou_is_that_of_whole_frames(example: Example) -> None:
    masks = generate_masks(cv2.cvtColor(example.image, cv2.COLOR_GRAY2RGB), BlobModel(), PARAMS)
    assert len(masks) == 3
    for row, best in enumerate(best_ious(masks, example.labels)):
        frame = masks.frame(row)
        objects = [example.labels == label for label in np.unique(example.labels[example.labels > 0])]
        assert best == pytest.approx(max((frame & one).sum() / (frame | one).sum() for one in objects))
