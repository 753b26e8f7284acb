"""Score a checkpoint on labelled images, through the product itself: ``python -m training.evaluate``."""

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.params import AmgParameters, parameter_type
from napari_sam_amg.run import segment_planes
from napari_sam_amg.sam.checkpoint import load_model
from training.baseline import otsu_watershed
from training.dataset import Example, find_datasets, find_pairs, read_example
from training.scores import Score, pool_scores, score_labels

HEADER = "| data set (images, objects) | AP.5 | AP.75 | F1 | matched IoU | Otsu AP.5 | Otsu AP.75 | s/image |"
RULE = "| --- " * 8 + "|"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One image."""

    name: str
    ours: Score
    otsu: Score
    seconds: float


def read_some(data: Path, split: str, dataset: str, limit: int | None) -> Iterator[Example]:
    """The first ``limit`` examples of a data set that have instances."""
    for pair in list(find_pairs(data, split, dataset))[:limit]:
        example = read_example(*pair)
        if example.labels.any():
            yield example


def segment(example: Example, model: Model, params: AmgParameters) -> NDArray[np.int32]:
    """The product's labels: (H, W)."""
    *_, last = segment_planes(PlaneStack(example.image, rgb=example.image.ndim == 3), model, params)
    assert last.result is not None
    return last.result.labels


def evaluate_example(example: Example, model: Model, params: AmgParameters) -> Outcome:
    started = time.monotonic()
    labels = segment(example, model, params)
    seconds = time.monotonic() - started
    otsu = score_labels(example.labels, otsu_watershed(example.image))
    return Outcome(example.name, score_labels(example.labels, labels), otsu, seconds)


def table_row(dataset: str, outcomes: list[Outcome]) -> str:
    ours, otsu = pool_scores(o.ours for o in outcomes), pool_scores(o.otsu for o in outcomes)
    figures = (ours.ap50, ours.ap75, ours.f1, ours.mean_matched_iou, otsu.ap50, otsu.ap75)
    seconds = sum(o.seconds for o in outcomes) / len(outcomes)
    cells = " | ".join(f"{figure:.3f}" for figure in figures)
    return f"| {dataset} ({len(outcomes)}, {ours.true_objects}) | {cells} | {seconds:.1f} |"


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
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of the AMG")
    parser.add_argument("--each", action="store_true", help="print every image too")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.checkpoint, device="cpu")
    params = AmgParameters(**{**model.info.amg_defaults, **parse_overrides(arguments.parameter)})
    print(HEADER, RULE, sep="\n", flush=True)
    for dataset in arguments.dataset or find_datasets(arguments.data / arguments.split):
        examples = read_some(arguments.data, arguments.split, dataset, arguments.limit)
        outcomes = [evaluate_example(example, model, params) for example in examples]
        print(table_row(dataset, outcomes), flush=True)
        for outcome in outcomes if arguments.each else ():
            print(f"  {outcome.name} ours {outcome.ours.ap50:.3f} Otsu {outcome.otsu.ap50:.3f}", flush=True)


if __name__ == "__main__":
    main()
