"""The outline of an object in a plane in which it was not seen, out of those in the planes before and after."""

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.fragments import without_strays
from napari_sam_amg.params import AmgParameters

#: IoU of the two, at least. At the IoU of neighbouring planes objects that lie above each other would be joined.
LEAST = 0.8

Window = tuple[slice, slice]


def fill(
    labels: NDArray[np.int32], before: NDArray[np.bool_], after: NDArray[np.bool_], params: AmgParameters
) -> tuple[Window, NDArray[np.bool_]] | None:
    """Where in ``labels`` (H, W) an object goes that has ``before`` and ``after`` (H, W) in the planes beside.

    A part of the image and the pixels in it; None where other labels leave less than ``min_visible_fraction``.
    """
    box = box_of(before | after)
    assert box is not None
    window = slice(box[1], box[3] + 1), slice(box[0], box[2] + 1)
    shape = halfway(before[window], after[window])
    free = shape & (labels[window] == 0)
    seen = np.count_nonzero(free)
    if not seen or seen < params.min_visible_fraction * np.count_nonzero(shape):
        return None
    return window, without_strays(free, params)


def halfway(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The shape whose outline lies in the middle between two outlines."""
    shape: NDArray[np.bool_] = _depth(one) + _depth(other) > 0
    return shape


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels to the outline, negative outside; what lies beyond the window is outside."""
    inside = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.asarray(depth[1:-1, 1:-1], np.float32)
