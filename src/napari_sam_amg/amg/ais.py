"""AIS, micro-sam's "automatic instance segmentation": its decoder's maps cut into labels by a watershed.

No point is asked, and no mask is rated. Source: ``InstanceSegmentationWithDecoder`` of micro-sam 1.8 and
``watershed_from_center_and_boundary_distances`` of torch-em 0.10.9, with their defaults. Their watershed rounds heights
to 65,536 levels and leaves open which pixel of a level comes first; scikit-image's does not round.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops
from skimage.segmentation import watershed

from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.propose import Model, embed_crop
from napari_sam_amg.params import AmgParameters, needs_decoder
from napari_sam_amg.sam.answers import ImageEmbedding
from napari_sam_amg.sam.distance_maps import DistanceMaps, DistancePlanes, Floats, deepest_pixels
from napari_sam_amg.sam.looks import look, while_looking

FOREGROUND = 0.5  # probability above which a pixel belongs to an object
NEAR = 0.5  # smoothed distances to the centre and to the boundary below which it belongs to a seed
FOREGROUND_SIGMA = 1.0  # px of Gaussian smoothing
DISTANCE_SIGMA = 1.6

Labels = NDArray[np.int32]


def check_mode(model: Model, params: AmgParameters) -> None:
    """Raise ``ValueError`` if the model cannot do what ``params.mode`` asks for."""
    if params.mode == "ais" and model.info.no_decoder:
        raise ValueError(needs_decoder(model.info.name, model.info.no_decoder))


def painting_rules(params: AmgParameters) -> AmgParameters:
    """For :func:`napari_sam_amg.amg.labels.paint`: the objects of AIS are labels already, and stay as they are."""
    if params.mode != "ais":
        return params
    return replace(
        params, overlap="score", min_visible_fraction=0.0, label_pieces="all", min_label_region_area=0,
        min_mask_region_area=0, max_ring_area=0.0,
    )  # fmt: skip


def ais_crops(size: tuple[int, int], params: AmgParameters) -> list[CropBox]:
    """The parts of an image of (height, width) ``size`` of which maps are made: the crops of the last layer."""
    return layer_boxes(size, params.crop_n_layers, params.crop_overlap_ratio)


def ais_steps(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> Iterator[Masks | None]:
    """Yield None after each of ``ais_crops``, then the objects, which do not overlap, row by row of their seeds.

    ``image``: (H, W, 3) uint8 RGB. What AIS cannot know is NaN: predicted IoU and stability. The points are not
    prompts, but the pixel of each object that is furthest from its outline.
    """
    size = (image.shape[0], image.shape[1])
    joined = _Joined(size)
    for crop in ais_crops(size, params):
        joined.add(crop, _planes(embed_crop(model, image, crop)))
        yield None
    yield as_masks(ais_labels(joined.planes, params.min_mask_region_area))


def _planes(embedding: ImageEmbedding) -> DistancePlanes:
    assert isinstance(embedding.maps, DistanceMaps), "check_mode was not asked"
    return embedding.maps.planes()


def ais_labels(planes: DistancePlanes, min_size: int = 0) -> Labels:
    """(H, W) labels 1, 2, ... of the maps; objects of less than ``min_size`` pixels are left out."""
    return watershed_labels(replace(planes, foreground=_smooth(planes.foreground, FOREGROUND_SIGMA)), min_size)


def watershed_labels(planes: DistancePlanes, min_size: int = 0) -> Labels:
    """torch-em's part of :func:`ais_labels`: the foreground is taken as it is."""
    boundary = _smooth(planes.boundary_distance, DISTANCE_SIGMA)
    foreground = planes.foreground > FOREGROUND
    near = (_smooth(planes.centre_distance, DISTANCE_SIGMA) < NEAR) & (boundary < NEAR)
    seeds = label(near & foreground)
    # a quarter of a second of one core for 1024 x 1024 pixels
    labels = while_looking(lambda: watershed(boundary, seeds, mask=foreground))
    areas = np.bincount(labels.ravel())
    kept = (areas >= min_size) & (np.arange(len(areas)) > 0)
    new: Labels = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]
    return new


def _smooth(values: Floats, sigma: float) -> Floats:
    """By a Gaussian cut off at three sigmas, the image mirrored at its edges; as ``bioimage_cpp`` does it."""
    width = 2 * math.ceil(3 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(values, (width, width), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)


def as_masks(labels: Labels) -> Masks:
    """The labels 1, 2, ... as masks of one crop, the image."""
    height, width = labels.shape
    regions, cutouts = regionprops(labels), []
    for region in regions:
        look()
        cutouts.append(region.image)
    boxes = np.array([region.bbox for region in regions], np.int64).reshape(-1, 4)
    unknown = np.full(len(regions), np.nan, np.float32)
    return Masks(
        boxes=boxes[:, [1, 0, 3, 2]] - np.array([0, 0, 1, 1]),
        predicted_iou=unknown,
        stability_score=unknown,
        points=deepest_pixels(labels),
        crop_boxes=np.tile(np.array([0, 0, width, height], np.int64), (len(regions), 1)),
        cutouts=cutouts,
        size=(height, width),
    )


class _Joined:
    """Maps of an image out of those of its crops: each pixel has them of the crop in which it lies deepest."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._maps: Floats = np.zeros((3, *size), np.float32)
        self._depth = np.full(size, -1, np.int64)

    @property
    def planes(self) -> DistancePlanes:
        return DistancePlanes(*self._maps)

    def add(self, crop: CropBox, planes: DistancePlanes) -> None:
        window = (slice(crop.y0, crop.y1), slice(crop.x0, crop.x1))
        height, width = self._depth.shape
        depth = np.minimum.outer(_depths(crop.y0, crop.y1, height), _depths(crop.x0, crop.x1, width))
        better = depth > self._depth[window]
        self._depth[window][better] = depth[better]
        maps = (planes.foreground, planes.centre_distance, planes.boundary_distance)
        for whole, part in zip(self._maps, maps, strict=True):
            whole[window][better] = part[better]


def _depths(start: int, stop: int, length: int) -> NDArray[Any]:
    """Of each pixel of a span, how far it is from the nearer end; an end of the image is none."""
    places = np.arange(start, stop)
    low = places - start if start else np.full(len(places), length)
    high = stop - 1 - places if stop < length else np.full(len(places), length)
    return np.minimum(low, high)
