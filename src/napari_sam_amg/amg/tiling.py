"""Large planes as tiles: from which size on, how large they are, and how far around its core each one looks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.magnify import Choice, best_layer, magnified
from napari_sam_amg.amg.object_sizes import LARGE, SCALED_DOWN, Sizes, seen_sizes
from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.region import Region, whole_plane
from napari_sam_amg.params import AmgParameters

#: What a tile may see, px: the largest in which objects are thick enough, by the rule for whole images.
WINDOWS = (2048, 1448, 1024, 724, 512, 362, 256)
LOOKS = (1024, 512, 256)  # px: how much is looked at together to tell how large the objects are
HALO_SHARE = 1 / 8  # of what a tile sees, on each side
MIDDLE = 2  # the crop layer whose rule tells how many points an object gets: from half of those asked for to all
BLOCK = 8  # px

Image = NDArray[np.uint8]


def with_tiles(looks: Sequence[Image], size: tuple[int, int], model: Model, params: AmgParameters) -> AmgParameters:
    """The parameters with the tiles that suit, if ``planes.may_tile``; as they are if the plane is one after all.

    ``looks``: (h, w, 3) RGB, parts of the planes that show most; none if there is nothing in any.
    """
    if params.tile_size:
        params = replace(params, tile_halo=halo_of(params))
        side = params.tile_size + 2 * params.tile_halo
        return magnified(busiest(looks[0], side) if looks else None, model, params)
    window, object_area = _window_that_suits(looks, model, params)
    if window == WINDOWS[0] and max(size) <= 2 * window:  # the whole plane is no more than the model can see of it
        return params
    halo = int(window * HALO_SHARE)
    asked = params.points_per_side
    assert asked is not None  # with point_grids and "auto" nothing gets here
    points = Choice(MIDDLE, object_area / window**2).points_per_side(asked)
    return replace(
        params,
        tile_size=window - 2 * halo,
        tile_halo=halo,
        crop_layers="last",
        crop_n_layers=0,
        points_per_side=points,
        coarse_points_per_side=math.ceil(params.coarse_points_per_side * points / asked),
        crop_n_points_downscale_factor=1,
    )


def halo_of(params: AmgParameters) -> int:
    """px around the core of a tile: as given, or what suits the tile."""
    return params.tile_halo or math.ceil(params.tile_size * HALO_SHARE / (1 - 2 * HALO_SHARE))


def _window_that_suits(looks: Sequence[Image], model: Model, params: AmgParameters) -> tuple[int, float]:
    """Side of what a tile should see, and the area of an object, px; 0 if that cannot be told."""
    if params.points_per_side is None:
        raise ValueError("crop_layers='auto' needs points_per_side: with point_grids choose 'all' or 'last'")
    if not looks:
        return WINDOWS[0], 0.0
    if params.mode == "ais" or params.point_search == "guided":
        for side in LOOKS:
            sizes = _sizes_in([busiest(look, side) for look in looks], model)
            if (typical := sizes.typical()) is not None:
                thickness, area = typical[0] * side, typical[1] * side**2
                return next((w for w in WINDOWS if thickness >= _least(w, sizes.img_size)), WINDOWS[-1]), area
        if params.mode == "ais":
            return LOOKS[0], 0.0
    choice = best_layer(looks[0], model, params)
    height, width = layer_boxes((looks[0].shape[0], looks[0].shape[1]), choice.layer, params.crop_overlap_ratio)[0].size
    window = next((w for w in WINDOWS if w <= max(height, width)), WINDOWS[-1])
    return window, choice.object_area * height * width


def _least(window: int, img_size: int) -> float:
    """The thickness of objects, px, from which on a window suits them."""
    return window * LARGE[0] * (SCALED_DOWN if window > img_size else 1)


def _sizes_in(looks: Sequence[Image], model: Model) -> Sizes:
    seen = [seen_sizes(look, model, [CropBox(0, 0, look.shape[1], look.shape[0], 0)]) for look in looks]
    return Sizes(
        np.concatenate([sizes.thickness for sizes in seen]),
        np.concatenate([sizes.areas for sizes in seen]),
        seen[0].img_size,
    )


def busiest(image: Image, side: int) -> Image:
    """The part of an (H, W, 3) image, at most ``side`` px high and wide, in which most is to be seen."""
    height, width = image.shape[:2]
    grey = image[: height // BLOCK * BLOCK, : width // BLOCK * BLOCK].mean(axis=2)
    blocks = grey.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3))
    step = max(1, side // BLOCK // 4)
    tops, lefts = (range(0, max(length - side, 0) // BLOCK + 1, step) for length in (height, width))
    places = [(top, left) for top in tops for left in lefts]
    span = side // BLOCK
    top, left = max(places, key=lambda at: blocks[at[0] : at[0] + span, at[1] : at[1] + span].std())
    return image[top * BLOCK : top * BLOCK + side, left * BLOCK : left * BLOCK + side]


def regions(index: Index, size: tuple[int, int], params: AmgParameters) -> list[list[Region]]:
    """What of a plane is looked at together: all of it, or its tiles, row by row."""
    return tiles(index, size, params) if params.tile_size else [[whole_plane(index, size)]]


def in_turn(grid: Sequence[Sequence[Region]]) -> list[Region]:
    """The regions of a plane in the order of work."""
    return [region for row in grid for region in row]


def tiles(index: Index, size: tuple[int, int], params: AmgParameters) -> list[list[Region]]:
    """The tiles of a plane of (height, width) ``size``, row by row; all cores of about one size, none a sliver."""
    halo = halo_of(params)
    rows, columns = (_spans(length, params.tile_size) for length in size)
    return [[Region(index, row, column, size, halo) for column in columns] for row in rows]


def _spans(length: int, most: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, length, math.ceil(length / most) + 1).round().astype(int).tolist()
    return list(pairwise(edges))
