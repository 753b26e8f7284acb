"""Batches as a pure function of (seed, step), made ahead of time by a thread or by processes."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_sam_amg.sam.unet_encoder import STRIDE
from training.colour import colour_view, to_input
from training.dataset import Example
from training.recipe import Recipe
from training.synthetic import synthesize
from training.targets import MIN_AREA, background_points, dense_target, object_points
from training.views import View, cut_view

AHEAD = 3  # batches


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One crop with its questions and answers. The first points lie on instances, the rest on background."""

    image: Tensor  # (3, S, S) normalised, 0 beyond the image's edge
    masks: Tensor  # (F, S / 2, S / 2) in 0 .. 1: the instances of the first F points
    points: Tensor  # (P, 2) (x, y) in px of the crop
    dense: Tensor  # (4, S / 2, S / 2)
    origin: Tensor  # (2,) cell (row, column) of the crop's corner in the model's frame
    labelled: bool  # whether everything unlabelled is background


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B crops with P points each, of which F in all lie on instances."""

    images: Tensor  # (B, 3, S, S)
    dense: Tensor  # (B, 4, S / 2, S / 2)
    origins: Tensor  # (B, 2)
    labelled: Tensor  # (B,) bool
    points: Tensor  # (B, P, 2)
    on: Tensor  # (B, P) bool: whether a point lies on an instance; those of a crop that do come first
    masks: Tensor  # (F, S / 2, S / 2) float16, which holds quarters exactly: processes and devices pass on half as much

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, item.name).to(device, non_blocking=True) for item in fields(self)))

    def pin_memory(self) -> "Batch":
        """As torch's ``DataLoader`` asks for it."""
        return Batch(*(getattr(self, item.name).pin_memory() for item in fields(self)))


def collate(samples: Sequence[Sample]) -> Batch:
    points = torch.stack([sample.points for sample in samples])
    first = torch.arange(points.shape[1])
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        dense=torch.stack([sample.dense for sample in samples]),
        origins=torch.stack([sample.origin for sample in samples]),
        labelled=torch.tensor([sample.labelled for sample in samples]),
        points=points,
        on=torch.stack([first < len(sample.masks) for sample in samples]),
        masks=torch.cat([sample.masks for sample in samples]).half(),
    )


def draw_example(
    rng: Generator, examples: Sequence[Example], chances: NDArray[np.float64], synthetic: float
) -> Example:
    """A real example, or with the chance ``synthetic`` one that is made up on the spot."""
    return synthesize(rng) if rng.random() < synthetic else examples[rng.choice(len(examples), p=chances)]


def example_chances(examples: Sequence[Example], recipe: Recipe) -> NDArray[np.float64]:
    """How likely each example is: its data set's share, split evenly over its images."""
    counts = Counter(example.dataset for example in examples)
    weights = np.array([recipe.shares.get(e.dataset, 1.0) / counts[e.dataset] for e in examples])
    return weights / weights.sum()


def view_with_objects(
    rng: Generator, examples: Sequence[Example], chances: NDArray[np.float64], synthetic: float, side: int
) -> tuple[Example, View]:
    """A view of ``side`` px that shows at least one instance."""
    while True:
        example = draw_example(rng, examples, chances, synthetic)
        view = cut_view(rng, example, side)
        if np.bincount(view.labels.ravel())[1:].max(initial=0) >= MIN_AREA:
            return example, view


def draw_points(
    rng: Generator, view: View, recipe: Recipe, labelled: bool
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Points (P, 2) and the label ids of those that lie on an instance (F,), which come first."""
    if recipe.points == 0:
        return np.empty((0, 2), np.float32), np.empty(0, np.intp)
    wanted = recipe.background_points + int(rng.integers(-1, 2)) if labelled else 0
    off = background_points(rng, view.labels, view.inside, min(wanted, recipe.points - 1))
    on, ids = object_points(rng, view.labels, recipe.points - len(off))
    points = np.concatenate([on, off]).astype(np.float32)
    return points + rng.uniform(-0.5, 0.5, points.shape).astype(np.float32), ids


def pool_by_2(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of each 2 x 2 block: (F, S, S) -> (F, S / 2, S / 2).

    Not by torch: a second thread with parallel torch operations makes OpenMP's threads sleep rather
    than spin between operations, which slows the training.
    """
    ones = masks.view(np.uint8)
    rows = ones[:, ::2] + ones[:, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25)


def make_sample(rng: Generator, example: Example, view: View, recipe: Recipe, img_size: int) -> Sample:
    labelled = example.dataset not in recipe.partly_labelled
    points, ids = draw_points(rng, view, recipe, labelled)
    image = to_input(colour_view(rng, view.image, example))
    image[:, ~view.inside] = 0
    return Sample(
        image=torch.from_numpy(image),
        masks=torch.from_numpy(pool_by_2(view.labels == ids[:, None, None])),
        points=torch.from_numpy(points),
        dense=torch.from_numpy(dense_target(view.labels)),
        origin=torch.from_numpy(rng.integers(0, (img_size - recipe.crop) // STRIDE + 1, 2)),
        labelled=labelled,
    )


def make_batch(
    examples: Sequence[Example], recipe: Recipe, img_size: int, step: int, part: slice = slice(None)
) -> list[Sample]:
    """The batch of a step, or a part of it: the same whenever and wherever it is made."""
    chances = example_chances(examples, recipe)
    samples = []
    for index in range(recipe.batch)[part]:
        rng = np.random.default_rng((recipe.seed, step, index))
        example, view = view_with_objects(rng, examples, chances, recipe.synthetic, recipe.crop)
        samples.append(make_sample(rng, example, view, recipe, img_size))
    return samples


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What batches are made from. ``part``: what this process takes of each."""

    examples: Sequence[Example]
    recipe: Recipe
    img_size: int
    part: slice = field(default_factory=lambda: slice(None))

    def batch(self, step: int) -> Batch:
        return collate(make_batch(self.examples, self.recipe, self.img_size, step, self.part))


def stream_batches(source: Source, start: int) -> Iterator[Batch]:
    """The batches of the steps ``start`` .. ``recipe.steps``, made a few ahead by a thread."""
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(1) as maker:
        ahead: deque[Future[Batch]] = deque()
        for step in range(start, source.recipe.steps):
            ahead.append(maker.submit(source.batch, step))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class _Steps(Dataset[Batch]):
    """A batch is an item of it, so that a process makes whole batches."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        return self._source.batch(step)


def stream_from_processes(source: Source, start: int, processes: int, pin_memory: bool) -> Iterator[Batch]:
    """The same batches in the same order, made by processes; ``pin_memory`` for a GPU."""
    steps = range(start, source.recipe.steps)
    return iter(
        DataLoader(
            _Steps(source), batch_size=None, sampler=steps, num_workers=processes, pin_memory=pin_memory,
            prefetch_factor=AHEAD,
        )
    )  # fmt: skip
