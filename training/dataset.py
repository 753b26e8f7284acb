"""Reading images with their label images: ``<data>/<split>/<dataset>/NNN_image.png, NNN_labels.png``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import io

LOW_PERCENTILES = (0.1, 1.0)
HIGH_PERCENTILES = (99.7, 99.95)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An image with its instances."""

    dataset: str
    name: str
    image: NDArray[np.generic]  # (H, W) or (H, W, 3), 8 or 16 bit
    labels: NDArray[np.uint16]  # (H, W), 0 is background
    black: tuple[float, float]  # range of grey values to take for black
    white: tuple[float, float]
    diameter: float  # of the median instance, px


def find_datasets(split_dir: Path) -> list[str]:
    return sorted(path.name for path in split_dir.iterdir() if path.is_dir())


def find_pairs(data: Path, split: str, dataset: str) -> Iterator[tuple[Path, Path]]:
    """(image, labels) paths in the order of their names."""
    for image in sorted((data / split / dataset).glob("*_image.png")):
        yield image, image.with_name(image.name.replace("_image", "_labels"))


def make_example(dataset: str, name: str, image: NDArray[Any], labels: NDArray[Any]) -> Example:
    """An example with the figures that augmentation needs."""
    areas = np.bincount(labels.ravel())[1:]
    diameter = np.sqrt(np.median(areas[areas > 0]) * 4 / np.pi) if areas.any() else 32.0
    levels = np.percentile(image[::2, ::2], LOW_PERCENTILES + HIGH_PERCENTILES)
    black, white = (float(levels[0]), float(levels[1])), (float(levels[2]), float(levels[3]))
    return Example(dataset, name, image, labels.astype(np.uint16), black, white, float(diameter))


def read_example(image_path: Path, labels_path: Path) -> Example:
    image, labels = io.imread(image_path), io.imread(labels_path)
    if image.ndim == 3:
        image = image[..., :3]
    return make_example(image_path.parent.name, image_path.name.removesuffix("_image.png"), image, labels)


def read_split(data: Path, split: str) -> list[Example]:
    """All examples of a split that have at least one instance."""
    names = find_datasets(data / split)
    pairs = [pair for name in names for pair in find_pairs(data, split, name)]
    if not pairs:
        raise ValueError(f"no *_image.png under {data / split} for the data sets {names}")
    examples = (read_example(*pair) for pair in pairs)
    return [example for example in examples if example.labels.any()]


def is_held_out(index: int, hold_out: int) -> bool:
    """Whether an image, the ``index``-th of its data set, is one of every ``hold_out``; 0 holds out none.

    The middle one of each ``hold_out``, so that a data set of a few images has one, and one of two or three has none.
    """
    return hold_out > 0 and index % hold_out == hold_out // 2


def without_held_out(examples: Sequence[Example], hold_out: int) -> list[Example]:
    """What is left for training; the order within each data set is that of the files."""
    seen: Counter[str] = Counter()
    kept = []
    for example in examples:
        if not is_held_out(seen[example.dataset], hold_out):
            kept.append(example)
        seen[example.dataset] += 1
    return kept
