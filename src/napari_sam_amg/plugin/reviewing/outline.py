"""The chosen objects outlined in the image, without a layer of its own.

Lines are drawn into the labels' own place in napari's scene, in the coordinates of its pixels, so they go where the
layer goes. There is no public way to it: where napari is built otherwise, nothing is outlined and all else works.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sam_amg.plugin.placing import shown_order
from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits
from napari_sam_amg.plugin.window import is_open, without_proxy

INNER, OUTER = (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0)  # white in black, seen on any colour
LARGEST = 1 << 25  # pixels in sight that are looked through for outlines


class Outline:
    """Of objects of one layer. Main thread only."""

    def __init__(self, viewer: Viewer, edits: FollowedEdits) -> None:
        self._viewer, self._edits = viewer, edits
        self._lines: list[Any] = []
        self._node: Any = None
        self.segments: NDArray[np.float64] = np.empty((0, 2))  # what is drawn, (2 n, D): from one row to the next

    def show(self, layer: Labels, ids: Sequence[int]) -> None:
        """Of these objects, as far as they are in sight; of none: nothing is outlined."""
        node = _node(self._viewer, layer)
        if node is None:
            return
        self.segments = self._segments(layer, ids)
        if not len(self.segments):
            self._set_visible(False)
            return
        if node is not self._node or not self._lines:
            self.remove()
            self._make(node, layer)
        for line in self._lines:
            # vispy counts x first
            line.set_data(pos=self.segments[:, ::-1].astype(np.float32))
        self._set_visible(True)

    def remove(self) -> None:
        for line in self._lines:
            line.parent = None
        self._lines, self._node = [], None

    def _set_visible(self, is_visible: bool) -> None:
        for line in self._lines:
            line.visible = is_visible

    def _make(self, node: Any, layer: Labels) -> None:
        from vispy.scene.visuals import Line
        from vispy.visuals.transforms import MatrixTransform

        corner = np.zeros((2, max(len(self.segments[0]), 2)), np.float32)
        for order, (width, colour) in enumerate(((4, OUTER), (2, INNER))):
            line = Line(pos=corner, color=colour, width=width, connect="segments", method="gl", parent=node)
            line.transform = MatrixTransform()  # napari moves whatever lies below a layer
            line.order = 100 + order
            line.set_gl_state("translucent", depth_test=False)
            self._lines.append(line)
        self._node = node
        # napari places them when the layer is moved next; let it do so now
        layer.events.scale()

    def _segments(self, layer: Labels, ids: Sequence[int]) -> NDArray[np.float64]:
        nothing = np.empty((0, 2))
        if not ids or not layer.visible:
            return nothing
        if self._viewer.dims.ndisplay == 3:
            return self._boxes(layer, ids)
        pixels = np.asarray(layer._slice.image.raw)
        if pixels.ndim != 2 or pixels.size > LARGEST:
            return nothing
        corner = layer.corner_pixels[0][layer._slice_input.displayed] if layer.multiscale else np.zeros(2)
        return edges(pixels, ids) + corner

    def _boxes(self, layer: Labels, ids: Sequence[int]) -> NDArray[np.float64]:
        """In 3D: the edges of the boxes around the objects."""
        review = self._edits.review
        shown = shown_order(layer, self._viewer.dims)[-3:]
        places = [there for there in self._edits.rows.where({label: {} for label in ids}).values() if there]
        found = [_cage(_ends(there, review.plane_axes, review.stack_axes, layer.ndim))[:, shown] for there in places]
        return np.concatenate(found) if found else np.empty((0, 2))


def edges(pixels: NDArray[Any], ids: Sequence[int]) -> NDArray[np.float64]:
    """(2 n, 2) ends of the sides of pixels, down and to the right, between an object and what is around it."""
    own = np.isin(pixels, list(ids))
    rows, columns = (np.flatnonzero(own.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.empty((0, 2))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    # a frame of background around it
    part = np.pad(np.where(own[box], pixels[box], 0), 1)
    down, right = (np.nonzero(part[1:] != part[:-1]), np.nonzero(part[:, 1:] != part[:, :-1]))
    # between row r and r + 1 of the frame, whose first row lies one above the box
    y, x = down[0] + rows[0] - 0.5, down[1] + columns[0] - 1.0
    across = np.stack([y, x - 0.5, y, x + 0.5], axis=1)
    y, x = right[0] + rows[0] - 1.0, right[1] + columns[0] - 0.5
    along = np.stack([y - 0.5, x, y + 0.5, x], axis=1)
    return np.concatenate([across, along]).reshape(-1, 2)


def _ends(places: Any, plane_axes: Sequence[int], stack_axes: Sequence[int], ndim: int) -> NDArray[np.float64]:
    """(2, D) the two corners of the box around an object."""
    ends = np.zeros((2, ndim))
    ends[1] = 1
    for number, axis in enumerate(stack_axes[: len(next(iter(places)))]):
        positions = [index[number] for index in places]
        ends[:, axis] = min(positions), max(positions) + 1
    for number, axis in enumerate(plane_axes):
        ends[:, axis] = (
            min(box[number].start for box in places.values()),
            max(box[number].stop for box in places.values()),
        )
    return ends - 0.5


def _cage(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2 n, D) the edges of a box along every axis."""
    ndim = ends.shape[1]
    corners = np.array([[ends[bit >> axis & 1, axis] for axis in range(ndim)] for bit in range(1 << ndim)])
    pairs = [(bit, bit | 1 << axis) for bit in range(1 << ndim) for axis in range(ndim) if not bit >> axis & 1]
    return corners[np.array(pairs).ravel()]


def _node(viewer: Viewer, layer: Labels) -> Any:
    """The layer's place in the scene; None where there is none."""
    if not is_open(viewer):
        return None
    window = getattr(without_proxy(viewer), "window", None)
    qt_viewer = getattr(window, "_qt_viewer", None)
    canvas = getattr(qt_viewer, "canvas", None)
    visual = getattr(canvas, "layer_to_visual", {}).get(layer)
    return getattr(visual, "node", None)
