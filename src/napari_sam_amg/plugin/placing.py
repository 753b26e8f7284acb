"""Between the viewer's sliders and camera and a layer's data, as napari slices.

A layer may have fewer axes than the viewer (they are matched from the right), other units, and
transforms that mix axes. napari slices along the axes that are not displayed and leaves out what
mixes them with those that are; so does everything here.
"""

from typing import Any

import numpy as np
import pint
from napari.components import Dims
from napari.layers.base import Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sam_amg.plugin.window import without_proxy


def shown_order(layer: Layer, dims: Dims) -> list[int]:
    """The layer's axes in the viewer's order; the last two (or three) are displayed."""
    # napari matches the axes of layer and viewer from the right
    offset = dims.ndim - layer.ndim
    if offset < 0:  # a viewer that has not been told yet
        return list(range(layer.ndim))
    return [axis - offset for axis in dims.order if axis >= offset]


def shown_position(layer: Layer, dims: Dims) -> tuple[int, ...]:
    """Data index, along every axis, of what the viewer's sliders point at.

    It means nothing along the two axes of the plane in sight. In 3D the third axis counts as in 2D.
    """
    point = np.array(dims.point[-layer.ndim :], float) * viewer_units(layer, dims)
    point[shown_order(layer, dims)[-2:]] = 0
    shape = np.array((layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim])
    nearest = np.clip(np.round(layer.world_to_data(point)), 0, shape - 1)
    return tuple(int(value) for value in nearest)


def middle_position(layer: Layer, viewer: Viewer) -> tuple[int, ...]:
    """Data index, along every axis, of the middle of the view; along axes that are not displayed, of the sliders."""
    dims = viewer.dims
    middle = viewed_points(layer, viewer, np.zeros((1, dims.ndisplay)))[0]
    shape = np.array((layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim])
    return tuple(int(value) for value in np.clip(np.round(middle), 0, shape - 1))


def corners_of_view(layer: Layer, viewer: Viewer) -> NDArray[np.float64]:
    """(4, D) data coordinates of a layer at the corners of the canvas, which shows planes."""
    width, height = canvas_size(viewer)
    sides = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) / 2
    camera = getattr(viewer, "scene", viewer).camera  # the scene's since napari 0.9
    return viewed_points(layer, viewer, sides * (height, width) / camera.zoom)


def canvas_size(viewer: Viewer) -> tuple[float, float]:
    """(width, height) of what shows the layers, in pixels of the screen; napari has no public name for it."""
    canvas = without_proxy(viewer).window._qt_viewer.canvas
    view = getattr(canvas, "_current_viewbox_size", None)  # of one cell where layers lie in a grid
    width, height = canvas.size[::-1] if view is None else view
    return float(width), float(height)


def viewed_points(layer: Layer, viewer: Viewer, from_middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, D) data coordinates of points, given along the displayed axes from the middle of the view (n, ndisplay)."""
    dims, camera = viewer.dims, getattr(viewer, "scene", viewer).camera
    world = np.tile(np.array(dims.point, float), (len(from_middle), 1))
    world[:, list(dims.displayed)] = np.array(camera.center[-dims.ndisplay :]) + from_middle
    return to_data(layer, dims, world)


def to_data(layer: Layer, dims: Dims, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, D) data coordinates of points (n, N) along the viewer's axes, in its units."""
    own = world[:, -layer.ndim :] * viewer_units(layer, dims)
    return np.array([layer.world_to_data(point) for point in own], float).reshape(-1, layer.ndim)


def to_world(layer: Layer, dims: Dims, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, N) points along the viewer's axes, in its units; where the sliders are along those that the layer has not."""
    world = np.tile(np.array(dims.point, float), (len(data), 1))
    own = np.array([layer.data_to_world(point) for point in data], float).reshape(-1, layer.ndim)
    world[:, -layer.ndim :] = own / viewer_units(layer, dims)
    return world


def slider_points(layer: Layer, dims: Dims, position: NDArray[np.float64], fixed: int | None) -> dict[int, float]:
    """Points of the viewer's sliders at which ``position`` (data, D) of a layer is in sight.

    By axis of the viewer. ``fixed``: an axis of the layer whose slider stays.
    """
    # what is displayed has no slider
    hidden = shown_order(layer, dims)[: -dims.ndisplay]
    moved = [axis for axis in hidden if axis != fixed]
    if not moved:
        return {}
    units = viewer_units(layer, dims)
    rest = np.zeros(layer.ndim)
    if fixed in hidden:
        rest[fixed] = dims.point[fixed - layer.ndim] * units[fixed]
    origin = np.asarray(layer.world_to_data(np.zeros(layer.ndim)))
    inverse = np.array([layer.world_to_data(unit) for unit in np.eye(layer.ndim)]).T - origin[:, None]
    wanted = (position - np.asarray(layer.world_to_data(rest)))[moved]
    world = np.linalg.solve(inverse[np.ix_(moved, moved)], wanted) / units[moved]
    return {dims.ndim - layer.ndim + axis: float(value) for axis, value in zip(moved, world, strict=True)}


def camera_point(layer: Layer, dims: Dims, position: NDArray[np.float64]) -> list[float]:
    """Where ``position`` (data, D) is drawn: along the displayed axes of the viewer, in its units."""
    shown = shown_order(layer, dims)[-dims.ndisplay :]
    flat = np.zeros(layer.ndim)
    flat[shown] = position[shown]
    world = np.asarray(layer.data_to_world(flat)) / viewer_units(layer, dims)
    return [float(world[axis]) for axis in shown]


def viewer_units(layer: Layer, dims: Dims) -> NDArray[np.float64]:
    """How many of the layer's units one of the viewer's is, along every axis of the layer."""
    units = getattr(dims, "units", None)  # new in napari 0.9
    if units is None or len(units) < layer.ndim:
        return np.ones(layer.ndim)
    pairs = zip(units[-layer.ndim :], layer.units, strict=True)
    return np.array([unit_conversion(shown, own) for shown, own in pairs])


def known_unit(name: str) -> str:
    """A unit of a file as napari knows it, which tells capitals from small letters; "pixel" if it knows none such."""
    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    for spelling in (name, name.lower()):
        try:
            registry.Unit(spelling)
        except Exception:  # names are parsed as formulas, and what is none raises anything
            continue
        return spelling or "pixel"
    return "pixel"


def is_pixel(unit: Any) -> bool:
    return str(unit) in ("pixel", "dimensionless", "")


def unit_conversion(unit: Any, target: Any) -> float:
    """How many of ``target`` one ``unit`` is; 1 where they measure different things."""
    if unit == target or not unit.is_compatible_with(target):
        return 1.0
    return float((1 * unit).to(target).magnitude)
