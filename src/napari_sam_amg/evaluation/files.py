"""From a pair of files to the scores of its images."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam_amg.errors import explain
from napari_sam_amg.evaluation.label_images import LabelImage, open_labels
from napari_sam_amg.evaluation.overlaps import Overlaps, count_overlaps, merge_overlaps
from napari_sam_amg.evaluation.pairs import Pair
from napari_sam_amg.evaluation.predicted_iou import read_predicted_iou
from napari_sam_amg.evaluation.report import ImageScore
from napari_sam_amg.evaluation.scores import score_overlaps


class FileError(ValueError):
    """Something is wrong with one file of a pair: which, and what."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


@dataclass(frozen=True, slots=True)
class PairScore:
    """What became of a pair of files."""

    images: list[ImageScore]
    problems: list[FileError]  # which left the scores incomplete
    warnings: list[FileError]


def score_pair(pair: Pair, by_plane: bool = False) -> PairScore:
    """The score of an image or volume, or of each plane of a stack; planes are read one at a time.

    Calibrated if a features table with predicted IoUs is beside the found labels; one that cannot be read is a
    problem, and the rest is scored. Raises ``FileError``.
    """
    predicted_iou, problems = None, []
    try:
        with _blaming(pair.features):
            predicted_iou = read_predicted_iou(pair.features)
    except FileError as error:
        problems.append(error)
    counted = _count(pair)
    merged = merge_overlaps(list(counted.values()))
    images = [
        ImageScore(pair.dataset, _plane_name(pair.name, index), score_overlaps(overlaps, predicted_iou))
        for index, overlaps in (counted if by_plane else {(): merged}).items()
    ]
    return PairScore(images, problems, _doubts(pair, merged))


def _doubts(pair: Pair, overlaps: Overlaps) -> list[FileError]:
    """What is allowed, but probably not meant."""
    reason = "its only id is 255, as in a mask of black and white: all that is white is one object"
    columns = ((pair.truth, overlaps.truth), (pair.found, overlaps.found))
    return [FileError(path, reason) for path, ids in columns if set(np.unique(ids)) == {0, 255}]


def _count(pair: Pair) -> dict[tuple[int, ...], Overlaps]:
    """Of every plane, by its index."""
    with ExitStack() as files:
        truth, found = _open(pair.truth, files), _open(pair.found, files)
        _check_alike(pair, truth, found)
        counted = {}
        for index in truth.indices:
            with _blaming(pair.truth):
                true_plane = truth.plane(index)
            with _blaming(pair.found):
                found_plane = found.plane(index)
            counted[index] = count_overlaps(true_plane, found_plane)
        return counted


def _check_alike(pair: Pair, truth: LabelImage, found: LabelImage) -> None:
    if truth.shape != found.shape:
        reason = f"shape {_shape(found)} is not that of {pair.truth}, {_shape(truth)}: they must be equal"
        raise FileError(pair.found, reason)
    if truth.named_axes and found.named_axes and truth.named_axes != found.named_axes:
        reason = f"axes {found.named_axes} are not those of {pair.truth}, {truth.named_axes}: save both in one order"
        raise FileError(pair.found, reason)


def _shape(labels: LabelImage) -> str:
    return f"{labels.shape} {labels.named_axes}".rstrip()


def _open(path: Path, files: ExitStack) -> LabelImage:
    with _blaming(path):
        return files.enter_context(open_labels(path))


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise FileError(path, explain(error)) from error


def _plane_name(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name
