"""The objects that the embedded model's maps show: every pixel of foreground votes for the centre that it predicts."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_sam_amg.sam.object_maps import SeenObjects, measure
from napari_sam_amg.sam.unet_encoder import CENTER_UNIT, MAP_STRIDE

FOREGROUND = 0.35  # probability above which a pixel votes
SIGMA = 1.5  # pixels of the maps: votes are smoothed by a Gaussian
VOTES = 0.35  # smoothed votes that a centre has at least
DIGITS = 4  # of votes: what is equal must be equal whatever the order of a sum
#: Where no pixel within half of this is foreground with more than this probability there surely is no object: in 37
#: runs on training images of 17 data sets, 1 of 10,894 further points there gave a mask of which the model was sure.
NEAR, UNLIKELY = 9, 0.05

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class CentreMaps:
    """The dense maps of ``UnetEncoder`` for one image."""

    maps: Tensor  # (4, S / 2, S / 2), on the model's device: foreground and boundary logits, offset (row, column)
    input_size: tuple[int, int]  # (h, w) of the image resized for the model, before padding
    original_size: tuple[int, int]  # (H, W) of the image

    def objects(self) -> SeenObjects:
        rows, columns = (-(-length // MAP_STRIDE) for length in self.input_size)
        maps = self.maps[:, :rows, :columns].float().cpu().numpy()
        foreground = 1 / (1 + np.exp(-maps[0]))
        points, owners = find_centres(foreground, maps[2:] * (CENTER_UNIT / MAP_STRIDE))
        areas, thickness = measure(owners, len(points))
        scale = np.array(self.original_size[::-1]) / np.array(self.input_size[::-1]) * MAP_STRIDE
        # a pixel of the maps stands for the input's pixel at its corner; half of that is its middle
        inside = np.minimum((points + 0.5 / MAP_STRIDE) * scale, np.array(self.original_size[::-1]) - 0.5)
        likeliest = cv2.dilate(foreground, np.ones((NEAR, NEAR), np.uint8))
        return SeenObjects(inside, areas * scale.prod(), thickness * scale.mean(), likeliest < UNLIKELY)


def find_centres(foreground: Floats, offsets: Floats) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Points (N, 2), (x, y) in pixels of the maps, and whose each pixel is (h, w): 1 .. N, or 0 for none's.

    ``foreground``: (h, w) probability; ``offsets``: (2, h, w) rows and columns from each pixel to its object's centre.
    A point is that pixel of the object's foreground which is nearest to its centre. Row by row.
    """
    voters = np.flatnonzero(foreground > FOREGROUND)
    row, column = np.unravel_index(voters, foreground.shape)
    row_target, column_target = (
        np.rint(place + towards.reshape(-1)[voters]).astype(np.int64).clip(0, length - 1)
        for place, towards, length in zip((row, column), offsets, foreground.shape, strict=True)
    )
    targets = row_target * foreground.shape[1] + column_target
    votes = np.bincount(targets, minlength=foreground.size).reshape(foreground.shape).astype(np.float32)
    smooth = cv2.GaussianBlur(votes, (0, 0), SIGMA, borderType=cv2.BORDER_CONSTANT)
    peaks = _peaks(np.round(smooth, DIGITS))
    owners = np.zeros(foreground.shape, np.int32)
    if not len(peaks):
        return np.empty((0, 2)), owners
    wanted = _nearest(peaks, foreground.shape).reshape(-1)[targets]
    distances = (row - peaks[wanted, 0]) ** 2 + (column - peaks[wanted, 1]) ** 2
    least = np.full(len(peaks), np.iinfo(np.int64).max)
    np.minimum.at(least, wanted, distances)
    nearest = np.flatnonzero(distances == least[wanted])[::-1]
    first = np.full(len(peaks), -1)
    first[wanted[nearest]] = nearest  # of several the first one, which is written last
    has_voters = first >= 0
    owners.reshape(-1)[voters] = np.cumsum(has_voters)[wanted]
    chosen = first[has_voters]
    return np.column_stack([column[chosen], row[chosen]]).astype(np.float64), owners


def _peaks(votes: NDArray[Any]) -> NDArray[np.int64]:
    """(N, 2) rows and columns of the local maxima; of a plateau its first pixel."""
    high = (votes >= cv2.dilate(votes, np.ones((3, 3), np.uint8))) & (votes > VOTES)
    _, labels = cv2.connectedComponents(high.astype(np.uint8))
    found, first = np.unique(labels, return_index=True)
    return np.column_stack(np.unravel_index(first[found > 0], votes.shape))


def _nearest(peaks: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Which of the peaks is nearest to each pixel."""
    away = np.ones(shape, np.uint8)
    away[tuple(peaks.T)] = 0
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    ids = np.empty(labels.max() + 1, np.int64)
    ids[labels[tuple(peaks.T)]] = np.arange(len(peaks))
    nearest: NDArray[np.int64] = ids[labels]
    return nearest
