"""From which size on a plane is taken tile by tile, and how large the tiles are."""

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import LARGE_SIDE, PlaneStack, may_tile
from napari_sam_amg.amg.preprocess import survey
from napari_sam_amg.amg.tiling import WINDOWS, busiest, tiles, with_tiles
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.sam.object_maps import SeenObjects
from tests.amg.models import GivenMaps, SizedModel, field_of_discs
from tests.amg.test_object_sizes import GUIDED
from tests.disc_model import BlobModel

AUTO = replace(GUIDED, point_search="grid")


@pytest.mark.parametrize(
    ("size", "values", "expected"),
    [
        ((LARGE_SIDE, LARGE_SIDE), {"crop_layers": "auto"}, False),
        ((10, LARGE_SIDE + 1), {"crop_layers": "auto"}, True),
        ((20_000, 20_000), {"crop_layers": "all"}, False),
        ((20_000, 20_000), {"crop_layers": "all", "crop_n_layers": 2}, False),
        ((20_000, 20_000), {"crop_layers": "all", "tile_size": 512}, True),
        ((512, 512), {"crop_layers": "auto", "tile_size": 512}, False),
        ((512, 513), {"crop_layers": "auto", "tile_size": 512}, True),
    ],
)
def test_who_asks_for_the_references_crops_gets_no_tiles(size, values, expected):
    assert may_tile(size, AmgParameters(**values)) is expected


@pytest.mark.parametrize("size", [(1000, 1000), (401, 77), (100, 64), (33, 2000)])
def test_tiles_cover_the_plane_once_and_none_is_a_sliver(size):
    grid = tiles((3,), size, AmgParameters(tile_size=64, tile_halo=9))
    seen = np.zeros(size, int)
    for row in grid:
        assert len({region.rows for region in row}) == 1
        for region in row:
            seen[slice(*region.rows), slice(*region.columns)] += 1
            sides = [stop - start for start, stop in (region.rows, region.columns)]
            assert all(min(32, length) <= side <= 64 for side, length in zip(sides, size, strict=True))
            assert (region.halo, region.index, region.plane_size) == (9, (3,), size)
    assert (seen == 1).all()


def test_a_halo_by_itself_is_a_sixth_of_the_tile():
    assert tiles((), (1000, 1000), AmgParameters(tile_size=384))[0][0].halo == 64


@pytest.mark.parametrize(("diameter", "window"), [(110, 2048), (80, 1448), (40, 724), (26, 512), (19, 362), (9, 256)])
def test_tiles_are_as_large_as_the_objects_allow(diameter, window):
    """Discs of 26 px are .05 of 512 px, which the model sees at half of their size."""
    looks = [field_of_discs(diameter, 2 * diameter, 1024)]
    found = with_tiles(looks, (9000, 9000), Eyes(), GUIDED)
    assert found.tile_size + 2 * found.tile_halo == window
    assert (found.crop_layers, found.crop_n_layers) == ("last", 0)
    assert 16 <= found.points_per_side <= 32


def test_a_plane_of_large_objects_that_is_not_much_larger_than_a_tile_is_one():
    looks = [field_of_discs(200, 400, 1024)]
    assert with_tiles(looks, (3000, 4096), Eyes(), GUIDED) == GUIDED
    assert with_tiles(looks, (3000, 4097), Eyes(), GUIDED).tile_size + 2 * 256 == WINDOWS[0]


def test_objects_that_are_too_small_to_be_told_are_looked_at_closer():
    looks = [field_of_discs(12, 24, 1024)]
    assert with_tiles(looks, (9000, 9000), Eyes(least=5), GUIDED).tile_size < 256


def test_models_without_maps_are_asked_trial_points():
    sizes = {
        diameter: with_tiles([field_of_discs(diameter, 2 * diameter, 1024)], (9000, 9000), SizedModel(), AUTO).tile_size
        for diameter in (240, 80)
    }
    assert sizes == {240: 768, 80: 272}  # windows of 1024 and 362 px: layer 2, whose crops have 387


def test_with_nothing_to_be_seen_tiles_are_large():
    assert with_tiles([], (9000, 9000), BlobModel(), AUTO).tile_size == 1536


def test_a_tile_size_that_is_given_stays_and_the_crop_layer_suits_the_tile():
    given = replace(GUIDED, tile_size=384)
    found = with_tiles([field_of_discs(40, 80, 1024)], (9000, 9000), Eyes(), given)
    assert (found.tile_size, found.tile_halo) == (384, 64)
    assert (found.crop_layers, found.crop_n_layers) == ("last", 0)
    smaller = with_tiles([field_of_discs(8, 16, 1024)], (9000, 9000), Eyes(), given)
    assert smaller.crop_n_layers > 0


def test_the_busiest_part_is_where_most_is_to_be_seen():
    image = np.zeros((600, 900, 3), np.uint8)
    image[300:450:20, 600:750:20] = 255
    part = busiest(image, 200)
    assert part.shape == (200, 200, 3)
    assert part.sum() == image.sum()
    assert busiest(image[:50, :60], 200).shape == (50, 60, 3)


class Eyes:
    """Sees discs, and has a look at nothing else."""

    sees_objects, img_size = True, 256

    def __init__(self, least: float = 0.0):
        self.least = least  # px of its input that a disc must be wide

    def embed(self, image):
        _, _, boxes, _ = cv2.connectedComponentsWithStats((image[..., 0] > 127).astype(np.uint8))
        widths = np.minimum(boxes[1:, cv2.CC_STAT_WIDTH], boxes[1:, cv2.CC_STAT_HEIGHT]).astype(float)
        seen = widths * self.img_size / max(image.shape) >= self.least
        boxes, widths = boxes[1:][seen].astype(float), widths[seen]
        seen = SeenObjects(boxes[:, :2], boxes[:, cv2.CC_STAT_AREA], widths, np.zeros((1, 1), bool))
        return SimpleNamespace(maps=GivenMaps(seen), img_size=self.img_size)


class Lazy:
    """A plane that is made row by row as it is asked for."""

    def __init__(self, shape):
        self.shape, self.dtype, self.most = shape, np.dtype(np.uint16), 0

    def __getitem__(self, where):
        (rows,) = where if isinstance(where, tuple) else (where,)
        rows = range(*rows.indices(self.shape[0]))
        self.most = max(self.most, len(rows))
        columns = np.arange(self.shape[1])
        return np.stack([(columns * 7 + row * 13) % 251 + 100 for row in rows]).astype(np.uint16)


def test_survey_and_tiles_of_a_large_plane_hold_little_of_it():
    stack = PlaneStack(Lazy((9000, 2100)))  # 38 MB
    tracemalloc.start()
    images = PlaneImages(stack, survey(stack), None)
    for row in tiles((), stack.plane_size, AmgParameters(tile_size=384))[:3]:
        for region in row:
            images.image((), region.window)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert stack.data.most < 600
