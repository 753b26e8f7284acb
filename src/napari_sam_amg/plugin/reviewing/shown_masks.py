"""A layer of all masks as they were before overlaps were resolved: outlines, in orange those without a label."""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from napari.viewer import Viewer

from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer

if TYPE_CHECKING:
    from napari_sam_amg.review.all_masks import Outlines

SHOWN, HIDDEN = "#7fdbff", "#ff9f1c"
MOST = 2000  # outlines: napari takes about a millisecond for each
WIDTH = 1.5  # px of the screen


def outlines_layer(viewer: Viewer, review: ReviewedLayer, index: Index, outlines: "Outlines") -> Shapes:
    """Lies where the labels lie, in the plane at ``index``. Of more than ``MOST`` outlines those without stay."""
    layer, table = review.layer, outlines.table
    is_hidden = (table["label"] == 0).to_numpy()
    order = np.sort(np.argsort(~is_hidden, kind="stable")[:MOST])
    colours = np.where(is_hidden[order], HIDDEN, SHOWN).tolist()
    lines = [_placed(review, index, outlines.lines[row]) for row in order.tolist()]
    scale = np.abs(np.asarray(layer.scale))[list(review.plane_axes)].max()
    zoom = float(getattr(viewer, "scene", viewer).camera.zoom)
    more: dict[str, Any] = {name: getattr(layer, name) for name in _GEOMETRY}
    return Shapes(
        lines or None,
        ndim=layer.ndim,
        shape_type="path",
        edge_color=colours or HIDDEN,
        edge_width=max(0.3, WIDTH / (zoom * scale)),  # in pixels of the image
        face_color="transparent",
        features=table.iloc[order].reset_index(drop=True),
        name=f"{layer.name}: all masks",
        **more,
    )


_GEOMETRY = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def _placed(review: ReviewedLayer, index: Index, line: Any) -> Any:
    """(n, 2) places (y, x) of a plane as (n, D) places in the layer's data."""
    place = review.place(index)
    points = np.zeros((len(line), len(place)))
    for axis, position in enumerate(place):
        points[:, axis] = 0 if isinstance(position, slice) else position
    points[:, list(review.plane_axes)] = line
    return points


def said_of(outlines: "Outlines") -> str:
    """How many there are, in words."""
    masks, hidden = outlines.masks, outlines.hidden
    words = f"{masks} masks before overlaps were resolved, {hidden} of them without a label (orange)."
    left_out = len(outlines.lines) - MOST
    return words if left_out <= 0 else f"{words} {left_out} outlines are left out."
