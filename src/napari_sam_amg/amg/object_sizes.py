"""How large the objects are, by the maps of a model that sees them before it is asked."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.propose import Model, embed_crop

ENOUGH = 3  # objects; of fewer nothing is concluded
READABLE = 0.012  # of the crop's longer side: the side of a square that is as large as a typical object
#: The same, from which on a layer suits. From layer 2 to 3 the step is nearly twofold.
LARGE = (0.04, 0.04, 0.03, 0.0)

Areas = NDArray[np.float64]


def seen_areas(image: NDArray[np.uint8], model: Model, crops: Iterable[CropBox]) -> Areas:
    """(N,) of the objects in these crops of one layer, as shares of the square over a crop's longer side."""
    seen = ((crop, embed_crop(model, image, crop).maps) for crop in crops)
    return np.concatenate([np.empty(0), *(maps.objects().areas / max(crop.size) ** 2 for crop, maps in seen if maps)])


def typical_area(areas: Areas) -> float | None:
    """Of N objects: half of all their pixels lie in objects at least as large. None if that cannot be told.

    Not the median: where maps are in doubt they show fragments, which are many and small. On 61 training images of 17
    data sets the same figure of the true objects is met better.
    """
    if len(areas) < ENOUGH:
        return None
    ordered = np.sort(areas)
    sums = np.cumsum(ordered)
    typical = float(ordered[np.searchsorted(sums, sums[-1] / 2)])
    return typical if typical >= READABLE**2 else None


def first_large_enough(area: float, sides: Sequence[int], seen_in: int) -> int:
    """The first layer, from that on which was looked at, in which objects of this ``area`` are large enough.

    ``sides``: of the crops of each layer, the longer one, px. If none is, the last one.
    """
    side = math.sqrt(area) * sides[seen_in]
    suiting = (layer for layer in range(seen_in, len(sides)) if side / sides[layer] >= LARGE[layer])
    return next(suiting, len(sides) - 1)
