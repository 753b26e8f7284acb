"""Objects out of the embedded model's dense maps."""

import numpy as np
import pytest
import torch

from napari_sam_amg import load_model
from napari_sam_amg.run import as_rgb
from napari_sam_amg.sam.centre_votes import CentreMaps, find_centres
from napari_sam_amg.sam.unet_encoder import CENTER_UNIT, MAP_STRIDE
from tests.disc_model import blobs
from tests.samples import sample


def maps_of(labels):
    """What a model that is right predicts of a label image at the maps' resolution: foreground, offsets."""
    grid = np.indices(labels.shape, dtype=np.float64)
    offsets = np.zeros((2, *labels.shape), np.float32)
    for label in range(1, labels.max() + 1):
        inside = labels == label
        offsets[:, inside] = grid[:, inside].mean(axis=1)[:, None] - grid[:, inside]
    return np.where(labels > 0, 0.9, 0.02).astype(np.float32), offsets


def labelled(discs, shape=(64, 80)):
    labels = np.zeros(shape, np.int32)
    for index, disc in enumerate(discs, 1):
        labels[blobs(shape, [disc]) > 0] = index
    return labels


def seen(labels):
    """Whose the points are, and the areas of these objects."""
    points, owners = find_centres(*maps_of(labels))
    return [labels[int(y), int(x)] for x, y in points], np.bincount(owners.ravel())[1:].tolist()


@pytest.mark.parametrize(
    "discs",
    [
        [(30, 20, 8)],
        [(20, 20, 8), (36, 20, 8)],  # they touch
        [(0, 0, 8), (79, 63, 8)],  # cut by the corners
        [(10, 10, 2), (40, 40, 20)],  # tiny, and large
        [(10, 10, 2), (15, 10, 2)],  # tiny neighbours
    ],
)
def test_every_disc_has_a_point_inside_and_its_area(discs):
    labels = labelled(discs)
    owners, areas = seen(labels)
    assert sorted(owners) == list(range(1, len(discs) + 1))
    np.testing.assert_array_equal(areas, np.bincount(labels.ravel())[owners])


def test_the_point_is_the_pixel_nearest_to_the_centre_also_where_that_lies_outside():
    ring = labelled([(30, 30, 20)]) - labelled([(30, 30, 12)])
    ((x, y),), _ = find_centres(*maps_of(ring))
    assert np.hypot(x - 30, y - 30) == pytest.approx(12.5, abs=0.6)
    ((x, y),), _ = find_centres(*maps_of(labelled([(30, 20, 8)])))
    assert (x, y) == (30, 20)


def test_without_foreground_there_is_nothing():
    points, owners = find_centres(np.full((9, 11), 0.3, np.float32), np.zeros((2, 9, 11), np.float32))
    assert points.shape == (0, 2)
    assert owners.tolist() == np.zeros((9, 11)).tolist()


def test_a_plateau_of_votes_is_one_object():
    """Each pixel is a centre of its own, and the four in the middle have as many votes; the first of them is taken."""
    foreground, offsets = np.zeros((8, 12), np.float32), np.zeros((2, 8, 12), np.float32)
    foreground[3:5, 3:7] = 0.9
    points, owners = find_centres(foreground, offsets)
    assert points.tolist() == [[4, 3]]
    np.testing.assert_array_equal(owners, foreground > 0)


def test_votes_of_a_few_pixels_that_agree_are_enough_and_those_that_scatter_are_not():
    labels = labelled([(30, 20, 1)])
    assert len(seen(labels)[0]) == 1
    foreground, offsets = maps_of(labels)
    offsets[0] += np.random.default_rng(0).permutation(labels.size).reshape(labels.shape) % 64 - 20
    assert len(find_centres(foreground, offsets)[0]) == 0


@pytest.mark.parametrize(("input_size", "size"), [((128, 160), (256, 320)), ((127, 159), (254, 318))])
def test_objects_are_in_pixels_of_the_image(input_size, size):
    """Maps at half of the input's resolution, of an input at half of the image's; what lies in the padding is none."""
    foreground, offsets = maps_of(labelled([(30, 20, 8), (70, 75, 4)], (80, 80)))
    logits = np.log(foreground / (1 - foreground))
    maps = np.stack([logits, logits, *offsets * (MAP_STRIDE / CENTER_UNIT)])
    found = CentreMaps(torch.from_numpy(maps), input_size, size).objects()
    assert len(found) == 1
    np.testing.assert_allclose(found.points, [[121, 81]])
    np.testing.assert_allclose(found.areas, 16 * np.count_nonzero(foreground[:64] > 0.5))
    np.testing.assert_allclose(found.thickness, 4 * 16, atol=4)
    assert found.background.shape == (64, 80)
    near = blobs((64, 80), [(30, 20, 16)]) > 0
    assert found.background[~near].all()
    assert not found.background[foreground[:64] > 0.5].any()


def test_points_of_the_last_row_stay_inside_the_image():
    foreground, offsets = maps_of(labelled([(40, 63, 3)], (64, 80)))
    logits = np.log(foreground / (1 - foreground))
    maps = torch.from_numpy(np.stack([logits, logits, *offsets * (MAP_STRIDE / CENTER_UNIT)]))
    ((_, y),) = CentreMaps(maps, (127, 160), (127, 160)).objects().points
    assert y < 127


def test_the_embedded_model_sees_the_nuclei_of_the_sample():
    model, image = load_model(device="cpu"), as_rgb(sample("nuclei.tif"))
    found = model.embed(image).maps.objects()
    assert 50 < len(found) < 400
    grey = image[..., 0]
    row, column = found.points.T[::-1].astype(int)
    assert np.median(grey[row, column]) > 2 * np.median(grey)
