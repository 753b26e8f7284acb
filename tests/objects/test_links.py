"""Which labels of two planes belong together."""

import itertools
import time

import numpy as np
import pytest
import scipy.sparse as sp

from napari_sam_amg.amg.labels import LabelPlane
from napari_sam_amg.amg.masks import no_masks
from napari_sam_amg.amg.region import PaintedRegion, RegionCandidates, whole_plane
from napari_sam_amg.objects import overlaps
from napari_sam_amg.objects.chains import Chains
from napari_sam_amg.objects.links import assigned, links
from napari_sam_amg.objects.overlaps import iou_of_labels, iou_of_masks, pixels_of
from napari_sam_amg.params import AmgParameters
from tests.objects.discs import disc, masks_of


def brute_force(iou: np.ndarray) -> float:
    """The largest sum that a one-to-one matching has."""
    small = iou if iou.shape[0] <= iou.shape[1] else iou.T
    orders = itertools.permutations(range(small.shape[1]), small.shape[0])
    return max(sum(small[row, column] for row, column in enumerate(order)) for order in orders)


@pytest.mark.parametrize("seed", range(40))
def test_the_sum_of_ious_is_as_large_as_can_be(seed):
    random = np.random.default_rng(seed)
    iou = random.random(random.integers(1, 7, 2)) * (random.random() < random.random())
    iou = random.random(iou.shape) * (random.random(iou.shape) < 0.5)
    found = assigned(sp.coo_array(iou))
    assert found.iou.sum() == pytest.approx(brute_force(iou))
    assert len(set(found.one)) == len(set(found.other)) == len(found.one)
    np.testing.assert_array_equal(iou[found.one, found.other], found.iou)


def test_overlaps_are_those_of_counting_pixels():
    random = np.random.default_rng(1)
    one, other = (random.integers(0, 6, (20, 30)).astype(np.int32) for _ in range(2))
    found = iou_of_labels(one, other).toarray()
    for a, b in itertools.product(range(1, 6), repeat=2):
        expected = np.sum((one == a) & (other == b)) / np.sum((one == a) | (other == b))
        assert found[a, b] == pytest.approx(expected)
    assert not found[0].any()
    assert not found[:, 0].any()
    frames = [disc(30, 40, 9), disc(33, 44, 12), disc(90, 20, 5)]
    between = iou_of_masks(pixels_of(masks_of(frames)), pixels_of(masks_of(frames[::-1]))).toarray()
    for row, column in itertools.product(range(3), repeat=2):
        one, other = frames[row], frames[2 - column]
        assert between[row, column] == pytest.approx(np.sum(one & other) / np.sum(one | other))


@pytest.mark.parametrize("seed", range(5))
def test_many_labels_are_counted_as_few(seed, monkeypatch):
    """In a table of all pairs, or, where that would be larger than the plane, pair by pair."""
    random = np.random.default_rng(seed)
    one, other = (random.integers(0, 6, (20, 30)).astype(np.int32) for _ in range(2))
    few = iou_of_labels(one, other)
    monkeypatch.setattr(overlaps, "BINS", 0)
    many = iou_of_labels(one, other)
    assert few.shape == many.shape == (6, 6)
    np.testing.assert_array_equal(few.coords, many.coords)
    np.testing.assert_array_equal(few.data, many.data)


def test_nothing_is_linked_below_the_least_iou_and_at_it_all_is():
    one, other = (np.zeros((4, 8), np.int32) for _ in range(2))
    one[:, :6], other[:, 2:] = 1, 1  # 4 of 8 columns
    assert links(one, other, 0.5).iou.tolist() == [0.5]
    assert len(links(one, other, 0.51).iou) == 0
    assert len(links(np.zeros_like(one), other, 0.1).iou) == 0


def test_200_planes_of_300_objects_take_less_than_2_s():
    """Shapes that move and change, so that pairs compete; the time of the processor, of all but painting and tables."""
    random = np.random.default_rng(0)
    chains, spent = Chains(AmgParameters(link="t", link_iou=0.3)), 0.0
    for z in range(200):
        region = painted_squares(z, random)
        began = time.process_time()
        chains.add(region)
        spent += time.process_time() - began
    assert sum(len(section.chains) for section in chains.end()) > 250
    assert spent < 2


def painted_squares(z: int, random: np.random.Generator) -> PaintedRegion:
    y, x = np.mgrid[12:512:26, 12:500:30][:, :, :].reshape(2, -1)[:, :300] + random.integers(-4, 5, (2, 300))
    labels = np.zeros((512, 512), np.int32)
    for label, (row, column) in enumerate(zip(y.tolist(), x.tolist(), strict=True), 1):
        labels[row - 8 : row + 9, column - 8 : column + 9] = label
    shown = np.bincount(labels.ravel(), minlength=301)[1:]
    painted = LabelPlane(labels, np.arange(300), shown, shown, shown, np.zeros(300, bool))
    return PaintedRegion(RegionCandidates(whole_plane((z,), (512, 512)), None), no_masks((512, 512)), painted)
