import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.amg import build_all_layer_point_grids

from napari_sam_amg.amg.crops import CropBox
from napari_sam_amg.amg.prompts import guided_strides, layer_grids, point_batches, search_levels
from napari_sam_amg.params import AmgParameters


@pytest.mark.parametrize(("side", "layers", "factor"), [(1, 0, 1), (5, 2, 2), (32, 1, 1), (32, 2, 3)])
def test_same_grids_as_the_reference(side, layers, factor):
    params = AmgParameters(points_per_side=side, crop_n_layers=layers, crop_n_points_downscale_factor=factor)
    for ours, theirs in zip(layer_grids(params), build_all_layer_point_grids(side, layers, factor), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-15)


def test_explicit_grids_are_used_as_they_are():
    params = AmgParameters(points_per_side=None, point_grids=(((0.25, 0.5), (1.0, 0.0)),))
    assert layer_grids(params)[0].tolist() == [[0.25, 0.5], [1.0, 0.0]]


def test_too_few_explicit_grids_are_an_error():
    params = AmgParameters(points_per_side=None, point_grids=(((0.5, 0.5),),), crop_n_layers=1)
    with pytest.raises(ValueError, match=r"point_grids holds 1 grids, but crop_n_layers=1 needs 2"):
        layer_grids(params)


def test_a_downscale_that_leaves_no_point_is_an_error():
    with pytest.raises(ValueError, match="leaves no point"):
        layer_grids(AmgParameters(points_per_side=2, crop_n_layers=2, crop_n_points_downscale_factor=2))


def test_batches_are_in_pixels_of_the_crop_and_the_last_may_be_short():
    grid = np.array([[0.5, 0.5], [0.25, 1.0], [0.0, 0.0]])
    batches = list(point_batches(CropBox(100, 200, 120, 240, 1), grid, 2))
    assert [len(batch) for batch in batches] == [2, 1]
    assert batches[0].tolist() == [[10.0, 20.0], [5.0, 40.0]]


def test_an_exact_search_has_one_part_a_layer():
    params = AmgParameters(points_per_side=6, crop_n_layers=1, crop_n_points_downscale_factor=2)
    for parts, grid in zip(search_levels(params), layer_grids(params), strict=True):
        np.testing.assert_array_equal(parts, [grid])


@given(st.integers(1, 70))
def test_the_parts_of_a_hierarchical_search_are_the_grid_every_4th_point_first(side):
    params = AmgParameters(points_per_side=side, point_search="hierarchical")
    (parts,) = search_levels(params)
    together = np.concatenate(parts)
    grid = layer_grids(params)[0]
    np.testing.assert_array_equal(together[np.lexsort(together.T)], grid[np.lexsort(grid.T)])
    coarse, finer = (round(np.sqrt(count)) for count in np.cumsum([len(part) for part in parts])[:2])
    assert coarse == -(-side // 4)
    assert finer in (side // 2, -(-side // 2))
    x = np.unique(parts[0][:, 0]) * side - 0.5  # columns of the grid
    np.testing.assert_allclose(np.diff(x), 4)
    before, after = x[0], side - 1 - x[-1]
    assert abs(before - after) <= 1 + 1e-9


@given(st.integers(1, 100))
def test_the_parts_of_an_explicit_grid_are_in_its_order(count):
    points = np.arange(count)[:, None] / 100 * (1, 0.5)
    params = AmgParameters(points_per_side=None, point_grids=(tuple(map(tuple, points)),), point_search="hierarchical")
    (parts,) = search_levels(params)
    assert len(parts[0]) == -(-count // 16)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts), axis=0), points)
    assert all((np.diff(part[:, 0]) > 0).all() for part in parts)


@pytest.mark.parametrize(
    ("side", "coarse", "strides"),
    [
        (32, 8, (4, 2, 1)),
        (32, 32, (1,)),
        (32, 64, (1,)),
        (32, 0, ()),
        (18, 5, (4, 2, 1)),  # 3.6 is nearer to 4
        (16, 6, (2, 1)),  # 2.7 is nearer to 2, in octaves
        (1, 8, (1,)),
        (512, 1, (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)),
    ],
)
def test_a_guided_search_begins_with_about_as_many_points_as_are_asked_for(side, coarse, strides):
    params = AmgParameters(points_per_side=side, coarse_points_per_side=coarse, point_search="guided")
    assert guided_strides(params) == strides
    (parts,) = search_levels(params)
    assert len(parts) == len(strides)
    together = np.concatenate([np.empty((0, 2)), *parts])
    assert len(np.unique(together, axis=0)) == (side**2 if coarse else 0)
    if coarse:
        assert len(parts[0]) == (-(-side // strides[0])) ** 2


def test_an_explicit_grid_is_one_part_of_a_guided_search():
    grid = tuple((x / 40, 0.5) for x in range(40))
    params = AmgParameters(points_per_side=None, point_grids=(grid,), point_search="guided")
    np.testing.assert_array_equal(search_levels(params), [[grid]])
