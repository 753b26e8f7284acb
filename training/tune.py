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

import torch

from napari_sam_amg.amg.generate import refilter
from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.evaluation.scores import Score, evaluate_labels, pool_scores
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import propose_candidates
from training.dataset import Example, find_datasets
from training.evaluate import read_some

LOWEST_IOU = 0.34  # predicted; masks below it are not drawn
IOU_THRESHOLDS = (0.35, 0.36, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65)
STABILITY_THRESHOLDS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8)
NMS_THRESHOLDS = (0.3, 0.5, 0.7)

Combination = tuple[float, float, float]  # predicted IoU, stability, box NMS
Scores = dict[Combination, list[Score]]


def find_candidates(example: Example, model: Model, params: AmgParameters) -> StoredCandidates:
    """Every mask above ``LOWEST_IOU``, duplicates included, in the crop layer that suits the image.

    The points of an approximate search depend a little on the thresholds; here they are taken as given, as a grid is.
    """
    loose = replace(params, crop_layers="auto", pred_iou_thresh=LOWEST_IOU, stability_score_thresh=0.0)
    stored = propose_candidates(example.image, model, loose)
    stored = replace(stored, params=replace(stored.params, point_search="grid"))
    logging.info("%s %s: crop layer %d", example.dataset, example.name, stored.params.crop_n_layers)
    return stored


def score_combinations(example: Example, stored: StoredCandidates) -> Iterator[tuple[Combination, Score]]:
    for combination in itertools.product(IOU_THRESHOLDS, STABILITY_THRESHOLDS, NMS_THRESHOLDS):
        iou, stability, nms = combination
        params = replace(stored.params, pred_iou_thresh=iou, stability_score_thresh=stability, box_nms_thresh=nms)
        labels = paint(refilter(stored, params), params).labels
        yield combination, evaluate_labels(example.labels, labels)


def score_dataset(data: Path, dataset: str, limit: int, model: Model) -> Scores:
    defaults: dict[str, Any] = dict(model.info.amg_defaults)
    params = AmgParameters(**defaults)
    scores: Scores = defaultdict(list)
    for example in read_some(data, "train", dataset, limit):
        for combination, score in score_combinations(example, find_candidates(example, model, params)):
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
