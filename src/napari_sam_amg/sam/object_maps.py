"""What a model's own maps say of the objects in an image, before any point is asked.

Some models predict maps beside the embedding: where there is foreground, and where the centre of the object is.
Whatever their kind, they are read as :class:`SeenObjects`, and nobody else knows what the maps were.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SeenObjects:
    """N objects, in the frame of the image that was embedded, and where there surely is none."""

    points: NDArray[np.float64]  # (N, 2) (x, y) in pixels of the image, inside the object, as near its centre as can be
    areas: NDArray[np.float64]  # (N,) pixels of the image
    thickness: NDArray[np.float64]  # (N,) diameter of the largest circle in each, pixels of the image
    #: (h, w) bool, stretched over the (H, W) of the image: its pixel (row, column) holds the image's points
    #: with row <= y * h / H < row + 1, and so on. True where the model surely sees no object.
    background: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.points)

    def in_background(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) which of the points (n, 2), (x, y) in 0..1 of the image, lie where there surely is no object."""
        height, width = self.background.shape
        column, row = np.minimum(points * (width, height), (width - 1, height - 1)).astype(np.int64).T
        return self.background[row, column]


def measure(owners: NDArray[np.int32], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas and thickness (N,), in pixels of the maps, of the objects 1 .. ``count`` in an image of labels (h, w)."""
    areas = np.bincount(owners.ravel(), minlength=count + 1)[1:].astype(np.float64)
    framed = np.pad(owners, 1).astype(np.float32)  # whole numbers up to 2 ** 24
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = (framed > 0) & (cv2.erode(framed, cross) == cv2.dilate(framed, cross))
    depth = cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = np.zeros(count + 1, np.float64)
    deep = depth > 0
    np.maximum.at(deepest, owners[deep], depth[deep])
    return areas, 2.0 * deepest[1:] + 1


class ObjectMaps(Protocol):
    """Maps of one image. What reading them costs is paid when they are read, not when the image is embedded."""

    def objects(self) -> SeenObjects: ...
