"""An object that the model was asked for becomes one of the results, with its row, and can be undone."""

from typing import TYPE_CHECKING

import numpy as np

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer

if TYPE_CHECKING:
    from napari_sam_amg.amg.masks import Masks

DRAWS_NOTHING = "the model draws nothing at this place"


def model_of(review: ReviewedLayer) -> tuple[str, str, str]:
    """Name or path, device and precision of the model of a run; of saved results as far as they say it."""
    record = review.record
    said = str(record.get("model", {}).get("name", "")), "auto", str(record.get("precision", "exact"))
    return review.asked_of or said


def put_in(review: ReviewedLayer, index: Index, answer: "Masks | str", params: AmgParameters) -> str:
    """Add an answer to the plane at ``index``; what was added, in words.

    Raises ``ValueError`` where nothing can be: for an answer that says what went wrong, for a mask whose pixels others
    have, and for labels that are only to be read.
    """
    if isinstance(answer, str):
        raise ValueError(answer.rstrip("."))
    if not len(answer):
        raise ValueError(DRAWS_NOTHING)
    if review.why_fixed:
        raise ValueError(review.why_fixed.rstrip("."))
    from napari_sam_amg.amg.table import of_plane_axes
    from napari_sam_amg.objects.table import Units
    from napari_sam_amg.review.ask import added
    from napari_sam_amg.review.edits import Patch

    review.about_to_change.emit()
    source, before = review.source, review.plane(index).copy()
    units, axis = Units(), None
    if source is not None:
        axis = source.linked_place(params)
        units = Units(source.pixel_size, None if axis is None else source.spacing(axis), source.area_column)
    label = _next_id(review)
    more = added(before, answer, label, params, index, units, axis)
    row = more.row if source is None else of_plane_axes(more.row, source.plane_axes, source.through(params))
    known = [name for name in row.columns if name in review.table.columns]
    review.show(index, more.labels, row[known])
    patch = Patch.of(index, before, more.labels)
    if review.edits is not None and patch is not None:
        review.edits.draw([patch], {label}, f"ask for object {label}")
    review.layer.selected_label = label
    scores = f"predicted IoU {answer.predicted_iou[0]:.2f}, stability {answer.stability_score[0]:.2f}"
    area = int(np.count_nonzero(more.labels == label))
    part = "" if more.free > 0.995 else f" {more.free:.0%} of what the model drew was free; others keep the rest."
    return f"Added as label {label}: {scores}, {area:,} px.{part}"


def _next_id(review: ReviewedLayer) -> int:
    """That nobody has, and no candidate of the run gets later."""
    highest = max(int(np.max(review.layer.data)), int(review.table["index"].max()) if len(review.table) else 0)
    return highest + 1 if review.kept is None else int(review.kept.new_id(highest))
