"""AIS: the maps of a segmentation decoder to labels, as micro-sam makes them."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from napari_sam_amg.amg.ais import _Joined, ais_labels, as_masks, painting_rules, watershed_labels
from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.labels import paint
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.sam.distance_maps import DistancePlanes
from tests.distance_planes import discs, smooth_planes
from tests.reference.torch_em import reference_gaussian, reference_watershed

MIDDLES = [(20, 20, 12), (20, 45, 12), (40, 80, 9), (60, 30, 15)]  # in the order of their seeds, row by row


def theirs(planes: DistancePlanes, min_size: int = 0) -> np.ndarray:
    maps = planes.centre_distance, planes.boundary_distance, planes.foreground
    return reference_watershed()(*maps, min_size=min_size)


def off_centre(sigma: float, seed: int) -> DistancePlanes:
    """Noise of which more is foreground than not."""
    planes = smooth_planes((120, 150), sigma, seed)
    return replace(planes, foreground=planes.foreground**0.5)


@pytest.mark.parametrize("sigma", [1.0, 2.5, 6.0])
@pytest.mark.parametrize("seed", range(4))
def test_labels_equal_torch_ems_on_random_maps(sigma: float, seed: int) -> None:
    """But for pixels on a border between two labels, on one level: which comes first their watershed leaves open."""
    planes = off_centre(sigma, seed)
    expected, found = theirs(planes), watershed_labels(planes)
    assert found.max() == expected.max() > 3
    np.testing.assert_array_equal(found > 0, expected > 0)
    different = found != expected
    assert different.mean() < 1e-3
    assert not (different & ~find_boundaries(found) & ~find_boundaries(expected.astype(np.int64))).any()


@pytest.mark.parametrize("min_size", [0, 300, 1000])
def test_discs_equal_torch_ems(min_size: int) -> None:
    planes, _ = discs((80, 100), MIDDLES)
    np.testing.assert_array_equal(watershed_labels(planes, min_size), theirs(planes, min_size))


def test_discs_are_found_as_they_are() -> None:
    planes, labels = discs((80, 100), MIDDLES)
    found = ais_labels(planes)
    assert found.dtype == np.int32
    assert (found != labels).mean() < 0.01
    assert found.max() == len(MIDDLES)


@pytest.mark.parametrize("seed", range(3))
def test_the_foreground_is_smoothed_before_as_by_micro_sam(seed: int) -> None:
    planes = off_centre(1.0, seed)
    smoothed = replace(planes, foreground=reference_gaussian(planes.foreground, 1.0))
    expected = theirs(smoothed)
    found = ais_labels(planes)
    assert (found != expected).mean() < 1e-3
    assert ((watershed_labels(planes) > 0) != (found > 0)).mean() > 0.01


def test_small_objects_are_left_out_and_ids_have_no_gaps() -> None:
    planes, labels = discs((80, 100), MIDDLES)
    areas = np.bincount(ais_labels(planes).ravel())[1:]
    found = ais_labels(planes, min_size=int(sorted(areas)[1]))
    assert found.max() == len(MIDDLES) - 1  # that of the smallest is gone, one of just that size is there
    assert np.bincount(found.ravel()).min() > 0
    assert found[labels == 3].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (7, 1)])
def test_tiny_images(shape: tuple[int, int]) -> None:
    zeros = np.zeros(shape, np.float32)
    whole = ais_labels(DistancePlanes(zeros + 1, zeros, zeros))
    np.testing.assert_array_equal(whole, np.ones(shape))
    assert len(as_masks(whole)) == 1
    nothing = as_masks(ais_labels(DistancePlanes(zeros, zeros, zeros)))
    assert len(nothing) == 0
    assert nothing.boxes.shape == (0, 4)


def test_masks_are_the_labels_and_know_no_scores() -> None:
    planes, _ = discs((80, 100), MIDDLES)
    labels = ais_labels(planes)
    masks = as_masks(labels)
    for row in range(len(masks)):
        np.testing.assert_array_equal(masks.frame(row), labels == row + 1)
        x, y = masks.points[row].astype(int)
        assert labels[y, x] == row + 1
    assert np.isnan(masks.predicted_iou).all()
    assert np.isnan(masks.stability_score).all()
    np.testing.assert_array_equal(masks.crop_boxes, [[0, 0, 100, 80]] * 4)


def test_painting_leaves_labels_as_they_are() -> None:
    """Pieces that hang together by a corner, specks, holes and rings, all of which the rules for masks would change."""
    labels = np.zeros((30, 40), np.int32)
    labels[2:10, 2:10], labels[10:14, 10:14], labels[5, 5] = 1, 1, 0
    labels[2:28, 16:38], labels[5:25, 19:35] = 2, 0
    labels[7:23, 21:33], labels[20, 5] = 3, 4
    params = AmgParameters(mode="ais", overlap="small", min_label_region_area=100, max_ring_area=50.0)
    painted = paint(as_masks(labels), painting_rules(params))
    np.testing.assert_array_equal(painted.labels, labels)
    assert painting_rules(replace(params, mode="amg")) == replace(params, mode="amg")


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_maps_of_crops_are_joined(layer: int) -> None:
    """Crops of one image give that image again, whatever order they come in."""
    planes = smooth_planes((61, 83), 2.0, 1)
    for crops in (layer_boxes((61, 83), layer, 0.34), layer_boxes((61, 83), layer, 0.34)[::-1]):
        joined = _Joined((61, 83))
        for crop in crops:
            joined.add(crop, cut(planes, crop))
        for name in ("foreground", "centre_distance", "boundary_distance"):
            np.testing.assert_array_equal(getattr(joined.planes, name), getattr(planes, name))


def test_each_pixel_is_taken_from_the_crop_in_which_it_lies_deepest() -> None:
    joined = _Joined((10, 100))
    for value, (x0, x1) in enumerate([(0, 60), (40, 100)], 1):
        flat = np.full((10, x1 - x0), value, np.float32)
        joined.add(CropBox(x0, 0, x1, 10, 1), DistancePlanes(flat, flat, flat))
    row = joined.planes.foreground[5]
    np.testing.assert_array_equal(row, [1] * 50 + [2] * 50)  # an edge of the image is no edge of a crop


def cut(planes: DistancePlanes, crop: CropBox) -> DistancePlanes:
    window = np.s_[crop.y0 : crop.y1, crop.x0 : crop.x1]
    return DistancePlanes(planes.foreground[window], planes.centre_distance[window], planes.boundary_distance[window])
