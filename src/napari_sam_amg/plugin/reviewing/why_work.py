"""What became of the candidates of a plane, worked out in a thread: of a place, or all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.reviewed import Index
from napari_sam_amg.plugin.running.adding import not_while_adding

if TYPE_CHECKING:
    from napari_sam_amg.review.all_masks import Outlines
    from napari_sam_amg.review.why import Fates, Found

_NOT_SEGMENTED = "This plane was not segmented."
_NO_MASKS = "AIS asks no points and rates no masks: there are no candidates."


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What somebody wants to know, taken from the layer on the main thread."""

    kept: Any  # a KeptRun
    params: AmgParameters  # of what is shown
    index: Index
    shown: NDArray[np.integer]  # (H, W) labels of the plane
    y: int = 0
    x: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """About one place, in words."""

    candidates: tuple[str, ...]  # a line for each
    nothing: str = ""  # why there are none


def tell(asked: Asked) -> Told | str:
    """The candidates at a place; what went wrong, in words."""
    try:
        with not_while_adding():
            return _told(asked)
    except Exception as error:
        return explain_in_window(error)


def _told(asked: Asked) -> Told:
    from napari_sam_amg.amg.masks import Masks
    from napari_sam_amg.amg.stored import StoredCandidates
    from napari_sam_amg.review.why import fates_of, nearest_asked, what_is_at, what_is_shown_at

    if asked.index not in asked.kept.indices:
        return Told((), _NOT_SEGMENTED)
    regions = asked.kept.regions(asked.index)
    here = next(one for one in regions if one.region.holds(asked.y, asked.x))
    rows, columns = here.region.window
    y, x = asked.y - rows.start, asked.x - columns.start
    if here.failure is not None:
        return Told((), f"This could not be segmented: {explain_in_window(here.failure)}")
    if not isinstance(here.found, StoredCandidates):
        return Told((), _NO_MASKS if isinstance(here.found, Masks) else f"The model was not asked: {here.nothing}.")
    if len(regions) == 1 and asked.params.link == "none":
        found = what_is_at(fates_of(here.found, asked.params), y, x, _ids(asked).tolist())
    else:
        params = _within_planes(asked.params)
        found = what_is_shown_at(fates_of(here.found, params), y, x, asked.shown[rows, columns])
    if not found:
        return Told((), nothing_here(asked.kept.floor, nearest_asked(here.found, y, x)))
    return Told(tuple(_line(one, asked) for one in found))


def nothing_here(floor: AmgParameters, nearest: float | None) -> str:
    """Where there is no candidate. ``floor``: the thresholds down to which they were kept."""
    words = (
        f"No mask here has a predicted IoU above {floor.pred_iou_thresh:g} and a stability of "
        f"{floor.stability_score_thresh:g} or more."
    )
    return words if nearest is None else f"{words} The nearest point that was asked is {nearest:.0f} px away."


def _line(one: "Found", asked: Asked) -> str:
    from napari_sam_amg.review.why_words import in_words

    gone = " (deleted or drawn over by hand)" if one.label and not (asked.shown == one.label).any() else ""
    scores = f"{one.predicted_iou:.2f} / {one.stability_score:.2f}, {one.area:,} px"
    return f"{scores}: {in_words(one, asked.params)}{gone}"


def _ids(asked: Asked) -> NDArray[np.int64]:
    """Of the labels of a plane, in the order in which they were painted."""
    ids: NDArray[np.int64] = asked.kept.plane(asked.index, asked.params).features["index"].to_numpy(np.int64)
    return ids


def _within_planes(params: AmgParameters) -> AmgParameters:
    """As masks of one plane are chosen where planes are joined."""
    from napari_sam_amg.objects.support import eased, loosened

    return loosened(eased(params))


def all_outlines(asked: Asked) -> "Outlines | str":
    """Of all masks of a plane."""
    try:
        with not_while_adding():
            return _outlines(asked)
    except Exception as error:
        return explain_in_window(error)


def _outlines(asked: Asked) -> "Outlines | str":
    from napari_sam_amg.review.all_masks import outlines_of

    if asked.index not in asked.kept.indices:
        return _NOT_SEGMENTED
    fates = _fates_of_plane(asked)
    if fates is None:
        return "Masks of tiles, of linked planes, and of AIS cannot be shown before overlaps were resolved."
    return outlines_of(fates, _ids(asked))


def _fates_of_plane(asked: Asked) -> "Fates | None":
    """None where labels are not those of the plane alone."""
    from napari_sam_amg.amg.stored import StoredCandidates
    from napari_sam_amg.review.why import fates_of

    regions = asked.kept.regions(asked.index)
    if len(regions) > 1 or asked.params.link != "none" or not isinstance(regions[0].found, StoredCandidates):
        return None
    return fates_of(regions[0].found, asked.params)
