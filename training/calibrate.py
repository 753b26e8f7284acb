"""Teach a finished checkpoint how good its masks are: ``python -m training.calibrate``.

Training asks about a dozen points of a small crop, most of them on objects. The product asks the centres that the
model sees, and a grid of points, about a whole frame, and keeps or drops masks by the predicted IoU alone. So the head
that predicts it is trained once more, alone, on what the product sees: views of the frame's full size, those points,
and as the truth of a mask its IoU with the object that it fits best, wherever the point was.
Everything else stays as it is, so what the head sees is computed once.

Some images are held out to choose the number of steps and to tell what it gained; then the head is trained on
all of them, as many steps.
"""

import argparse
import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.answers import DecodedMasks, ImageEmbedding
from napari_sam_amg.sam.model import Sam
from training.batches import example_chances, view_with_objects
from training.colour import PIXEL_MEAN, colour_view
from training.compact import save_compactly, to_half
from training.dataset import Example, read_split, without_held_out
from training.export import AMG_DEFAULTS
from training.processes import through_model
from training.recipe import Recipe

HELD_OUT = 5  # every fifth image
STEPS, BATCH, RATE = 1500, 1024, 4e-4
LOOK_EVERY = 100  # steps: the average that predicts the held-out images best is kept
UNCERTAIN_BELOW = 0.05  # IoU: masks that fit nothing are many and all alike; a third of them is kept
ALMOST_KEPT = 0.4  # predicted IoU: points whose best mask has more count three times, since users see those masks


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Prompts and how good their masks are: what the head sees, (P, C), and is to say, (P, masks)."""

    tokens: Tensor
    ious: Tensor


def best_ious(masks: Tensor, labels: NDArray[np.int32]) -> Tensor:
    """IoU of each mask with the object that it fits best: (M, h, w) bool, (h, w) -> (M,)."""
    flat = masks.flatten(1).float()
    ids = torch.from_numpy(np.unique(labels[labels > 0]))
    if len(ids) == 0:
        return flat.new_zeros(len(flat))
    objects = (torch.from_numpy(labels).flatten() == ids[:, None]).float()
    shared = flat @ objects.T
    return (shared / (flat.sum(1)[:, None] + objects.sum(1) - shared).clamp(min=1)).amax(1)


class Listener:
    """Keeps what the head that predicts the IoU was given."""

    def __init__(self, head: nn.Module) -> None:
        self.tokens: list[Tensor] = []
        self._hook = head.register_forward_pre_hook(lambda _, given: self.tokens.append(given[0].clone()))

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def take(self) -> Tensor:
        taken, self.tokens[:] = torch.cat(self.tokens), []
        return taken


def grid_points(rng: Generator, shape: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """A grid of ``side`` x ``side`` points (x, y) over an image of ``shape``, shifted at random."""
    spacing = np.array(shape[1::-1]) / side
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    return (cells + rng.uniform(0, 1, 2)) * spacing


def seen_points(rng: Generator, embedding: ImageEmbedding, most: int) -> NDArray[np.float64]:
    """The centres (x, y) of up to ``most`` of the objects that the model's maps show."""
    if embedding.maps is None or most == 0:
        return np.empty((0, 2))
    points = embedding.maps.objects().points
    return rng.permutation(points)[:most]


