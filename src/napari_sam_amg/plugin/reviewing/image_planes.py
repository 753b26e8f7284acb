"""The pixels of an image layer that lie under the planes of labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_sam_amg.plugin.reviewing.reviewed import ReviewedLayer
from napari_sam_amg.plugin.running.layers import full_resolution
from napari_sam_amg.review.edits import Index
from napari_sam_amg.review.measures import Intensities, column_name

_COLOURS = ("_red", "_green", "_blue")


def intensities_under(review: ReviewedLayer, image: Image) -> Intensities:
    """To be read by the worker: what is needed of both layers is taken now.

    Raises ``ValueError`` for an image with other pixels than the labels.
    """
    layer, data = review.layer, full_resolution(image)
    channel = _channel_axis(review, image)
    take = _reader(review, layer, image, data, channel)
    if image.rgb:
        return Intensities(column_name(image.name), lambda index: take(index)[..., :3], _COLOURS)
    if channel is not None:
        return Intensities(column_name(image.name), take, tuple(f"_c{place}" for place in range(data.shape[channel])))
    return Intensities(column_name(image.name), take)


def _channel_axis(review: ReviewedLayer, image: Image) -> int | None:
    """Labels of one channel reach through all of them, and so do their intensities."""
    axis = review.record.get("source", {}).get("axes", {}).get("channel")
    if axis is None or image.ndim != review.layer.ndim or full_resolution(image).shape[axis] < 2:
        return None
    return int(axis)


def _reader(
    review: ReviewedLayer, layer: Labels, image: Image, data: Any, channel: int | None
) -> Callable[[Index], NDArray[Any]]:
    shift = image.ndim - layer.ndim
    plane = [axis + shift for axis in review.plane_axes]
    if min(plane) < 0:
        raise ValueError(f"{image.name!r} has fewer axes than a plane of the labels")

    def at(position: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(image.world_to_data(layer.data_to_world(position)), float)

    origin = at(np.zeros(layer.ndim))
    for own, axis in zip(review.plane_axes, plane, strict=True):
        if not np.allclose((at(np.eye(layer.ndim)[own]) - origin)[plane], np.eye(image.ndim)[axis][plane], atol=1e-3):
            raise ValueError(f"{image.name!r} has pixels of another size than the labels, or is turned")
    size = {axis: layer.data.shape[own] for own, axis in zip(review.plane_axes, plane, strict=True)}
    stack = review.stack_axes
    steps = {own: at(np.eye(layer.ndim)[own]) - origin for own in stack}
    turned = plane[0] > plane[1]

    def take(index: Index) -> NDArray[Any]:
        place = origin + sum((steps[own] * position for own, position in zip(stack, index, strict=False)), np.zeros(1))
        chosen: list[Any] = []
        for axis in range(image.ndim):
            first = int(np.round(place[axis]))
            if axis in size:
                chosen.append(slice(first, first + size[axis]))
            elif axis == channel:
                chosen.append(slice(None))
            else:
                chosen.append(_inside(first, data.shape[axis], image.name))
        pixels = np.asarray(data[tuple(chosen)])
        return _upright(pixels, channel, plane, turned)

    for axis, length in size.items():
        first = int(np.round(origin[axis]))
        if first < 0 or first + length > data.shape[axis]:
            raise ValueError(f"{image.name!r} does not reach as far as the labels")
    return take


def _inside(place: int, length: int, name: str) -> int:
    if length == 1:  # an axis on which the image is everywhere
        return 0
    if not 0 <= place < length:
        raise ValueError(f"{name!r} has no plane where the labels are")
    return place


def _upright(pixels: NDArray[Any], channel: int | None, plane: list[int], turned: bool) -> NDArray[Any]:
    """(H, W) or (H, W, channels), as the plane was segmented."""
    if channel is not None:
        before = sum(axis < channel for axis in plane)
        pixels = np.moveaxis(pixels, before, -1)
    return np.swapaxes(pixels, 0, 1) if turned else pixels
