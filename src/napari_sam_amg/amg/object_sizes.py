"""How large the objects are, by the maps of a model that sees them before it is asked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.propose import Model, embed_crop

ENOUGH = 3  # objects; of fewer nothing is concluded
READABLE = 0.01  # thickness, of the crop's longer side, from which on maps can be trusted: 5 px of 512
#: The thickness from which on a layer suits. Chosen on 55 training images of 12 data sets in layers 0 and 1, and 22
#: images in layer 2. From layer 2 to 3 the step is nearly twofold.
LARGE = (0.04, 0.045, 0.03, 0.0)
#: So much thicker objects must be in a whole image that has more pixels than the model takes: magnifying shows more.
SCALED_DOWN = 1.25

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Of N objects in crops of one layer."""

    thickness: Values  # (N,) shares of the crop's longer side
    areas: Values  # (N,) shares of the square over it
    img_size: int  # side of the model's input, px

    def typical(self) -> tuple[float, float] | None:
        """Thickness and area: half of all pixels lie in objects at least as large. None if that cannot be told.

        Not the median: where maps are in doubt they show fragments, which are many and small. On 61 training images
        of 17 data sets the same figure of the true objects is met better.
        """
        if len(self.areas) < ENOUGH:
            return None
        thickness, area = (_weighted_median(values, self.areas) for values in (self.thickness, self.areas))
        return (thickness, area) if thickness >= READABLE else None


def _weighted_median(values: Values, weights: Values) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])


def seen_sizes(image: NDArray[np.uint8], model: Model, crops: Iterable[CropBox]) -> Sizes:
    """Of the objects that the model's maps show in these crops of one layer."""
    thickness, areas, img_size = [np.empty(0)], [np.empty(0)], 0
    for crop in crops:
        embedding, side = embed_crop(model, image, crop), max(crop.size)
        img_size = embedding.img_size
        if embedding.maps is not None:
            seen = embedding.maps.objects()
            thickness.append(seen.thickness / side)
            areas.append(seen.areas / side**2)
    return Sizes(np.concatenate(thickness), np.concatenate(areas), img_size)


def first_thick_enough(thickness: float, sides: Sequence[int], seen_in: int, img_size: int) -> int:
    """The first layer, from that on which was looked at, in which objects are thick enough; the last one if none is.

    ``thickness``: of the crops' longer side there; ``sides``: these of each layer, px.
    """
    for layer in range(seen_in, len(sides)):
        is_scaled_down = layer == 0 and sides[0] > img_size
        if thickness * sides[seen_in] / sides[layer] >= LARGE[layer] * (SCALED_DOWN if is_scaled_down else 1):
            return layer
    return len(sides) - 1
