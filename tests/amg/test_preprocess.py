import tracemalloc
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from napari_sam_amg.amg import hot_pixels
from napari_sam_amg.amg.contrast import PlaneContrast, common_range, planes_that_show
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import (
    IntensityRange,
    nothing_in,
    percentile_range,
    remove_hot_pixels,
    survey,
    to_rgb,
)
from tests.amg import old_formula
from tests.disc_model import blobs
from tests.samples import sample


def seen(image):
    return to_rgb(image, percentile_range(PlaneStack(image, rgb=image.ndim == 3)))


@pytest.fixture(scope="module")
def cells():
    """Real nuclei, 8 bit."""
    image = sample("nuclei.tif")[:200, :240]
    return np.clip((image - image.min()) / 8, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: image.astype(np.uint16) * 16,
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image.astype(np.float32),
        lambda image: image.astype(np.float64) / 255,
        lambda image: (image / 255).astype(np.float32),
        lambda image: image.astype(np.int32) * 1000 - 500_000,
        lambda image: image.astype(np.float32) * 3.7 + 11,
    ],
)
def test_the_model_sees_the_same_whatever_the_number_type(cells, copy):
    np.testing.assert_array_equal(seen(copy(cells)), seen(cells))


@pytest.mark.parametrize("value", [65535, 30000])
def test_one_hot_pixel_changes_nothing(cells, value):
    image = cells.astype(np.uint16) * 16
    hot = image.copy()
    hot[100, 50] = value
    difference = np.abs(seen(hot).astype(int) - seen(image))
    assert np.count_nonzero(difference.max(axis=2)) <= 1  # the pixel itself, now its neighbours' median
    assert difference.max() <= 16


def test_colour_keeps_its_channels():
    image = data.immunohistochemistry()[:100, :120]
    rgb = seen(image)
    assert rgb.shape == (100, 120, 3)
    assert np.abs(rgb.astype(int) - image).mean() < 20
    np.testing.assert_array_equal(seen(image.astype(np.uint16) * 256), rgb)


def test_one_range_for_the_whole_stack(cells):
    stack = np.stack([cells // 4, cells])
    both = percentile_range(PlaneStack(stack))
    dark = to_rgb(stack[0], both)
    assert dark.max() < 100
    assert to_rgb(stack[1], both).max() == 255


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((20, 20), np.uint8), "every pixel is 0"),
        (np.full((20, 20), 255, np.uint8), "every pixel is 255"),
        (np.full((20, 20, 3), 9, np.uint16), "every pixel is 9"),
        (np.full((20, 20), -7.5), "every pixel is -7.5"),
        (np.full((20, 20), 1e300), "every pixel is 1e+300"),
        (np.full((20, 20), np.finfo(float).max), "every pixel is 1.79769e+308"),
        (np.ones((20, 20), bool), "every pixel is 1"),
        (np.where(np.eye(20) > 0, np.nan, 3.0), "every finite pixel is 3"),
        (np.full((20, 20), np.nan), "no pixel is finite: every value is NaN or infinite"),
        (np.full((20, 20), np.inf), "no pixel is finite: every value is NaN or infinite"),
        (np.full((20, 20), -np.inf), "no pixel is finite: every value is NaN or infinite"),
    ],
)
def test_nothing_to_see_is_said_and_no_error(image, reason):
    stack = PlaneStack(image, rgb=image.ndim == 3)
    found = survey(stack)
    assert (found.shown, found.fullest, found.planes) == ((), None, 1)
    intensities = percentile_range(stack)
    rgb = to_rgb(image, intensities)
    assert len(np.unique(rgb)) == 1
    assert nothing_in(image, rgb) == reason


def test_what_lies_outside_a_given_range_is_nothing_to_see():
    image = np.arange(400).reshape(20, 20)
    assert nothing_in(image, to_rgb(image, IntensityRange(1000, 2000))) == "all pixels look the same, they are 0 to 399"
    assert nothing_in(image, to_rgb(image, IntensityRange(0, 398))) == ""


