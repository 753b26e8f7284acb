"""Places in a viewer that are clicked on, as pixels of the planes of a result layer."""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from napari.viewer import Viewer

from napari_sam_amg.plugin.placing import viewer_units
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer
from napari_sam_amg.plugin.running.layers import full_resolution

Place = tuple[Index, int, int]  # plane, row and column
FAR = 4  # px of the screen that the mouse may move in a click


class Picking:
    """While it is on, a click on the image calls ``picked`` with the position of the mouse in the viewer's world.

    Dragging moves the view as ever.
    """

    def __init__(self, viewer: Viewer, picked: Callable[[tuple[float, ...]], None]) -> None:
        self._viewer, self._picked = viewer, picked

    @property
    def is_on(self) -> bool:
        return self._clicked in self._viewer.mouse_drag_callbacks

    def turn(self, on: bool) -> None:
        callbacks = self._viewer.mouse_drag_callbacks
        if on and not self.is_on:
            callbacks.append(self._clicked)
        elif not on and self.is_on:
            callbacks.remove(self._clicked)

    def _clicked(self, viewer: Any, event: Any) -> Generator[None]:
        """napari goes on with it at every movement, and when the button is released."""
        if event.button != 1:
            return
        start, position = np.asarray(event.pos), tuple(event.position)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos) - start).max() <= FAR:
            self._picked(position)


def place_at(viewer: Viewer, review: ReviewedLayer, position: tuple[float, ...]) -> Place | None:
    """Which pixel of which plane lies at a position in the world; None beyond the layer."""
    layer = review.layer
    world = np.asarray(position[-layer.ndim :], float) * viewer_units(layer, viewer.dims)
    at = np.round(np.asarray(layer.world_to_data(world))).astype(int)
    shape = np.array(full_resolution(layer).shape)
    axes = [*review.stack_axes, *review.plane_axes]  # labels reach through all channels
    if (at[axes] < 0).any() or (at[axes] >= shape[axes]).any():
        return None
    index = () if review.is_single else tuple(int(at[axis]) for axis in review.stack_axes)
    down, right = review.plane_axes
    return index, int(at[down]), int(at[right])
