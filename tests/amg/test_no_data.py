"""Pixels that are NaN or infinite are no data: they look like what lies around them, or like nothing."""

import numpy as np
import pytest

from napari_sam_amg.amg import preprocess
from napari_sam_amg.amg.no_data import BESIDE, NARROW, closed, count_without_data
from napari_sam_amg.amg.one_pass import look
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import percentile_range, survey, to_rgb
from tests.amg.chunked import Chunked, plane, rows_of
from tests.disc_model import blobs

NO_DATA = [np.nan, np.inf, -np.inf]


def with_gaps(image, value, share, seed=0):
    gaps = np.random.default_rng(seed).random(image.shape[:2]) < share
    return np.where(gaps.reshape(*gaps.shape, *[1] * (image.ndim - 2)), value, image.astype(np.float32))


def ramp(height=40, width=50):
    return np.add.outer(np.arange(height) * 2.0, np.arange(width) * 3.0)


@pytest.mark.parametrize("value", NO_DATA)
@pytest.mark.parametrize("side", range(1, NARROW))
def test_a_narrow_gap_looks_like_what_is_around_it(value, side):
    image = ramp()
    image[10 : 10 + side, 20 : 20 + side] = value
    image[25:27, :], image[:, 44] = value, value  # lines of a camera, through the whole plane
    np.testing.assert_allclose(closed(image), ramp(), atol=5 * NARROW)


@pytest.mark.parametrize("value", NO_DATA)
def test_a_wide_gap_stays_one(value):
    image = ramp()
    image[10 : 10 + NARROW, 20 : 20 + NARROW] = value
    assert np.isnan(closed(image)[10 : 10 + NARROW, 20 : 20 + NARROW]).all()
    assert np.isnan(closed(image)).sum() == NARROW**2
    rgb = to_rgb(image, percentile_range(PlaneStack(image)))
    assert (rgb[10 : 10 + NARROW, 20 : 20 + NARROW] == 0).all()


def test_a_margin_is_no_narrow_gap():
    image = ramp()
    image[:5], image[:, -5:] = np.nan, np.inf
    assert np.isnan(closed(image)).sum() == 40 * 50 - 35 * 45


def test_each_channel_is_closed_by_itself():
    image = np.stack([ramp(), ramp() + 100, ramp() + 200], axis=2)
    image[10, 10, 0], image[20:30, 20:30, 1] = np.inf, np.nan
    found = closed(image)
    assert 40 <= found[10, 10, 0] <= 60
    assert np.isnan(found[20:30, 20:30, 1]).all()
    assert np.isfinite(found[..., 2]).all()
    assert count_without_data(image) == 101


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool])
def test_integers_are_as_they_are(dtype):
    image = (ramp() % 2).astype(dtype)
    np.testing.assert_array_equal(closed(image), image.astype(float))
    assert count_without_data(image) == 0


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.95])
def test_parts_are_closed_as_the_whole(share):
    image = with_gaps(ramp(120, 90), np.nan, share)
    image[30:60, 40:], image[80:95, :20] = np.nan, np.inf
    whole = closed(image)
    for top in range(0, 120, 7):
        first = max(top - BESIDE, 0)
        some = closed(image[first : top + 7 + BESIDE], slice(top - first, top - first + 7))
        np.testing.assert_array_equal(some, whole[top : top + 7])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", NO_DATA)
def test_pixels_without_data_change_neither_the_range_nor_what_is_seen(value, dtype):
    image = np.random.default_rng(1).normal(500, 20, (96, 128)) + 4 * blobs()
    image = image.astype(np.float16)
    gaps = with_gaps(image, value, 0.01).astype(dtype)
    clean, found = survey(PlaneStack(image)), survey(PlaneStack(gaps))
    assert found.intensities.low == pytest.approx(clean.intensities.low, rel=0.01)
    assert found.intensities.high == pytest.approx(clean.intensities.high, rel=0.01)
    seen, expected = to_rgb(gaps, found.intensities)[..., 0], to_rgb(image, clean.intensities)[..., 0]
    difference = np.abs(seen.astype(int) - expected)[~np.isfinite(gaps)]
    noise = np.abs(np.diff(expected.astype(int), axis=1))
    assert np.percentile(difference, 90) <= np.percentile(noise, 95)


@pytest.mark.parametrize("value", NO_DATA)
def test_half_a_plane_without_data_does_not_hide_hot_pixels_of_the_other_half(value):
    """Bright, with little contrast: if a gap counted as 0, half of that would be the least that is hot."""
    image = np.random.default_rng(0).normal(10_000, 50, (200, 200))
    image[100:, 100], image[50, 50] = 10_200, 13_000
    image[:, 110:] = value
    assert survey(PlaneStack(image)).intensities.high < 10_300
    assert to_rgb(image, survey(PlaneStack(image)).intensities)[50, 50, 0] < 250


def test_an_island_in_a_wide_gap_is_no_object():
    image = ramp()
    image[10:30, 10:30] = np.nan
    image[20, 20] = 500
    rgb = to_rgb(image, percentile_range(PlaneStack(image)))
    assert (rgb[10:30, 10:30] == 0).all()


@pytest.mark.parametrize("chunks", [(128, 2100), (530, 700), (7, 2100)])
def test_a_large_plane_shows_what_it_does_as_a_whole(chunks):
    image = with_gaps(plane(np.float32), np.inf, 0.02)
    image[200:260, 900:1300], image[:, :40], image[230, 1000] = np.nan, -np.inf, 9000
    image = image.astype(np.float32)
    whole = preprocess.measure(image)
    found = look(rows_of(Chunked(image, chunks)), False, image.dtype).contrast
    assert (found.low, found.high, found.bright, found.hot_margin, found.without_data) == (
        whole.low, whole.high, whole.bright, whole.hot_margin, whole.without_data,
    )  # fmt: skip
    np.testing.assert_allclose((found.structure, found.content), (whole.structure, whole.content), rtol=1e-6)
    assert whole.without_data == np.count_nonzero(~np.isfinite(image))


def test_a_part_of_a_large_plane_looks_as_it_does_in_the_whole():
    image = with_gaps(plane(np.float32, hot=3000), np.inf, 0.2)
    image[200:260, 900:1300] = np.nan
    storage = Chunked(image.astype(np.float32), (100, 300))
    stack = PlaneStack(storage)
    images = PlaneImages(stack, survey(stack), None)
    whole = to_rgb(storage.pixels, survey(stack).intensities)
    storage.reads.clear()
    for top in range(0, 530, 90):
        for left in range(0, 2100, 250):
            window = slice(top, min(top + 90, 530)), slice(left, min(left + 250, 2100))
            np.testing.assert_array_equal(images.image((), window)[0], whole[window])
    assert set(storage.reads.values()) == {1}


def test_how_many_there_are_is_said():
    image = ramp()
    image[3, 3], image[4, 4], image[5, 5] = NO_DATA
    one = survey(PlaneStack(image))
    assert one.record()["pixels_without_data"] == 3
    assert one.gaps.startswith("3 pixels are NaN or infinite, which is taken for no data: gaps less than 9 pixels wide")
    several = survey(PlaneStack(np.stack([image, ramp(), image])))
    assert several.without_data == {(0,): 3, (2,): 3}
    assert several.gaps.startswith("6 pixels are NaN or infinite in 2 planes, ")
    assert (survey(PlaneStack(ramp())).gaps, survey(PlaneStack(ramp().astype(int))).gaps) == ("", "")
    assert "pixels_without_data" not in survey(PlaneStack(ramp())).record()
