"""Which objects of two label images share how many pixels: a sparse table, so that size and ids do not matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
_HIGHEST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Columns, one row for every pair of ids that meet somewhere; 0 is background, its pairs included."""

    truth: NDArray[np.int64]  # (n,) ids
    found: NDArray[np.int64]  # (n,) ids
    pixels: NDArray[np.int64]  # (n,) > 0


def count_overlaps(truth: Labels, found: Labels) -> Overlaps:
    """Of two label images of one shape, with any number of axes and ids with gaps.

    Raises ``ValueError`` for other shapes, types and ids, naming them.
    """
    if truth.shape != found.shape:
        raise ValueError(f"the truth has shape {truth.shape} and the labels {found.shape}: they must be equal")
    if truth.size == 0:
        raise ValueError(f"label images of shape {truth.shape} have no pixels")
    for labels in (truth, found):
        check_type(labels.dtype)
        check_ids(labels)
    starts = _run_starts(truth.ravel(), found.ravel())
    lengths = np.diff(starts, append=truth.size)
    true_ids, found_ids = (labels.ravel()[starts].astype(np.int64) for labels in (truth, found))
    return _grouped(true_ids, found_ids, lengths)


def merge_overlaps(parts: Sequence[Overlaps]) -> Overlaps:
    """As if the parts, the planes of a stack say, had been counted as one image."""
    return _grouped(
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.found for part in parts]),
        np.concatenate([part.pixels for part in parts]),
    )


def check_type(dtype: np.dtype[Any]) -> None:
    """Raise ``ValueError`` unless it can hold label ids."""
    if dtype.kind not in "iu":
        raise ValueError(f"labels of type {dtype} are not allowed: label ids are integers (int8 to uint64)")


def check_ids(labels: Labels) -> None:
    """Raise ``ValueError`` for negative ids, and those above what int64 holds."""
    for value in (int(labels.min()), int(labels.max())):
        if not 0 <= value <= _HIGHEST:
            raise ValueError(f"label {value} is not allowed: 0 is background, objects are 1 to {_HIGHEST}")


def _run_starts(truth: Labels, found: Labels) -> NDArray[np.int64]:
    """Where a run of pixels with one pair of ids begins; far fewer than pixels, which makes counting fast."""
    changes = (truth[1:] != truth[:-1]) | (found[1:] != found[:-1])
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _grouped(truth: NDArray[np.int64], found: NDArray[np.int64], pixels: NDArray[np.int64]) -> Overlaps:
    """One row a pair, in order of ids, with the sum of its pixels."""
    order = np.lexsort((found, truth))
    truth, found, pixels = truth[order], found[order], pixels[order]
    first = np.concatenate([[0], np.flatnonzero((np.diff(truth) != 0) | (np.diff(found) != 0)) + 1])
    return Overlaps(truth[first], found[first], np.add.reduceat(pixels, first))
