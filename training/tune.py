"""Choose a checkpoint's default thresholds, on training images: ``python -m training.tune``.

The model sees every image once; all combinations then filter the same masks.
"""

import argparse
import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sam_amg.amg.filters import non_maximum
from napari_sam_amg.amg.generate import mask_steps
from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.magnify import magnified
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.evaluation.scores import Score, evaluate_labels, pool_scores
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import as_rgb
from napari_sam_amg.sam.checkpoint import load_model
from training.dataset import Example, find_datasets
from training.evaluate import read_some

LOWEST_IOU = 0.34  # predicted; masks below it are not drawn
IOU_THRESHOLDS = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65)
STABILITY_THRESHOLDS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8)
NMS_THRESHOLDS = (0.3, 0.5, 0.7)

Combination = tuple[float, float, float]  # predicted IoU, stability, box NMS
Scores = dict[Combination, list[Score]]


def find_masks(example: Example, model: Model, params: AmgParameters) -> Masks:
    """Every mask above ``LOWEST_IOU``, duplicates included, in the crop layer that suits the image."""
    rgb = as_rgb(example.image)
    chosen = magnified(rgb, model, replace(params, crop_layers="auto"))
    logging.info("%s %s: crop layer %d", example.dataset, example.name, chosen.crop_n_layers)
    loose = replace(
        chosen, pred_iou_thresh=LOWEST_IOU, stability_score_thresh=0.0, box_nms_thresh=1.0, crop_nms_thresh=1.0
    )
    *_, masks = mask_steps(rgb, model, loose)
    assert masks is not None
    return masks


def filter_masks(masks: Masks, combination: Combination, crop_nms_thresh: float) -> Masks:
    """What the product's filters leave of the masks of one crop layer."""
    iou, stability, nms = combination
    good = masks.select((masks.predicted_iou > iou) & (masks.stability_score >= stability))
    _, crop = np.unique(good.crop_boxes, axis=0, return_inverse=True)
    kept = non_maximum(good.boxes, good.predicted_iou, nms, crop.ravel())
    return good.select(kept[non_maximum(good.boxes[kept], good.predicted_iou[kept], crop_nms_thresh)])


def score_combinations(example: Example, masks: Masks, params: AmgParameters) -> Iterator[tuple[Combination, Score]]:
    for combination in itertools.product(IOU_THRESHOLDS, STABILITY_THRESHOLDS, NMS_THRESHOLDS):
        labels: NDArray[np.int32] = paint(filter_masks(masks, combination, params.crop_nms_thresh), params).labels
        yield combination, evaluate_labels(example.labels, labels)


def score_dataset(data: Path, dataset: str, limit: int, model: Model) -> Scores:
    defaults: dict[str, Any] = dict(model.info.amg_defaults)
    params = AmgParameters(**defaults)
    scores: Scores = defaultdict(list)
    for example in read_some(data, "train", dataset, limit):
        for combination, score in score_combinations(example, find_masks(example, model, params), params):
            scores[combination].append(score)
    return scores


def print_best(title: str, figures: dict[Combination, float], count: int = 6) -> None:
    best = sorted(figures, key=lambda combination: -figures[combination])[:count]
    print(title, *(f"{c}: {figures[c]:.3f}" for c in best), sep="  ", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", action="append", help="repeat for several; default: all")
    parser.add_argument("--checkpoint", default="embedded")
    parser.add_argument("--limit", type=int, default=3, help="images a data set")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.checkpoint, device="cpu")
    mean: dict[Combination, float] = defaultdict(float)
    datasets = arguments.dataset or find_datasets(arguments.data / "train")
    for dataset in datasets:
        scores = score_dataset(arguments.data, dataset, arguments.limit, model)
        figures = {combination: pool_scores(several).ap() for combination, several in scores.items()}
        print_best(dataset, figures)
        for combination, figure in figures.items():
            mean[combination] += figure / len(datasets)
    print_best("mean over data sets", mean, 20)


if __name__ == "__main__":
    main()