def test_a_single_pixel_of_another_value_in_the_last_row_is_something():
    rgb = np.zeros((3000, 200, 3), np.uint8)
    rgb[-1, -1, 1] = 1
    assert nothing_in(rgb, rgb) == ""


def test_a_few_pixels_on_a_constant_background_are_seen():
    image = np.zeros((200, 200), np.uint16)
    image[50:53, 50:53] = 900
    assert seen(image)[51, 51].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (np.nan, 1), (0, np.inf)])
def test_a_range_that_is_none(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        IntensityRange(low, high)


@given(st.integers(0, 2**32 - 1))
def test_only_lonely_peaks_are_hot(seed):
    plane = np.random.default_rng(seed).normal(100, 5, (12, 12))
    plane[6:9, 6:9] = 1000
    np.testing.assert_array_equal(remove_hot_pixels(plane)[5:10, 5:10], plane[5:10, 5:10])


def planes_of_many_kinds():
    rng = np.random.default_rng(1)
    grey = rng.normal(100, 20, (150, 101))
    grey[40:60, 30:70] += 400
    grey[77, 50], grey[0, 0], grey[16, 3], grey[15, 40], grey[149, 100] = 4000, 4000, 4000, 4000, 4000
    holes = grey.copy()
    holes[5, :9], holes[16:40, 4], holes[80, 80], holes[90, 90] = np.nan, np.inf, -np.inf, np.nan
    wide = rng.integers(-(2**62), 2**62, (40, 50))
    yield from (grey.clip(0, 255).astype(np.uint8), grey.astype(np.uint16), grey.astype(">u2"), grey.astype(np.int32))
    yield from (
        grey,
        grey.astype(np.float32),
        holes,
        holes.astype(np.float16),
        grey > 120,
        wide,
        wide.astype(np.uint64),
    )
    yield from (rng.integers(0, 256, (150, 101, 3)).astype(np.uint8), np.stack([holes] * 3, axis=-1))
    ragged = grey.copy()
    ragged[40:70, 20:60], ragged[55, 40], ragged[60:62, 30:33] = np.nan, 300, 300  # islands in a wide gap
    ragged[:, 90:], ragged[100:, :4], ragged[120:124, :50] = np.inf, np.nan, -np.inf
    ragged[np.add.outer(np.arange(150), np.arange(101)) > 225] = np.nan
    yield from (ragged, ragged.astype(np.float32), np.stack([ragged, grey, holes], axis=-1))
    yield from (grey.T, grey[::-1, ::2], np.eye(8) * 9, np.where(np.eye(60, 50) > 0, 5, 0)[::-1])


@pytest.mark.parametrize("plane", list(planes_of_many_kinds()), ids=lambda plane: f"{plane.dtype}{plane.shape}")
@pytest.mark.parametrize("pixels_at_a_time", [1, 2000, 2**18])
def test_some_rows_at_a_time_give_the_same(plane, pixels_at_a_time, monkeypatch):
    monkeypatch.setattr(hot_pixels, "PIXELS_AT_A_TIME", pixels_at_a_time)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cleaned, range_ = old_formula.remove_hot_pixels(plane.astype(float)), old_formula.percentiles(plane)
        rgb = old_formula.to_rgb(plane, *range_)
    np.testing.assert_array_equal(remove_hot_pixels(plane), cleaned)
    intensities = percentile_range(PlaneStack(plane, rgb=plane.ndim == 3))
    assert (intensities.low, intensities.high) == range_
    np.testing.assert_array_equal(to_rgb(plane, intensities), rgb)


@pytest.mark.parametrize("shape", [(1024, 1000), (2001, 2003)])
def test_percentiles_of_large_planes_are_of_the_same_sample(shape):
    plane = np.random.default_rng(0).gamma(2, 500, shape).astype(np.uint16)
    intensities = percentile_range(PlaneStack(plane))
    assert (intensities.low, intensities.high) == old_formula.percentiles(plane)


@pytest.mark.parametrize(("dtype", "a_pixel"), [(np.uint8, 12), (np.uint16, 12), (np.float32, 12), (np.float64, 12)])
def test_no_plane_is_copied_in_a_wider_type(dtype, a_pixel):
    plane = np.random.default_rng(0).integers(0, 250, (2048, 2048)).astype(dtype)
    tracemalloc.start()
    intensities = percentile_range(PlaneStack(plane))
    measuring = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    rgb = to_rgb(plane, intensities)
    mapping = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rgb.nbytes == 3 * plane.size
    own = plane.itemsize  # the plane that shows most is kept
    assert measuring / plane.size < 5 + own
    assert mapping / plane.size < 3 + 4 + own


def test_lonely_pixels_of_a_plane_that_is_flat_without_them_stay():
    """They are all there is to see; a plane that is not flat loses them."""
    points = np.zeros((40, 50), np.uint16)
    points[10, 10] = points[30, 40] = 900
    np.testing.assert_array_equal(remove_hot_pixels(points), points)
    assert percentile_range(PlaneStack(points)) == IntensityRange(0, 900)
    points[20:25, 20:25] = 100
    assert np.count_nonzero(remove_hot_pixels(points)) == 25


def sparse(count, filled, rest, dtype=np.uint8):
    """A stack of ``count`` planes, with objects in the ``filled`` ones and what ``rest`` makes in the others."""
    rng = np.random.default_rng(0)
    objects = rng.normal(20, 2, (96, 128)) + blobs()
    return np.stack([objects if at in filled else rest(rng) for at in range(count)]).clip(0).astype(dtype)


def black(rng):
    return np.zeros((96, 128))


def noise(rng):
    return rng.normal(20, 2, (96, 128))


def salt(rng):
    return np.where(rng.random((96, 128)) < 0.2, 255, 0)


def shading(rng):
    return noise(rng) + np.linspace(0, 15, 128)


@pytest.mark.parametrize("rest", [black, noise, shading])
@pytest.mark.parametrize("filled", [(0,), (1,), (39,), (3, 4), (17, 30, 31)])
def test_a_few_planes_with_objects_make_the_range(rest, filled):
    found = survey(PlaneStack(sparse(40, filled, rest)))
    assert found.shown == tuple((at,) for at in filled)
    assert found.fullest in found.shown
    assert found.intensities.low < 25
    assert 200 <= found.intensities.high <= 230


@pytest.mark.parametrize(
    "damaged",
    [
        np.full((96, 128), 65535),
        np.where(np.arange(128) < 64, 0, 65535) + np.zeros((96, 1), int),
        np.random.default_rng(0).integers(0, 65536, (96, 128)),
        np.where(np.random.default_rng(0).random((96, 128)) < 0.2, 65535, 0),
        np.zeros((96, 128)),
        np.full((96, 128), np.nan),
    ],
    ids=["saturated", "half saturated", "noise", "salt", "black", "NaN"],
)
def test_one_damaged_plane_does_not_hide_the_others(damaged):
    stack = sparse(12, range(12), noise, float)
    stack[5] = damaged
    whole, without = survey(PlaneStack(stack)), survey(PlaneStack(np.delete(stack, 5, axis=0)))
    assert (5,) not in whole.shown
    assert whole.fullest != (5,)
    assert whole.intensities == without.intensities


@pytest.mark.parametrize("largest", [1e160, 1e304])
def test_values_whose_squares_are_no_numbers_have_a_range(largest):
    plane = np.zeros((64, 80))
    plane[10:30, 10:30], plane[40:50] = largest, largest / 2
    surveyed = survey(PlaneStack(np.stack([plane, plane])))
    assert (surveyed.intensities.low, surveyed.intensities.high) == (0, largest)


@pytest.mark.parametrize(("contrasts", "shown"), [
    ((100,), [0]), ((100, 100), [0, 1]), ((100, 25), [0, 1]), ((100, 24), [0]), ((24, 100, 24), [1]),
    ((100, 0), [0]), ((0, 0), []), ((), []), ((100, 24, 24, 24), [0]), ((0, 100, 24, 24), [1]),
])  # fmt: skip
def test_planes_with_a_quarter_of_the_greatest_contrast_show_something(contrasts, shown):
    planes = [PlaneContrast(5, 5 + contrast, 0.1, 30.0, 1.0) for contrast in contrasts]
    assert planes_that_show(planes) == shown


@pytest.mark.parametrize(("bright", "contrasts", "shown"), [
    (0.31, (401, 100, 100, 100), [1, 2, 3]), (0.31, (400, 100, 100, 100), [0, 1, 2, 3]),
    (0.3, (401, 100, 100, 100), [0]), (0.31, (401, 100, 100), [0]), (0.31, (401, 100, 24, 100), [1, 3]),
])  # fmt: skip
def test_one_plane_that_is_bright_all_over_is_not_what_the_others_are_held_to(bright, contrasts, shown):
    planes = [PlaneContrast(5, 5 + contrast, bright, 30.0, 1.0) for contrast in contrasts]
    assert planes_that_show(planes) == shown


def test_planes_of_noise_count_only_if_there_is_nothing_else():
    noisy, other = PlaneContrast(0, 100, 0.1, 4.0, 1.0), PlaneContrast(0, 30, 0.1, 4.1, 1.0)
    assert planes_that_show([noisy, other, noisy]) == [1]
    assert planes_that_show([noisy, noisy]) == [0, 1]


@pytest.mark.parametrize(("count", "expected"), [(1, (0, 100)), (9, (0, 108)), (10, (1, 108)), (40, (4, 135))])
def test_one_plane_in_ten_may_lie_outside_the_range(count, expected):
    assert common_range([PlaneContrast(at, 100 + at, 0.1, 30.0, 1.0) for at in range(count)]) == expected


def test_time_series_that_bleaches_and_drifts_keeps_all_but_its_faintest_planes():
    first = sparse(1, (0,), noise, float)[0]
    stack = np.stack([first * 0.9**at + 3 * at for at in range(30)])
    found = survey(PlaneStack(stack))
    assert found.shown == tuple((at,) for at in range(len(found.shown)))
    assert 10 <= len(found.shown) <= 25
    assert 0.8 * first.max() < found.intensities.high < first.max()


def test_planes_out_of_focus_take_part_in_the_range():
    sharp = sparse(1, (0,), noise, float)[0]
    hazy = np.stack([cv2.GaussianBlur(sharp, (0, 0), 6) + 50] * 9)
    found = survey(PlaneStack(np.concatenate([hazy[:5], sharp[None], hazy[5:]])))
    assert len(found.shown) == 10
    assert found.fullest == (5,)


def test_the_range_of_a_uniform_stack_is_about_that_of_all_its_pixels():
    stack = np.stack([np.roll(sparse(1, (0,), noise, float)[0], 3 * at, axis=1) * (1 + at / 100) for at in range(20)])
    found = survey(PlaneStack(stack)).intensities
    assert (found.low, found.high) == pytest.approx(np.percentile(stack, [0.1, 99.8]), abs=0.05 * np.ptp(stack))


@pytest.mark.parametrize("copy", [lambda x: x.astype(np.uint16) * 257, lambda x: (x / 255).astype(np.float32)])
def test_the_planes_that_show_something_are_the_same_whatever_the_number_type(copy):
    stack = sparse(9, (2, 3, 7), noise)
    ours, theirs = survey(PlaneStack(stack)), survey(PlaneStack(copy(stack)))
    assert (ours.shown, ours.fullest) == (theirs.shown, theirs.fullest)
    np.testing.assert_array_equal(to_rgb(stack[3], ours.intensities), to_rgb(copy(stack)[3], theirs.intensities))


def test_hot_pixels_of_one_plane_do_not_make_it_the_one_that_counts():
    stack = sparse(10, (4,), noise, np.uint16)
    stack[8][::16, ::16] = 60_000
    assert survey(PlaneStack(stack)).shown == ((4,),)


def test_the_record_says_what_was_looked_at():
    record = survey(PlaneStack(sparse(6, (2, 3), black)[:, None])).record()
    assert record["planes"] == [[2, 0], [3, 0]]
    assert (record["planes_looked_at"], record["every_nth_pixel"]) == (6, 1)
