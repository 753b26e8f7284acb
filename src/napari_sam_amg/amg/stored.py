"""The candidates of a run, kept so that other thresholds can be tried without running the model."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.params import AmgParameters

#: Parameters that act on one mask alone: they may be stricter than in the stored run, never weaker.
THRESHOLDS = ("pred_iou_thresh", "stability_score_thresh")
#: Parameters that act after the model, or do not change the masks at all.
FREE = (
    "points_per_batch", "box_nms_thresh", "crop_nms_thresh", "min_mask_region_area", "min_area", "max_area", "overlap",
    "min_visible_fraction", "label_pieces", "min_label_region_area", "max_ring_area", "link", "link_iou", "link_gap",
    "min_planes",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class StoredCandidates:
    """What the model proposed for one image, after the filters that look at one mask alone."""

    params: AmgParameters  # of the run
    size: tuple[int, int]  # (height, width) of the image
    crops: tuple[Candidates, ...]  # in the order in which they were seen
    cut: tuple[Candidates, ...] = ()  # by edges of each crop, see ``propose.Proposed``; in no result
    asked: NDArray[np.float32] | None = None  # (n, 2) all points (x, y) that the model was asked; None if not known

    def __len__(self) -> int:
        return sum(len(candidates) for candidates in self.crops)

    def check(self, params: AmgParameters) -> None:
        """Raise ``ValueError`` unless the masks for ``params`` follow from what is stored.

        Which points an approximate search asks is decided by the model's own thresholds, so those of ``params`` may
        be any that are as strict as what is stored, after any search.
        """
        for spec in dataclasses.fields(params):
            name, value, stored = spec.name, getattr(params, spec.name), getattr(self.params, spec.name)
            if name in THRESHOLDS and value < stored:
                raise ValueError(
                    f"{name}={value} is lower than {stored}, with which the candidates were stored: "
                    f"give {stored} to 1, or run the model again"
                )
            if name not in (*THRESHOLDS, *FREE) and value != stored:
                raise ValueError(
                    f"{name}={_short(value)} differs from {_short(stored)}, with which the candidates were stored: "
                    "run the model again"
                )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
