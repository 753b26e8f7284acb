"""Automatic mask generation on one image: propose, remove duplicates, cut out, clean."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import Part, crop_boxes
from napari_sam_amg.amg.filters import (
    best_in_crop,
    of_right_size,
    passes,
    rows_between_crops,
    rows_in_crop,
    undominated,
)
from napari_sam_amg.amg.masks import Candidates, Masks, concatenate, no_candidates, no_masks
from napari_sam_amg.amg.propose import Model, propose
from napari_sam_amg.amg.regions import clean
from napari_sam_amg.amg.seams import cut_by_all
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.checks import check_kind
from napari_sam_amg.params import AmgParameters


def candidate_steps(
    image: NDArray[np.uint8], model: Model, params: AmgParameters, core: Part | None = None
) -> Iterator[StoredCandidates | None]:
    """Yield None after each batch of points (``propose.count_batches`` of them), then the candidates.

    ``image``: (H, W, 3) uint8 RGB; ``core`` as :func:`~napari_sam_amg.amg.propose.propose` takes it. Closing the
    generator cancels.
    """
    batches = []
    for proposed in propose(image, model, params, core):
        batches.append(proposed)
        yield None
    # batches of one crop come one after another, and duplicates go within a crop first
    per_crop = [list(group) for _, group in groupby(batches, key=lambda proposed: proposed.crop)]
    crops = tuple(concatenate([part.candidates for part in parts]) for parts in per_crop)
    cut = tuple(undominated(concatenate([part.cut for part in parts])) for parts in per_crop)
    asked = np.concatenate([np.empty((0, 2), np.float32), *(proposed.asked for proposed in batches)])
    yield StoredCandidates(params, (image.shape[0], image.shape[1]), crops, cut, asked)


def refilter(stored: StoredCandidates, params: AmgParameters) -> Masks:
    """The masks that a run with ``params`` would give, without running the model.

    Raises ``ValueError`` if ``params`` ask for something that was not stored, see
    :meth:`StoredCandidates.check`.
    """
    check_kind("stored", stored, StoredCandidates, "what propose_candidates gives")
    check_kind("params", params, AmgParameters, "AmgParameters")
    stored.check(params)
    kept = concatenate([no_candidates(), *stored.crops]).select(surviving(stored, params))
    return clean(cut_out(kept, stored.size), params)


def surviving(stored: StoredCandidates, params: AmgParameters) -> NDArray[np.int64]:
    """Which candidates, counted through all crops, pass the thresholds and are nobody's duplicate; the best first."""
    rows, start = [np.empty(0, np.int64)], 0
    for crop in stored.crops:
        passing_rows = np.flatnonzero(passes(crop, params) & of_right_size(crop, params))
        rows.append(start + passing_rows[rows_in_crop(crop.select(passing_rows), params)])
        start += len(crop)
    kept = np.concatenate(rows)
    if len(stored.crops) > 1:  # as in the reference: with one crop a crop_nms_thresh below box_nms_thresh drops nothing
        kept = kept[rows_between_crops(concatenate(stored.crops).select(kept), params)]
    return kept


def cut_off(stored: StoredCandidates, params: AmgParameters) -> Masks:
    """The parts of objects that end where their crops end, which :func:`refilter` gives no masks of.

    Those alone that reach so far into their crop that no other crop holds all of what is seen of them.
    """
    if not any(map(len, stored.cut)):
        return no_masks(stored.size)
    crops = crop_boxes(stored.size, params)
    # of how large an object is its part says only that it is no smaller
    sizes = replace(params, min_area=0)
    per_crop = [part.select(passes(part, params) & of_right_size(part, sizes)) for part in stored.cut]
    parts = concatenate([no_candidates(), *(best_in_crop(part, params) for part in per_crop)])
    return cut_out(parts.select(cut_by_all(parts.boxes, crops, stored.size)), stored.size)


def cut_out(candidates: Candidates, size: tuple[int, int]) -> Masks:
    """The pixels of each candidate, inside its box."""
    return Masks(
        boxes=candidates.boxes,
        predicted_iou=candidates.predicted_iou,
        stability_score=candidates.stability_score,
        points=candidates.points,
        crop_boxes=candidates.crop_boxes,
        cutouts=[candidates.cutout(row) for row in range(len(candidates))],
        size=size,
    )
