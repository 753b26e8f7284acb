"""The planes of a result layer as the model saw them: read again in a worker, shown where the image is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sam_amg.amg.field import Field
from napari_sam_amg.plugin.reviewing.reviewed import Index, ReviewedLayer
from napari_sam_amg.plugin.running.layers import LabelGeometry, full_resolution
from napari_sam_amg.plugin.running.source import Part, SourceLayer, take
from napari_sam_amg.plugin.running.torch_loader import load_torch

if TYPE_CHECKING:
    from napari_sam_amg.amg.plane_images import PlaneImages


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An image that a run has looked at, and with which intensities."""

    source: SourceLayer
    low: float
    high: float

    def images(self) -> "PlaneImages":
        """In the worker."""
        load_torch()
        from napari_sam_amg.amg.plane_images import PlaneImages
        from napari_sam_amg.amg.preprocess import IntensityRange

        return PlaneImages(self.source.stack, None, IntensityRange(self.low, self.high))


def seen_by(viewer: Viewer, review: ReviewedLayer) -> Seen | str:
    """What the run of a layer has looked at, or why that is not known, in a sentence."""
    record = review.record
    intensities, said = record.get("intensities", {}), record.get("source", {})
    if "low" not in intensities or "high" not in intensities:
        return "These results do not say which intensities the model saw."
    source = review.source or _found_again(viewer, review)
    if source is None:
        return f"The image '{said.get('layer', '')}' of these results is not open."
    return Seen(source, float(intensities["low"]), float(intensities["high"]))


def _part(said: dict[str, Any]) -> Part:
    """What of the image was segmented."""
    at = None if said.get("plane") is None else tuple(said["plane"])
    ranges = {int(axis): range(*ends) for axis, ends in said.get("ranges", {}).items()}
    return Part(at, ranges, Field.of(said["region"]) if "region" in said else None)


def _found_again(viewer: Viewer, review: ReviewedLayer) -> SourceLayer | None:
    """The image of results that were opened from a file: the layer of its name, if it has its shape."""
    said = review.record.get("source", {})
    axes = said.get("axes", {})
    for layer in viewer.layers:
        if isinstance(layer, Image) and layer.name == said.get("layer"):
            if list(full_resolution(layer).shape) != said.get("shape"):
                return None
            channel, plane = axes.get("channel"), axes["plane"]
            chosen = None if channel is None else (channel, said.get("channel", {}).get(str(channel), 0))
            return take(layer, chosen, _part(said), (plane[0], plane[1]), single=review.is_single)
    return None


def plane_image(seen: Seen, index: Index) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, in the worker."""
    return seen.images().image(index)[0]


def seen_layer(seen: Seen, index: Index, image: NDArray[np.uint8]) -> Image:
    """An image layer for one plane, grey where the model sees grey."""
    source, axes = seen.source, seen.source.axes
    is_grey = bool((image == image[..., :1]).all())
    pixels: NDArray[np.uint8] = image[..., 0] if is_grey else image
    if axes.plane[0] > axes.plane[1]:
        pixels = pixels.swapaxes(0, 1)
    place = tuple(slice(None) if axis in axes.plane else None for axis in range(axes.ndim))
    more = {"contrast_limits": (0, 255), "colormap": "gray"} if is_grey else {}
    return Image(
        pixels[place], rgb=not is_grey, name=f"{source.name}: what the model sees", **more,
        **plane_geometry(source, index).arguments(),
    )  # fmt: skip


def plane_geometry(source: SourceLayer, index: Index) -> LabelGeometry:
    """Where a plane of its own lies, whose other axes have a length of 1."""
    geometry = source.geometry
    corner = np.zeros(source.axes.ndim)
    if index:  # that of one plane alone lies there already
        corner[list(source.axes.stack)] = index
    moved = geometry.translate + geometry.rotate @ geometry.shear @ (geometry.scale * corner)
    values = geometry.arguments() | {"translate": moved}
    return LabelGeometry(**values)


def beneath(viewer: Viewer, labels: Labels) -> int:
    """Where in the list of layers an image goes, so that the labels lie over it."""
    return viewer.layers.index(labels) if labels in viewer.layers else len(viewer.layers)
