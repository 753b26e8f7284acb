"""Score a checkpoint on labelled images, through the product itself: ``python -m training.evaluate``."""

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.evaluation.scores import Calibration, Score, evaluate_labels, pool_calibrations, pool_scores
from napari_sam_amg.params import AmgParameters, parameter_type
from napari_sam_amg.run import PlaneResult, segment_planes
from napari_sam_amg.sam.model import Sam
from training.baseline import otsu_watershed
from training.dataset import Example, find_datasets, find_pairs, is_held_out, read_example
from training.processes import through_model
from training.rating import rate_all_masks

COLUMNS = (
    "data set (images, objects)", "AP.5", "AP.75", "mean AP", "precision", "recall", "F1", "matched IoU", "r(IoU)",
    "IoU error", "Otsu AP.5", "Otsu AP.75", "s/image",
)  # fmt: skip
ALL_MASKS_COLUMNS = ("r(IoU), all masks", "IoU error, all masks")  # if they are asked for


@dataclass(frozen=True, slots=True)
class Outcome:
    """One image."""

    dataset: str
    name: str
    ours: Score
    otsu: Score
    seconds: float
    all_masks: Calibration | None = None  # of every mask that the model made, if asked for


def read_some(data: Path, split: str, dataset: str, limit: int | None, held_out: int = 0) -> Iterator[Example]:
    """The first ``limit`` examples of a data set that have instances; with ``held_out`` of those not trained on."""
    examples = (read_example(*pair) for pair in find_pairs(data, split, dataset))
    labelled = (example for example in examples if example.labels.any())
    chosen = (e for index, e in enumerate(labelled) if not held_out or is_held_out(index, held_out))
    return islice(chosen, limit)


def segment(example: Example, model: Model, params: AmgParameters) -> PlaneResult:
    """What the product makes of an image."""
    *_, last = segment_planes(PlaneStack(example.image, rgb=example.image.ndim == 3), model, params)
    assert last.result is not None
    return last.result


def score_result(example: Example, result: PlaneResult) -> Score:
    """With the calibration of the predicted IoU, which the result's features hold for each label."""
    features = result.features
    predicted_iou = dict(zip(features["index"], features["predicted_iou"], strict=True))
    return evaluate_labels(example.labels, result.labels, predicted_iou)


def evaluate_example(example: Example, model: Model, params: AmgParameters, all_masks: bool = False) -> Outcome:
    started = time.monotonic()
    result = segment(example, model, params)
    seconds = time.monotonic() - started
    otsu = evaluate_labels(example.labels, otsu_watershed(example.image))
    rated = rate_all_masks(example, model, result.params) if all_masks else None
    return Outcome(example.dataset, example.name, score_result(example, result), otsu, seconds, rated)


def evaluate_by_defaults(model: Sam, example: Example, overrides: dict[str, Any], all_masks: bool) -> Outcome:
    """With the parameters that the model brings, but for ``overrides``."""
    params = AmgParameters(**{**model.info.amg_defaults, **overrides})
    return evaluate_example(example, model, params, all_masks)


def table_head(all_masks: bool = False) -> str:
    columns = COLUMNS + ALL_MASKS_COLUMNS * all_masks
    return f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|"


def table_row(dataset: str, outcomes: list[Outcome]) -> str:
    """Pooled over the objects of all images; "nan" where a figure is undefined."""
    ours, otsu = pool_scores(o.ours for o in outcomes), pool_scores(o.otsu for o in outcomes)
    assert ours.calibration is not None
    figures = (
        ours.ap(0.5), ours.ap(0.75), ours.mean_ap(), ours.precision(), ours.recall(), ours.f1(),
        ours.mean_matched_iou, ours.calibration.correlation, ours.calibration.mean_error, otsu.ap(0.5), otsu.ap(0.75),
    )  # fmt: skip
    rated = pool_calibrations(o.all_masks for o in outcomes)
    cells = [
        f"{dataset} ({len(outcomes)}, {ours.true_objects})",
        *(f"{figure:.3f}" for figure in figures),
        f"{sum(o.seconds for o in outcomes) / len(outcomes):.1f}",
        *(f"{figure:.3f}" for figure in ((rated.correlation, rated.mean_error) if rated else ())),
    ]
    return f"| {' | '.join(cells)} |"


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """``name=value`` texts to AMG parameters."""
    split = (pair.partition("=") for pair in pairs)
    return {name: parameter_type(name)(value) for name, _, value in split}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with <split>/<dataset>/NNN_image.png")
    parser.add_argument("--split", default="val")
    parser.add_argument("--dataset", action="append", help="repeat for several; default: all of the split")
    parser.add_argument("--checkpoint", default="embedded", help="a known model or a checkpoint file")
    parser.add_argument("--limit", type=int, help="images a data set")
    parser.add_argument("--held-out", type=int, default=0, help="of the train split only what --hold-out left out")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a single process")
    parser.add_argument("--processes", type=int, default=1, help="images at once, each with one thread")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of the AMG")
    parser.add_argument("--each", action="store_true", help="print every image too")
    parser.add_argument("--all-masks", action="store_true", help="rate every mask that the model makes; slower")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    data, split, limit = arguments.data, arguments.split, arguments.limit
    datasets = arguments.dataset or find_datasets(data / split)
    examples = (example for name in datasets for example in read_some(data, split, name, limit, arguments.held_out))
    overrides = parse_overrides(arguments.parameter)
    task = partial(evaluate_by_defaults, overrides=overrides, all_masks=arguments.all_masks)
    print(table_head(arguments.all_masks), flush=True)
    everything: list[Outcome] = []
    found = through_model(task, examples, arguments.checkpoint, arguments.processes)
    for dataset, group in groupby(found, key=lambda outcome: outcome.dataset):
        outcomes = list(group)
        everything += outcomes
        print(table_row(dataset, outcomes), flush=True)
        for outcome in outcomes if arguments.each else ():
            print(f"  {outcome.name} ours {outcome.ours.ap():.3f} Otsu {outcome.otsu.ap():.3f}", flush=True)
    if len(datasets) > 1:
        print(table_row("all", everything))


if __name__ == "__main__":
    main()
