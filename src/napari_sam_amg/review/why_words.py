"""What became of a candidate, in a few words."""

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.review.why import DOUBLES, Found


def in_words(found: Found, params: AmgParameters) -> str:
    """What became of a candidate, in a few words."""
    fate = found.fate
    if fate == "kept":
        return f"label {found.label}"
    if fate == "unsure":
        return f"predicted IoU {found.predicted_iou:.2f} is not above {params.pred_iou_thresh:g}"
    if fate == "unstable":
        return f"stability {found.stability_score:.2f} is below {params.stability_score_thresh:g}"
    if fate == "wrong size":
        is_small = found.area < params.min_area
        limit = f"at least {params.min_area}" if is_small else f"at most {params.max_area}"
        return f"{found.area} px large, kept are those of {limit} px"
    if fate == "cut":
        return "cut by the edge of a crop"
    if fate == "double when cleaned":
        return "a double once small pieces and holes were removed"
    if fate in DOUBLES:
        return _double(found, params)
    if fate == "covered":
        return f"{found.free:.0%} of it free, {params.min_visible_fraction:.0%} needed{_mostly(found)}"
    if fate == "not joined":
        return "lost when masks of planes or tiles were joined to objects, or covered by others"
    if fate == "specks":
        return f"only pieces below {params.smallest_piece} px are left of it{_mostly(found)}"
    return f"a ring around another object{_mostly(found)}"


def _double(found: Found, params: AmgParameters) -> str:
    if found.by:
        return f"a double of label {found.by}"
    if found.better is None:
        return "a double of a better one"
    return f"a double of a better one, which is gone, too: {in_words(found.better, params)}"


def _mostly(found: Found) -> str:
    return f"; label {found.by} has most" if found.by else ""
