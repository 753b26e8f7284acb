"""What is said of the candidates of a result layer, and shown behind the sliders."""

from contextlib import suppress
from typing import Any

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.reviewing.refilter import Refilter
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer
from napari_sam_amg.plugin.running.adding import not_while_adding


def look_at(kept: Any, index: Index | None) -> dict[str, Any] | str:
    """In a worker: what histograms are made of, or why that cannot be read.

    The plane in sight is made once, so that the first move is fast.
    """
    from napari_sam_amg.review.duplicates import columns_with_overlaps

    with suppress(Exception):  # whoever asks for it is told
        if kept.params.link == "none" and index in kept.indices:
            with not_while_adding():
                kept.plane(index, kept.params)
    try:
        with not_while_adding():
            return columns_with_overlaps(kept)
    except Exception as error:
        return explain_in_window(error)


def counted(review: ReviewedLayer, refilter: Refilter) -> str:
    """How many candidates are kept and shown, in words."""
    candidates, record = len(review.kept.columns()["area"]), review.record
    waiting = refilter.waiting
    if waiting and refilter.planes > 1:
        return f"{refilter.planes - waiting} of {refilter.planes} planes follow the thresholds."
    masks, hidden = record.get("masks"), record.get("hidden_by_overlap")
    if masks is None or hidden is None:
        return f"{candidates:,} candidates."
    words = f"{masks:,} of {candidates:,} candidates are kept"
    return f"{words}, {hidden:,} of them hidden by overlaps." if hidden else f"{words}, none hidden by overlaps."


def in_plain_words(kept: Any) -> str:
    """Why thresholds of a run cannot be moved though its candidates were kept; empty if they can."""
    if kept.params.mode == "ais":
        return "AIS rates no masks, so there are no thresholds to move: run again with other settings."
    if kept.fixed_reason:
        return "The planes are too large to make their labels again here: run again with other thresholds."
    return "" if kept.indices else "No plane was finished, so there is nothing to choose from."
