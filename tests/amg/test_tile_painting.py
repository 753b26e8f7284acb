import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.table import plane_table
from napari_sam_amg.amg.tile_painting import Painter, paint_window
from napari_sam_amg.amg.tile_seams import TileMasks
from napari_sam_amg.params import AmgParameters
from tests.amg.tiled import disc, grid, masks_of

SIZE = (150, 180)


def scene(seed: int, count: int, largest: int):
    """Blobs of any kind, many of them in pieces, with holes, or rings around others."""
    rng = np.random.default_rng(seed)
    cutouts, corners = [], []
    for _ in range(count):
        height, width = rng.integers(3, largest, 2)
        noise = cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.uniform(0.5, 3))
        mask = noise > np.quantile(noise, rng.uniform(0.1, 0.6))
        if rng.random() < 0.2 and min(height, width) > 8:  # a ring
            mask = np.ones((height, width), bool)
            mask[2:-2, 2:-2] = False
        y, x = np.nonzero(mask)
        mask = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
        cutouts.append(mask)
        corners.append((int(rng.integers(0, SIZE[1] - width)), int(rng.integers(0, SIZE[0] - height))))
    return masks_of(cutouts, corners, SIZE, rng.integers(0, 4, count) / 4)  # with equals


def painted_by_tiles(masks, params, tile_size, row_by_row=True):
    regions = grid(SIZE, tile_size, 8)
    painter = Painter(regions, params, (0.5, 2.0), "area_um2")
    ranks = np.arange(len(masks))
    tops = [*(row[0].rows[0] for row in regions[1:]), np.inf] if row_by_row else [np.inf]
    done, objects = np.zeros(len(masks), bool), []
    for top in tops:
        new = (masks.boxes[:, 1] < top) & ~done
        done |= new
        painter.add(TileMasks(masks.select(new), ranks[new], ranks[new]))
        objects += [found for found, _ in painter.paint(top)]
    return regions, objects


@pytest.mark.parametrize("overlap", ["score", "small", "large"])
@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 70),
    largest=st.sampled_from([12, 25, 60]),
    pieces=st.sampled_from(["largest", "all"]),
    visible=st.sampled_from([0.0, 0.5]),
    tile_size=st.sampled_from([32, 50, 90]),
)
def test_tiles_painted_apart_are_the_plane_painted_whole(overlap, seed, count, largest, pieces, visible, tile_size):
    params = AmgParameters(overlap=overlap, label_pieces=pieces, min_visible_fraction=visible)
    masks = scene(seed, count, largest) if count else masks_of([], [], SIZE)
    whole = paint(masks, params)
    table = plane_table(masks, whole, (), (0.5, 2.0), "area_um2")
    _, objects = painted_by_tiles(masks, params, tile_size)
    labels = np.zeros(SIZE, np.int32)
    for some in objects:
        paint_window(some, (0, SIZE[0]), (0, SIZE[1]), labels)
    ids = np.concatenate([some.ids for some in objects])
    assert ids.tolist() == list(range(1, len(table) + 1))
    # the same labels under other numbers
    pairs = np.unique(np.stack([labels.ravel(), whole.labels.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    np.testing.assert_array_equal(labels > 0, whole.labels > 0)
    number = dict(zip(*pairs.tolist(), strict=True))
    for some in objects:
        here = some.table.set_index(some.table["index"].map(number)).drop(columns="index")
        there = table.set_index("index").loc[here.index]
        np.testing.assert_allclose(here.to_numpy(float), there[here.columns].to_numpy(float), rtol=1e-9)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), columns=st.integers(1, 60))
def test_windows_painted_apart_are_the_plane(seed, rows, columns):
    _, objects = painted_by_tiles(scene(seed, 40, 30), AmgParameters(), 50)
    height, width = SIZE
    whole = sum(paint_window(some, (0, height), (0, width)) for some in objects)
    for top in range(0, height, 13 * rows):
        for left in range(0, width, 7 * columns):
            at = (top, min(top + 13 * rows, height)), (left, min(left + 7 * columns, width))
            part = sum(paint_window(some, *at) for some in objects)
            np.testing.assert_array_equal(part, whole[at[0][0] : at[0][1], at[1][0] : at[1][1]])


def test_row_by_row_or_all_at_once_gives_the_same_ids():
    masks = scene(3, 60, 25)
    for one, other in zip(
        painted_by_tiles(masks, AmgParameters(), 32)[1],
        painted_by_tiles(masks, AmgParameters(), 32, row_by_row=False)[1],
        strict=True,
    ):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        assert one.table.equals(other.table)


def test_masks_that_nothing_depends_on_any_more_are_let_go():
    """Of a long plane full of discs, those of a few rows of tiles are held."""
    size = (4000, 100)
    corners = [(x, y) for y in range(5, 3980, 12) for x in (10, 40, 70)]
    masks = masks_of([disc(5)] * len(corners), corners, size)
    regions = grid(size, 100, 20)
    painter, ranks, held = Painter(regions, AmgParameters()), np.arange(len(masks)), []
    for region in (row[0] for row in regions):
        new = (masks.boxes[:, 1] >= region.rows[0]) & (masks.boxes[:, 1] < region.rows[1])
        painter.add(TileMasks(masks.select(new), ranks[new], ranks[new]))
        list(painter.paint(region.rows[1]))
        held.append(len(painter._masks))
    assert max(held[2:]) < 90
    assert len(masks) > 900
