"""From a pair of files to the scores of its images."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from napari_sam_amg.evaluation.label_images import LabelImage, open_labels
from napari_sam_amg.evaluation.overlaps import Overlaps, count_overlaps, merge_overlaps
from napari_sam_amg.evaluation.pairs import Pair
from napari_sam_amg.evaluation.predicted_iou import read_predicted_iou
from napari_sam_amg.evaluation.report import ImageScore
from napari_sam_amg.evaluation.scores import score_overlaps
from napari_sam_amg.messages import explain


class FileError(ValueError):
    """Something is wrong with one file of a pair: which, and what."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def score_pair(pair: Pair, by_plane: bool = False) -> list[ImageScore]:
    """The score of an image or volume, or of each plane of a stack; planes are read one at a time.

    Calibrated if a features table with predicted IoUs is beside the found labels. Raises ``FileError``.
    """
    with _blaming(pair.features):
        predicted_iou = read_predicted_iou(pair.features)
    counted = _count(pair)
    parts = counted if by_plane else {(): merge_overlaps(list(counted.values()))}
    return [
        ImageScore(pair.dataset, _plane_name(pair.name, index), score_overlaps(overlaps, predicted_iou))
        for index, overlaps in parts.items()
    ]


def _count(pair: Pair) -> dict[tuple[int, ...], Overlaps]:
    """Of every plane, by its index."""
    with ExitStack() as files:
        truth, found = _open(pair.truth, files), _open(pair.found, files)
        if truth.shape != found.shape:
            reason = f"shape {found.shape} is not that of {pair.truth}, {truth.shape}: they must be equal"
            raise FileError(pair.found, reason)
        counted = {}
        for index in truth.indices:
            with _blaming(pair.truth):
                true_plane = truth.plane(index)
            with _blaming(pair.found):
                found_plane = found.plane(index)
            counted[index] = count_overlaps(true_plane, found_plane)
        return counted


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
