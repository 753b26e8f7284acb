"""What the columns of the table mean, a line each, for who rests the mouse on a name."""

import re

from napari_sam_amg.review.measures import SHAPES, STATISTICS

_HELP = {
    "index": "The label: its number in the image.",
    "area": "Pixels that the label shows.",
    "volume": "Voxels of the object.",
    "surface": "Estimated from the faces of voxels that look outwards.",
    "origin": "Where the object comes from: the model, or your hand.",
    "predicted_iou": "How well the model thinks that the mask fits (intersection over union). An estimate: it can"
    " exceed 1. Of an object through planes the mean. Empty for what was drawn by hand.",
    "stability_score": "How little the mask changes when its threshold does: 1 is not at all.",
    "least_predicted_iou": "The lowest predicted IoU of its planes.",
    "least_stability_score": "The lowest stability score of its planes.",
    "weakest_link": "The lowest overlap between two planes that follow each other, as IoU.",
    "mask_area": "Pixels of the mask before others were put over it.",
    "visible_fraction": "Of the mask's area, what no other object covers.",
    "cut_by_crop": "1: the edge of a crop may have cut it.",
    "plane": "In which plane it is, or is largest; counted from 0.",
    "first_plane": "The first plane in which it is; counted from 0.",
    "last_plane": "The last plane in which it is.",
    "planes": "In how many planes it is.",
    "filled_planes": "In how many of them it was filled in, where the model saw nothing.",
    "parent": "The object that divided into this one; 0: none.",
}
_STARTS = {
    "centroid_": "Centre, counted from 0.",
    "bbox_": "The box around it: 0 is its first row or column, 1 the one after its last.",
    "point_": "Where the model was asked.",
    "plane_": "In which plane it is, or is largest; counted from 0.",
}


def column_help(name: str) -> str:
    """Empty for a column that is none of ours. A physical unit at the end of the name is said, too."""
    if name == "Index":
        return _HELP["index"]
    for names in (_HELP, SHAPES):
        if name in names:
            return _sentence(names[name])
    if start := next((start for start in _STARTS if name.startswith(start)), ""):
        return _STARTS[start] + _in_unit(name.removeprefix(start).partition("_")[2])
    known = {**_HELP, **SHAPES}
    if base := next((word for word in known if name.startswith(f"{word}_")), ""):
        return _sentence(known[base]) + _in_unit(name.removeprefix(f"{base}_"))
    statistic, _, image = name.partition("_")
    return f"Of its pixels in {image}: {STATISTICS[statistic]}." if statistic in STATISTICS and image else ""


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text[0].upper()}{text[1:]}."


def _in_unit(unit: str) -> str:
    if unit in ("", "physical"):
        return ""
    power = {"2": "²", "3": "³"}.get(unit[-1], "")
    name = re.sub(r"[23]$", "", unit).replace("um", "µm")
    return " In pixels times their scale." if name == "scaled" else f" In {name}{power}."
