"""Labels layers that runs left behind: which they are, and where their objects lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sam_amg.plugin.placing import camera_point, slider_points, viewer_units
from napari_sam_amg.plugin.window import without_proxy
from napari_sam_amg.settings import METADATA_KEY as METADATA_KEY

LEAST_SIZE, GOOD_SIZE = 24, 80  # px of the screen: an object smaller than the first is shown in the second
MOST_OF_VIEW, PART_OF_VIEW = 0.9, 0.5  # of the view's shorter side: an object larger than the first fills the second


def is_result(layer: Any) -> bool:
    return isinstance(layer, Labels) and METADATA_KEY in layer.metadata


def result_in_focus(viewer: Viewer) -> Labels | None:
    """The active layer if it is one, else that of the last run."""
    active = without_proxy(viewer.layers.selection.active)
    return active if is_result(active) else newest_result(viewer)


def newest_result(viewer: Viewer) -> Labels | None:
    """That of the last run, whatever is selected."""
    results = [layer for layer in viewer.layers if is_result(layer)]
    # of those that began in the same second the one on top
    return max(results[::-1], key=lambda layer: layer.metadata[METADATA_KEY].get("started", ""), default=None)


def go_to(viewer: Viewer, layer: Labels, label: int) -> None:
    """Move sliders and camera to an object; the channel stays, since labels are on all of them."""
    axes = layer.metadata[METADATA_KEY].get("source", {}).get("axes")
    # 0 is the background; a painted label beyond the table has no row
    if axes is None or not 0 < label < len(layer.features):
        return
    row = layer.features.iloc[label]
    position = _centre(layer, row, axes)
    # the row of a label that is not there any more is NaN
    if not np.isfinite(position).all():
        return
    camera = getattr(viewer, "scene", viewer).camera  # the scene's since napari 0.9
    with cursor_aside(viewer):
        points = slider_points(layer, viewer.dims, position, axes["channel"])
        if points:
            viewer.dims.set_point(list(points), list(points.values()))
        centre = camera_point(layer, viewer.dims, position)
        camera.center = (*camera.center[: 3 - len(centre)], *centre)
        size = _size(layer, row, axes, viewer)
        if 0 < size * camera.zoom < LEAST_SIZE:
            camera.zoom = GOOD_SIZE / size
        elif size * camera.zoom > MOST_OF_VIEW * (side := _view_side(viewer)):
            camera.zoom = PART_OF_VIEW * side / size


def _centre(layer: Labels, row: Any, axes: dict[str, Any]) -> NDArray[np.float64]:
    """Data coordinates; 0 along channels, and along the stack where only one plane was segmented."""
    names = ["plane"] if len(axes["stack"]) == 1 else [f"plane_{axis}" for axis in range(len(axes["stack"]))]
    down, right = axes.get("names", "yx")
    position = np.zeros(layer.ndim)
    for axis, name in zip(
        (*axes["stack"], *axes["plane"]), (*names, f"centroid_{down}", f"centroid_{right}"), strict=True
    ):
        position[axis] = row.get(name, 0)
    return position


def _size(layer: Labels, row: Any, axes: dict[str, Any], viewer: Viewer) -> float:
    """The longer side of an object's box, in the viewer's units."""
    sides = [row[f"bbox_{name}1"] - row[f"bbox_{name}0"] for name in axes.get("names", "yx")]
    corner = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    units = viewer_units(layer, viewer.dims)
    lengths = []
    for axis, pixels in zip(axes["plane"], sides, strict=True):
        end = np.asarray(layer.data_to_world(np.eye(layer.ndim)[axis] * pixels))
        lengths.append(float(np.linalg.norm((end - corner) / units)))
    return max(lengths)


def _view_side(viewer: Viewer) -> float:
    """The shorter side of the canvas in pixels of the screen; infinite where napari does not say."""
    canvas = getattr(viewer, "canvas", None)
    size = getattr(canvas, "size", None) or getattr(viewer, "_canvas_size", None)
    return float(min(size)) if size else float("inf")


@contextmanager
def cursor_aside(viewer: Viewer) -> Iterator[None]:
    """napari does as if the mouse were not over the image.

    It looks up the label under the mouse when a layer becomes active or a slider moves. In 3D that
    raises a ``TypeError`` until the mouse has moved there: napari 0.9 takes the direction of view
    from the last movement, and in 2D there was none.
    """
    over = viewer.mouse_over_canvas
    viewer.mouse_over_canvas = False
    try:
        yield
    finally:
        viewer.mouse_over_canvas = over
