import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam_amg.amg.near_boxes import near_pairs
from napari_sam_amg.amg.tile_seams import TileMasks, merge_tiles
from napari_sam_amg.amg.tiled_plane import Merger
from tests.amg.tiled import disc, grid, masks_of, seen_by_all

SIZE = (300, 300)
TILE = 60


def on_seams(radius: int, rng: np.random.Generator):
    """Discs on every seam and at every corner of four tiles of 60 px, each moved by a few pixels, none touching."""
    lines, middles = range(TILE, 300, TILE), range(TILE // 2, 300, TILE)
    centres = [(x, y) for x in lines for y in lines]
    centres += [(x, y) for x in lines for y in middles] + [(x, y) for x in middles for y in lines]
    room = max(0, 14 - radius)
    moved = (np.array(centres) + rng.integers(-room, room + 1, (len(centres), 2))).tolist()
    return masks_of(
        [disc(radius)] * len(moved), [(x - radius, y - radius) for x, y in moved], SIZE, rng.random(len(moved))
    )


@pytest.mark.parametrize("halo", [3, 8, 15, 24, 30])
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), radius=st.integers(2, 14))
def test_discs_on_every_seam_and_corner_are_counted_once(halo, seed, radius):
    objects = on_seams(radius, np.random.default_rng(seed))
    merged, missing = merge_tiles(seen_by_all(objects, grid(SIZE, TILE, halo)))
    assert missing == 0
    found = sorted(map(tuple, merged.masks.boxes.tolist()))
    assert found == sorted(map(tuple, objects.boxes.tolist()))
    assert merged.masks.areas.sum() == objects.areas.sum()


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), halo=st.integers(4, 30), radius=st.integers(2, 14))
def test_rows_of_tiles_one_after_another_give_what_all_at_once_do(seed, halo, radius):
    regions = grid(SIZE, TILE, halo)
    found = seen_by_all(on_seams(radius, np.random.default_rng(seed)), regions)
    together, _ = merge_tiles(found)
    merger, parts = Merger(SIZE), []
    for number in range(len(regions)):
        next_top = regions[number + 1][0].window[0].start if number + 1 < len(regions) else np.inf
        parts.append(merger.add(found.select(found.tiles // len(regions[0]) == number), next_top))
    ranks = np.sort(np.concatenate([part.ranks for part in parts]))
    np.testing.assert_array_equal(ranks, together.ranks)
    assert merger.undecided_from == np.inf


def test_an_object_wider_than_a_tile_is_joined_of_its_pieces():
    bar = masks_of([np.ones((20, 170), bool)], [(40, 130)], SIZE)
    merged, missing = merge_tiles(seen_by_all(bar, grid(SIZE, TILE, 10)))
    assert missing == 0
    assert merged.masks.boxes.tolist() == bar.boxes.tolist()
    assert merged.masks.cutouts[0].all()


def test_what_is_as_large_as_the_plane_is_counted_as_missing():
    size = (60, 1200)
    everything = masks_of([np.ones((60, 1200), bool)], [(0, 0)], size)
    merged, missing = merge_tiles(seen_by_all(everything, grid(size, TILE, 10)))
    assert (len(merged), missing) == (0, 1)


def two_tiles(cutouts, corners, scores, tiles):
    """Masks of two tiles, which see columns 0 to 79 and 40 to 119."""
    masks = masks_of(cutouts, corners, (60, 120), scores)
    windows = np.array([[0, 0, 80, 60], [40, 0, 120, 60]])
    masks.crop_boxes[:] = windows[tiles]
    return TileMasks(masks, np.array(tiles), np.arange(len(tiles)))


def test_a_whole_mask_wins_over_a_better_one_that_is_cut():
    whole, cut = np.ones((10, 30), bool), np.ones((10, 20), bool)
    merged, _ = merge_tiles(two_tiles([cut, whole], [(60, 20), (60, 20)], [0.9, 0.6], [0, 1]))
    assert merged.ranks.tolist() == [1]


def test_of_two_whole_masks_of_one_object_the_better_one_stays():
    small, large = np.ones((10, 10), bool), np.ones((12, 12), bool)
    merged, _ = merge_tiles(two_tiles([small, large], [(55, 20), (54, 19)], [0.6, 0.9], [0, 1]))
    assert merged.ranks.tolist() == [1]


def test_masks_of_one_tile_do_not_remove_each_other():
    small, large = np.ones((10, 10), bool), np.ones((12, 12), bool)
    merged, _ = merge_tiles(two_tiles([small, large], [(55, 20), (54, 19)], [0.6, 0.9], [0, 0]))
    assert merged.ranks.tolist() == [0, 1]


def test_a_cut_mask_stays_where_it_is_free_and_goes_where_others_hold_more_than_half():
    piece = np.ones((10, 20), bool)
    for width, kept in ((9, [0, 1]), (12, [1])):
        merged, _ = merge_tiles(
            two_tiles([piece, np.ones((10, width), bool)], [(60, 20), (70 - width // 2, 20)], [0.9, 0.5], [0, 1])
        )
        assert merged.ranks.tolist() == kept


def test_pieces_that_do_not_agree_where_both_tiles_see_are_not_joined():
    left, right = np.ones((10, 60), bool), np.ones((10, 60), bool)
    merged, _ = merge_tiles(two_tiles([left, right], [(20, 10), (40, 14)], [0.9, 0.9], [0, 1]))
    assert len(merged) == 2
    merged, _ = merge_tiles(two_tiles([left, right], [(20, 10), (40, 12)], [0.9, 0.8], [0, 1]))
    assert merged.masks.boxes.tolist() == [[20, 10, 99, 21]]
    assert merged.masks.predicted_iou == np.float32(0.8)


@given(seed=st.integers(0, 10**6), count=st.integers(0, 60), gap=st.integers(0, 1))
def test_near_pairs_are_all_pairs_that_share_or_touch(seed, count, gap):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([starts, starts + rng.integers(0, 20, (count, 2))], axis=1)
    expected = {
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if all(boxes[i, a] <= boxes[j, a + 2] + gap and boxes[j, a] <= boxes[i, a + 2] + gap for a in (0, 1))
    }
    found = near_pairs(boxes, gap).tolist()
    assert len(found) == len(expected)
    assert set(map(tuple, found)) == expected
