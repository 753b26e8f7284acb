"""What candidates of a region come to: their scores and areas, and their bytes in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.amg.region import RegionCandidates
from napari_sam_amg.amg.stored import StoredCandidates


def columns_of(candidates: RegionCandidates | None) -> dict[str, NDArray[Any]]:
    """``predicted_iou``, ``stability_score`` and ``area`` (px) of each, (n,)."""
    crops = candidates.found.crops if candidates is not None and isinstance(candidates.found, StoredCandidates) else ()
    empty = np.empty(0, np.float32)
    return {
        "predicted_iou": np.concatenate([empty, *(crop.predicted_iou for crop in crops)]),
        "stability_score": np.concatenate([empty, *(crop.stability_score for crop in crops)]),
        "area": np.concatenate([np.empty(0, np.int64), *(crop.areas for crop in crops)]),
    }


def size_of(candidates: RegionCandidates) -> int:
    """Bytes in memory, about: an array of its own takes 120 beside its pixels, and the columns of a mask 110."""
    size = 0 if candidates.image is None else candidates.image.nbytes
    tables = [*candidates.found.crops, *candidates.found.cut] if isinstance(candidates.found, StoredCandidates) else []
    for table in tables:
        assert isinstance(table, Candidates)
        size += sum(bits.nbytes for bits in table.bits) + 230 * len(table)
    return size
