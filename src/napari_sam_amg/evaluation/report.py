"""Scores of images, gathered into data sets: what the tables show."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_sam_amg.evaluation.scores import Score, pool_scores


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image, or one plane of a stack."""

    dataset: str
    name: str
    score: Score


@dataclass(frozen=True, slots=True)
class DatasetScore:
    """Images, and their score over all objects."""

    name: str
    images: tuple[ImageScore, ...]
    score: Score


def by_dataset(images: Sequence[ImageScore]) -> list[DatasetScore]:
    """In the order in which data sets first come."""
    names = dict.fromkeys(image.dataset for image in images)
    return [_pooled(name, [image for image in images if image.dataset == name]) for name in names]


def of_all(datasets: Sequence[DatasetScore]) -> DatasetScore | None:
    """One pool of all images, if there is more than one data set."""
    if len(datasets) < 2:
        return None
    return _pooled("all", [image for dataset in datasets for image in dataset.images])


def _pooled(name: str, images: Sequence[ImageScore]) -> DatasetScore:
    return DatasetScore(name, tuple(images), pool_scores(image.score for image in images))