def ask_points(
    model: Sam, listener: Listener, embedding: ImageEmbedding, points: NDArray[np.float64], labels: Any
) -> Asked:
    """All masks of points on an image with ``labels``."""
    ious = []
    for some in np.array_split(points, max(1, len(points) // 64)):
        decoded: DecodedMasks = model.decode(embedding, some, lambda iou: torch.ones_like(iou, dtype=torch.bool))
        masks = decoded.low_res_logits > model.mask_threshold
        stride = embedding.original_size[0] // masks.shape[-1]
        ious.append(best_ious(masks, labels[stride // 2 :: stride, stride // 2 :: stride]).view(len(some), -1))
    return Asked(listener.take(), torch.cat(ious))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: ``frames`` views, of each a grid of ``side`` x ``side`` and up to ``centres`` seen objects."""

    frames: int
    side: int
    centres: int
    seed: int


def ask_view(model: Sam, index: int, examples: Sequence[Example], plan: Plan) -> Asked:
    """The ``index``-th random view, as training sees them but of the frame's full size; of photographs the objects."""
    rng, recipe = np.random.default_rng((plan.seed, index)), Recipe()
    side = model.config.img_size
    example, view = view_with_objects(rng, examples, example_chances(examples, recipe), 0.0, side)
    image = 255 * colour_view(rng, view.image, example).clip(0, 1)
    image = np.where(view.inside[..., None], image, PIXEL_MEAN).astype(np.uint8)
    embedding = model.embed(image)
    points = np.concatenate([grid_points(rng, image.shape, plan.side), seen_points(rng, embedding, plan.centres)])
    with Listener(model.mask_decoder.iou_prediction_head) as listener:
        asked = ask_points(model, listener, embedding, points, view.labels)
    if example.dataset not in recipe.partly_labelled:
        return asked
    hits = view.labels[tuple(points.astype(int).T[::-1])] > 0  # what is beside the labels may be an object or not
    return Asked(asked.tokens[hits], asked.ious[hits])


def ask(checkpoint: str, examples: Sequence[Example], plan: Plan, processes: int = 1) -> Asked:
    task = partial(ask_view, examples=examples, plan=plan)
    asked = []
    for index, view in enumerate(through_model(task, range(plan.frames), checkpoint, processes)):
        logging.info("%d of %d: mean IoU %.2f", index + 1, plan.frames, view.ious.mean())
        asked.append(view)
    return Asked(torch.cat([a.tokens for a in asked]), torch.cat([a.ious for a in asked]))


def figures(head: nn.Module, asked: Asked) -> str:
    """Of the masks that would be kept: how well the prediction follows the truth."""
    with torch.no_grad():
        predicted = head(asked.tokens)[:, 1:]
    best, which = predicted.max(1)
    true = asked.ious.gather(1, which[:, None])[:, 0]
    threshold = float(AMG_DEFAULTS["pred_iou_thresh"])
    kept = best > threshold
    parts = []
    for name, rows in (("all", torch.ones_like(kept)), (f"above {threshold}", kept)):
        if rows.sum() < 3:  # too few for a correlation
            continue
        pair = torch.stack([best[rows], true[rows]])
        parts.append(f"{name}: r {torch.corrcoef(pair)[0, 1]:.3f}, error {(pair[0] - pair[1]).mean():+.3f}")
    return "; ".join(parts)


def mean_error(head: nn.Module, asked: Asked) -> float:
    """Root of the mean squared difference between predicted and true IoU."""
    with torch.no_grad():
        return float((head(asked.tokens)[:, 1:] - asked.ious).square().mean().sqrt())


def trained_heads(head: nn.Module, asked: Asked, seed: int) -> Iterator[tuple[int, nn.Module]]:
    """Copies of the head that learn to predict the IoUs of ``asked``: steps so far, and the average; changes."""
    generator = torch.Generator().manual_seed(seed)
    head = copy.deepcopy(head).requires_grad_(True)
    average = torch.optim.swa_utils.AveragedModel(head, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    with torch.no_grad():
        likely = head(asked.tokens)[:, 1:].amax(1) > ALMOST_KEPT
    weights = torch.where(asked.ious.amax(1) > UNCERTAIN_BELOW, 1.0, 1 / 3) * torch.where(likely, 3.0, 1.0)
    for step in range(STEPS):
        rows = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
        loss = (head(asked.tokens[rows])[:, 1:] - asked.ious[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(head)
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            yield step + 1, average.module


def train_head(head: nn.Module, asked: Asked, test: Asked, seed: int) -> tuple[int, nn.Module]:
    """A copy of the head that predicts the IoUs of ``asked``, as it was when it did best on ``test``: its steps, it."""
    least, best, steps = mean_error(head, test), head, 0
    for step, trained in trained_heads(head, asked, seed):
        error = mean_error(trained, test)
        logging.info("step %d, held out: %.4f, %s", step, error, figures(trained, test))
        if error < least:
            least, best, steps = error, copy.deepcopy(trained), step
    return steps, best.requires_grad_(False)


def train_as_long(head: nn.Module, asked: Asked, steps: int, seed: int) -> nn.Module:
    """A copy of the head after as many steps, a multiple of LOOK_EVERY; the head itself after none."""
    trained = next((one for step, one in trained_heads(head, asked, seed) if step == steps), head)
    return trained.requires_grad_(False)


def examples_to_ask(data: Path, hold_out: int) -> tuple[list[Example], list[Example]]:
    """Those to train on and those that tell how long; neither has what a run with ``hold_out`` left to choose by."""
    examples = without_held_out(read_split(data, "train"), hold_out)
    return [example for index, example in enumerate(examples) if index % HELD_OUT], examples[::HELD_OUT]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=640, help="views; a fifth more are held out")
    parser.add_argument("--side", type=int, default=8, help="points a side of the grid")
    parser.add_argument("--centres", type=int, default=64, help="of seen objects, at most, that are asked in a view")
    parser.add_argument("--hold-out", type=int, default=0, help="as the run's: images to choose thresholds by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="views at once, each with one thread")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    seen, unseen = examples_to_ask(arguments.data, arguments.hold_out)
    plan = Plan(arguments.frames, arguments.side, arguments.centres, arguments.seed)
    fewer = replace(plan, frames=plan.frames // 5, seed=plan.seed + 1)
    asked = ask(str(arguments.checkpoint), seen, plan, arguments.processes)
    test = ask(str(arguments.checkpoint), unseen, fewer, arguments.processes)
    head = load_model(str(arguments.checkpoint), device="cpu").mask_decoder.iou_prediction_head
    logging.info("before, held out: %.4f, %s", mean_error(head, test), figures(head, test))
    steps, trained = train_head(head, asked, test, arguments.seed)
    logging.info("after %d steps, held out: %.4f, %s", steps, mean_error(trained, test), figures(trained, test))
    both = Asked(torch.cat([asked.tokens, test.tokens]), torch.cat([asked.ious, test.ious]))
    trained = train_as_long(head, both, steps, arguments.seed)
    content = torch.load(arguments.checkpoint, weights_only=True)
    for name, value in trained.state_dict().items():
        content["model"][f"mask_decoder.iou_prediction_head.{name}"] = to_half(value)
    save_compactly(content, arguments.output)


if __name__ == "__main__":
    main()
