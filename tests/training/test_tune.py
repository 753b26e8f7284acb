"""Choosing thresholds: all combinations filter the masks of one run, whatever its search."""

from pathlib import Path

import numpy as np
import pytest
from skimage import io

from napari_sam_amg.models.checkpoint import load_model
from tests.samples import sample
from training import tune


def test_every_combination_is_scored_on_the_masks_of_a_guided_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sample("nuclei.tif")[:160, :160]
    folder = tmp_path / "train" / "nuclei"
    folder.mkdir(parents=True)
    io.imsave(folder / "000_image.png", image, check_contrast=False)
    labels = np.zeros(image.shape, np.uint16)
    labels[40:60, 40:60] = 1
    io.imsave(folder / "000_labels.png", labels, check_contrast=False)
    monkeypatch.setattr(tune, "IOU_THRESHOLDS", (0.35, 0.9))
    monkeypatch.setattr(tune, "STABILITY_THRESHOLDS", (0.4,))
    model = load_model(device="cpu")
    assert model.info.amg_defaults["point_search"] == "guided"
    scores = tune.score_dataset(tmp_path, "nuclei", 1, model)
    assert set(scores) == {(iou, 0.4, nms) for iou in (0.35, 0.9) for nms in tune.NMS_THRESHOLDS}
    found = {combination: score.found_objects for combination, (score,) in scores.items()}
    assert found[0.9, 0.4, 0.5] < found[0.35, 0.4, 0.5]
