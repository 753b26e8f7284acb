"""Made-up images: any layout in any manner is an image with instances that show."""

from collections.abc import Callable

import numpy as np
import pytest

from training.synthetic import MANNERS, SIDE, Labels, depth_inside, depth_outside, finish, scatter, synthesize, tissue
from training.views import Floats

LAYOUTS = (scatter, tissue)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(12))
def test_layouts_have_instances(layout: Callable[..., Labels], seed: int) -> None:
    labels = layout(np.random.default_rng(seed))
    assert labels.shape == (SIDE, SIDE)
    assert labels.min() >= 0
    assert labels.max() > 0


@pytest.mark.parametrize("manner", [draw for _, draw in MANNERS])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_manner_tells_instances_from_the_rest(
    manner: Callable[..., Floats], layout: Callable[..., Labels]
) -> None:
    """Over some images brightness changes more at outlines than elsewhere."""
    rng, contrasts = np.random.default_rng(0), []
    for _ in range(8):
        labels = layout(rng)
        image = manner(rng, labels).reshape(SIDE, SIDE, -1).mean(axis=2)
        assert np.isfinite(image).all()
        slope = np.hypot(*np.gradient(image))
        edge = (depth_inside(labels) <= 2) & (depth_outside(labels) <= 2)
        contrasts.append(slope[edge].mean() / slope[~edge].mean())
    assert np.median(contrasts) > 1.1


@pytest.mark.parametrize("labels", [np.zeros((SIDE, SIDE), np.int32), np.ones((SIDE, SIDE), np.int32)])
@pytest.mark.parametrize("manner", [draw for _, draw in MANNERS])
def test_nothing_and_everything_can_be_drawn(manner: Callable[..., Floats], labels: Labels) -> None:
    rng = np.random.default_rng(0)
    assert np.isfinite(finish(rng, manner(rng, labels))).all()


def test_depths_are_distances() -> None:
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[100:120, 100:120] = 1
    labels[100:120, 120:140] = 2
    inside, outside = depth_inside(labels), depth_outside(labels)
    assert inside[110, 100] == 1
    assert inside[110, 119] == 1  # where it touches the other
    assert inside[110, 110] > 8
    assert inside[0, 0] == 0
    assert outside[110, 90] == pytest.approx(10, abs=0.5)


def test_the_same_seed_makes_the_same_image() -> None:
    one, two = (synthesize(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.labels, two.labels)


def test_colours_and_greys_come() -> None:
    rng = np.random.default_rng(0)
    assert {synthesize(rng).image.ndim for _ in range(40)} == {2, 3}
