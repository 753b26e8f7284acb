"""What is said below the progress bar when a run is over."""

from napari.components import Dims
from napari.layers import Labels

from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.placing import shown_position
from napari_sam_amg.plugin.running.layers import shown_axes
from napari_sam_amg.plugin.running.outcome import came_to, counted, found
from napari_sam_amg.plugin.running.so_far import SoFar
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.plugin.running.time_left import of_the_whole


def lines(*words: str) -> str:
    """A line each, without the empty ones."""
    return "\n".join(filter(None, words))


def finished(so_far: SoFar, asked: AmgParameters, tally: Tally, source: SourceLayer) -> list[str]:
    """How many were found, and what it took."""
    if len(so_far.nothing) == so_far.total:
        return [f"Nothing in it: {so_far.nothing[0]}."]
    used = so_far.params or asked
    notes = so_far.too_large, asked.note_on(used), so_far.objects, so_far.masks + so_far.hidden, tally.candidates
    is_plane = len(source.whole.indices) > 1
    what = "region" if source.part.field is not None else "plane" if is_plane else "image"
    return [found(so_far.masks, so_far.cut, so_far.seconds, used, *notes), came_to(tally, used, so_far.total, what)]


def cancelled(so_far: SoFar, in_folder: bool) -> str:
    """What stays."""
    stay = "in the folder, and Run continues there" if in_folder else "in the layer"
    if so_far.planes:
        return f"Cancelled: {counted(so_far.planes, so_far.total)} finished, they stay {stay}."
    return "Cancelled." + (f" What is finished of the plane stays {stay}." if so_far.has_results else "")


def out_of_sight(layer: Labels | None, dims: Dims, source: SourceLayer) -> str:
    """Where to look, if the plane in sight is none of a range that was segmented."""
    if layer is None or dims.ndisplay != 2 or shown_axes(layer, dims, source.axes.channel).plane != source.axes.plane:
        return ""
    at = shown_position(layer, dims)
    is_in_sight = all(at[axis] in along for axis, along in source.part.ranges.items())
    return "" if is_in_sight else " The plane in sight is none of them."


def of_part(source: SourceLayer, seconds: float, out: int, goes_on: bool, unseen: str = "") -> list[str]:
    """Where it was, what it left out, and how long all of the image would take.

    ``out``: objects with their centres outside the outline. ``goes_on``: whether parts were done before.
    ``unseen``: what there is to say if none of it is in sight.
    """
    plural = ("s with their centres", "are") if out > 1 else (" with its centre", "is")
    several = source.part.field is not None and len(source.part.field.outlines) > 1
    edge = "the shapes" if several else "the outline"
    outside = f" {out} object{plural[0]} outside {edge} {plural[1]} left out." if out else ""
    where = f"In {source.words}.{outside}{unseen}" if source.words else ""
    planes, is_region = len(source.whole.indices), source.part.field is not None
    return [where, "" if goes_on else of_the_whole(seconds, source.share, planes, is_region)]
