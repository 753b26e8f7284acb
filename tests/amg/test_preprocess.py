import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange, percentile_range, remove_hot_pixels, to_rgb
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


def test_nan_and_infinity_are_black_and_white(cells):
    image = cells.astype(np.float32)
    image[:5, :5], image[10, :5], image[12, :5] = np.nan, np.inf, -np.inf
    rgb = seen(image)
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[10, 2].tolist() == [255, 255, 255]
    assert rgb[12, 2].tolist() == [0, 0, 0]
    assert np.count_nonzero(rgb[20:] != seen(cells)[20:]) < 0.01 * rgb[20:].size


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
    ("image", "message"),
    [
        (np.zeros((20, 20), np.uint8), "constant: every pixel is 0"),
        (np.full((20, 20), np.nan), "no finite pixel"),
        (np.full((20, 20), 7.5), "constant: every pixel is 7.5"),
    ],
)
def test_nothing_to_see(image, message):
    with pytest.raises(ValueError, match=message):
        percentile_range(PlaneStack(image))


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
