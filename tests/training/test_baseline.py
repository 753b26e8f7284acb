import numpy as np

from napari_sam_amg.evaluation.scores import evaluate_labels
from training.baseline import otsu_watershed


def test_otsu_watershed_separates_touching_discs() -> None:
    rows, columns = np.indices((40, 60))
    centers = [(20, 15), (20, 32)]
    truth = np.zeros((40, 60), int)
    for label_id, (row, column) in enumerate(centers, start=1):
        truth[np.hypot(rows - row, columns - column) < 10] = label_id
    assert evaluate_labels(truth, otsu_watershed(40 + 100 * (truth > 0))).ap(0.75) == 1
