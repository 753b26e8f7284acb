"""The objects that micro-sam's segmentation decoder shows: a seed in the middle of each, foreground around it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.measure import label, regionprops
from torch import Tensor

from napari_sam_amg.sam.looks import look
from napari_sam_amg.sam.object_maps import SeenObjects, measure
from napari_sam_amg.sam.precision import float32_as_such
from napari_sam_amg.sam.unetr import SegmentationDecoder

#: micro-sam's thresholds. Source: ``micro_sam.instance_segmentation`` 1.8, ``_derive_point_prompts`` and ``generate``.
FOREGROUND = 0.5  # probability from which on a pixel is foreground
NEAR = 0.5  # distances to the centre and to the boundary below which a pixel of the foreground is part of a seed
BACKGROUND = 0.05  # probability of foreground below which there surely is none

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DistancePlanes:
    """The maps at the size of the image, (H, W), in 0..1; the distances are 0 at a centre, or far inside."""

    foreground: Floats
    centre_distance: Floats
    boundary_distance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class DistanceMaps:
    """What the decoder makes of one image's embedding; it is run when the maps are read, and costs as much as ViT-B."""

    decoder: SegmentationDecoder
    embedding: Tensor  # (1, C, h, w), on the model's device, in the type to compute in
    input_size: tuple[int, int]  # (h, w) of the image resized for the model, before padding
    original_size: tuple[int, int]  # (H, W) of the image
    look: Callable[[], object] | None = None  # called between the decoder's steps; what it raises ends them

    @torch.inference_mode()
    def planes(self) -> DistancePlanes:
        with self._looking(), float32_as_such(self.embedding.device):
            maps = self.decoder(self.embedding).float()
        height, width = self.input_size
        planes = []
        for plane in maps[..., :height, :width].split(1, dim=1):
            look()
            enlarged = F.interpolate(plane, self.original_size, mode="bilinear", align_corners=False)
            planes.append(enlarged[0, 0].cpu().numpy())
        return DistancePlanes(*planes)

    def objects(self) -> SeenObjects:
        planes = self.planes()
        points, owners = find_seeds(planes)
        return SeenObjects(points, *measure(owners, len(points)), planes.foreground < BACKGROUND)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        thread = threading.get_ident()

        def pause(*_: Any) -> None:
            if self.look is not None and threading.get_ident() == thread:  # others may read maps meanwhile
                self.look()

        hooks = [layer.register_forward_pre_hook(pause) for layer in self.decoder.modules()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def find_seeds(planes: DistancePlanes) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Points (N, 2), (x, y) in pixels, one in each seed; and to which each pixel is nearest (H, W): 1 .. N, 0 outside.

    micro-sam's rule: seeds are the 4-connected pieces of what is foreground and near to centre and boundary, and the
    point is the pixel of the seed that is furthest from its outline. Row by row.
    """
    foreground = planes.foreground >= FOREGROUND
    seeds = foreground & (planes.centre_distance < NEAR) & (planes.boundary_distance < NEAR)
    labels = label(seeds, connectivity=1)
    if not seeds.any():  # nothing can be nearest to nothing
        return np.empty((0, 2)), np.zeros(seeds.shape, np.int32)
    away = (labels == 0).astype(np.uint8)
    _, cells = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_cell = np.zeros(cells.max() + 1, np.int32)
    of_cell[cells[seeds]] = labels[seeds]
    return deepest_pixels(labels), np.where(foreground, of_cell[cells], 0)


def outlines(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """(h, w) what ``skimage.segmentation.find_boundaries(labels, mode="outer")`` gives, in an eighth of the time.

    ``labels``: (h, w) up to 2 ** 24, 0 is background. Pixels of the background beside a label, and those of labels that
    touch another one, by a corner too.
    """
    values, empty = labels.astype(np.float32), labels == 0
    cross, square = (cv2.getStructuringElement(shape, (3, 3)) for shape in (cv2.MORPH_CROSS, cv2.MORPH_RECT))
    edges = cv2.dilate(values, cross) != cv2.erode(values, cross)
    without_empty = np.where(empty, np.float32(np.inf), values)
    touching = cv2.dilate(values, square) != cv2.erode(without_empty, square)
    found: NDArray[np.bool_] = edges & (empty | touching)
    return found


def deepest_pixels(labels: NDArray[Any]) -> NDArray[np.float64]:
    """(N, 2) the pixel (x, y) of each label 1 .. N that is furthest from its outline; the image's edge is an outline.

    Of several the first, row by row. Source: ``micro_sam.instance_segmentation._get_centers``, with its way
    of having no such pixel: where a label is nothing but outline, the corner of its box.
    """
    inside = ~outlines(labels)
    inside[[0, -1]] = inside[:, [0, -1]] = False
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    points = np.empty((labels.max(), 2))
    look()
    for row, region in enumerate(regionprops(labels)):
        look()
        within = np.where(region.image, depth[region.slice], 0)
        y, x = np.unravel_index(within.argmax(), within.shape)
        points[row] = x + region.slice[1].start, y + region.slice[0].start
    return points
