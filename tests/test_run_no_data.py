"""Images of which some pixels are NaN or infinite have the labels that they have without these."""

import cv2
import numpy as np
import pytest

from napari_sam_amg import PlaneStack, generate_masks, load_model, parameters_for, segment_planes

CENTRES = [(x, y) for y in (60, 190) for x in (50, 125, 200, 275)]


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def discs():
    """Eight of them, (250, 330) float32."""
    image = np.zeros((250, 330), np.float32)
    for number, centre in enumerate(CENTRES):
        cv2.circle(image, centre, 20 + number, 1, -1)
    noise = np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32)
    return cv2.GaussianBlur(image, (0, 0), 1.5) + noise + 1


def labels_of(image, model, **given):
    """Of a plane, or of a stack of them."""
    found = segment_planes(PlaneStack(image), model, parameters_for(model, **given))
    planes = [step.result for step in found if step.result is not None]
    rows = [[plane.labels for plane in planes if plane.index == index] for index in PlaneStack(image).indices]
    return np.stack([np.concatenate(bands) for bands in rows]).reshape(image.shape)


def assert_alike(found, expected, least=0.9):
    """As many labels, each with its own of the others."""
    assert len(np.unique(found)) == len(np.unique(expected))
    for label in np.unique(expected)[1:]:
        mine = expected == label
        other = found == np.bincount(found[mine]).argmax()
        assert (mine & other).sum() / (mine | other).sum() > least


@pytest.fixture(scope="module")
def clean(discs, model):
    labels = labels_of(discs, model)
    assert labels.max() == 8
    return labels


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_pixel_in_a_hundred_changes_no_label(discs, clean, model, value):
    image = discs.copy()
    image[np.random.default_rng(1).random(image.shape) < 0.01] = value
    assert_alike(labels_of(image, model), clean)
    assert len(generate_masks(image, model)) >= 8


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_along_a_margin_without_data_nothing_is_found(discs, clean, model, value):
    """As of an image that was turned to lie on another."""
    image = discs.copy()
    margin = np.add.outer(np.arange(250) * 0.1, np.arange(330)) > 175
    image[margin] = value
    labels = labels_of(image, model)
    assert len(np.unique(labels)) == 5
    assert_alike(np.where(np.arange(330) < 150, labels, 0), np.where(np.arange(330) < 150, clean, 0))
    assert not labels[margin].any()


def test_planes_of_a_stack_and_one_without_any_data(discs, clean, model):
    image = np.stack([discs, np.full_like(discs, np.nan), discs])
    image[2][np.random.default_rng(1).random(discs.shape) < 0.01] = np.inf
    labels = labels_of(image, model)
    assert not labels[1].any()
    assert_alike(labels[0], clean)
    assert_alike(labels[2], clean)


def test_tiles_of_a_large_plane(discs, clean, model):
    image = np.pad(discs, ((0, 6), (0, 6)), mode="edge")
    image[np.random.default_rng(1).random(image.shape) < 0.01] = np.inf
    whole = labels_of(np.pad(discs, ((0, 6), (0, 6)), mode="edge"), model, tile_size=256)
    assert_alike(labels_of(image, model, tile_size=256), whole)
