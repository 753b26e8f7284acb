"""How a run ended, in words."""

from collections.abc import Sequence

from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.params import AmgParameters

FailedPlane = tuple[tuple[int, ...], str]  # its index along the stack's axes, and why
NAMED = 3  # failed planes; more are counted, the layer's metadata name them all


def found(
    masks: int,
    cut: int,
    seconds: float,
    params: AmgParameters,
    too_large: int = 0,
    note: str = "",
    objects: int | None = None,
    before: int = 0,
    candidates: int = 0,
) -> str:
    """``masks``: labels; ``cut``: those that the edge of a crop may have cut; ``too_large``: objects no crop holds.

    ``note``: on what was done otherwise than asked. ``objects``: those through the stack, of which ``masks`` are the
    cross-sections. ``before``: masks before overlaps were resolved. ``candidates``: that passed both thresholds.
    """
    missing = f" {too_large} too large for the crops may be missing." if too_large else ""
    if not masks and params.mode == "ais":
        return "No objects found: the model's segmentation decoder shows none."
    if not masks and candidates:
        return f"{_why_none(candidates, params)}{missing}"
    if not masks:
        return f"No masks found. Lower the two thresholds, or check what is black and white under Brightness.{missing}"
    search = ", approximate" if params.approximate else f"; {note}" * bool(note)
    kind = ", by AIS" if params.mode == "ais" else search
    lost = before - masks if objects is None and params.mode == "amg" else 0
    what = _count(before if lost > 0 else masks, "mask")
    if objects is not None:
        through = "time" if params.link == "t" else "z"
        what = f"{_count(objects, 'object')} through {through} ({what})"
    shown = f" {_count(masks, 'label')}, {lost} lost to overlaps." if lost > 0 else ""
    words = f"{what} found in {duration(seconds)}{kind}.{shown}"
    return words + (f" {cut} may be cut by the edge of a crop." if cut else "") + missing


def _why_none(candidates: int, params: AmgParameters) -> str:
    """Where thresholds are not why nothing is left."""
    some = _count(candidates, "candidate")
    if params.link == "z":
        return f"No objects through z: of {some} none goes on through {params.min_planes} planes (Min planes)."
    return f"No masks left: of {some} above the thresholds none is kept, for its size or for what is seen of it."


def came_to(tally: Tally, params: AmgParameters, planes: int = 1, what: str = "image") -> str:
    """Which crops the model saw, how many points it was asked, and what they gave; empty where it was asked none.

    ``what``: of each of ``planes`` was segmented.
    """
    if not tally.crops:
        return ""
    where = _where(tally, params, planes, f"{what}s" if planes > 1 else what)
    points = f", {_count(tally.points, 'point')} asked" if tally.is_complete else ""
    # the sliders reach lower, and count more
    return f"{where}{points}, {_count(tally.candidates, 'candidate')} above the thresholds."


def _where(tally: Tally, params: AmgParameters, planes: int, what: str) -> str:
    crops, layer = tally.crops, params.crop_n_layers
    if tally.regions > planes:
        tiles = f"{tally.regions} tiles of {params.tile_size} px"
        return tiles if crops == 1 else f"{tiles}, each in {crops} crops"
    each = " each" if planes > 1 else ""
    if crops == 1:
        return f"Whole {what}"
    if params.crop_layers == "last":
        return f"Crop layer {layer} ({crops} crops{each})"
    return f"Whole {what} and crop layer{'s 1 to ' if layer > 1 else ' '}{layer} ({crops} crops{each})"


def counted(done: int, planes: int) -> str:
    """How many planes are finished."""
    return f"{done} of {planes} planes" if planes > 1 else f"{done} plane"


def failed_planes(failed: Sequence[FailedPlane], planes: int) -> str:
    """Which planes have no labels, and why; empty if all have."""
    if not failed:
        return ""
    if planes == 1:
        return f"The plane could not be segmented: {failed[0][1]}"
    named = "; ".join(f"plane {', '.join(map(str, index))}: {problem}" for index, problem in failed[:NAMED])
    more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    return f"{len(failed)} of {planes} planes could not be segmented: {named}{more}"


def duration(seconds: float) -> str:
    """Rounded as one would say it: 8 s, 2 min 05 s, 1 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
