"""The rules of the crop layer's choice, each at its edge."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam_amg.amg import magnify
from napari_sam_amg.amg.crops import CropBox, layer_boxes
from napari_sam_amg.amg.magnify import Choice, Trial, best_layer, magnified, trial_spots, try_layer
from napari_sam_amg.params import AmgParameters
from tests.disc_model import BlobModel, blobs

AUTO = AmgParameters(crop_layers="auto", points_per_side=16)
IMAGE = np.zeros((1000, 1000, 3), np.uint8)


def trial(thickness, iou=0.5, areas=None, side=100):
    values = np.array(thickness, float)
    ious = np.broadcast_to(np.array(iou, np.float32), values.shape)
    return Trial(ious, values, np.array(areas if areas is not None else [9] * len(values)), (side // 2, side))


@pytest.mark.parametrize(
    ("thickness", "iou", "layers"),
    [
        ([0.06] * 3, 0.5, {0, 1, 2, 3}),
        ([0.0599] * 3, 0.5, {2, 3}),
        ([0.035] * 3, 0.5, {2, 3}),
        ([0.0349] * 3, 0.5, set()),
        ([0.036] * 3, 0.71, {0, 1, 2, 3}),  # almost, and the model is very sure
        ([0.036] * 3, 0.69, {2, 3}),
        ([0.0359] * 3, 0.99, {2, 3}),
        ([0.0349] * 3, 0.99, set()),
        ([0.036] * 3, [0.99, 0.69, 0.49], {0, 1, 2, 3}),  # the mean counts, .72
        ([0.036] * 3, [0.72, 0.72, 0.6], {2, 3}),  # .68
        ([0.0, 0.06, 0.06], 0.5, {0, 1, 2, 3}),  # the median counts
        ([0.034, 0.034, 0.9], 0.5, set()),
        ([0.9, 0.9], 0.99, set()),  # too few
        ([], 0.5, set()),
    ],
)
def test_when_a_layer_suits(thickness, iou, layers):
    assert {layer for layer in range(4) if trial(thickness, iou).suits(layer)} == layers


def choice_of(trials, monkeypatch, image=IMAGE):
    """What is chosen if the layers' trials are these, and how many layers were tried."""
    asked = []

    def scripted(image, model, params, crops, spots):
        asked.append(crops)
        return trials[len(asked) - 1]

    monkeypatch.setattr(magnify, "try_layer", scripted)
    return best_layer(image, BlobModel(), AUTO), len(asked)


@pytest.mark.parametrize("layer", range(4))
def test_the_first_layer_that_suits_is_taken_and_no_more_are_tried(layer, monkeypatch):
    trials = [trial([0.01] * 9)] * layer + [trial([0.06] * 3, areas=[10, 20, 90])] * 4
    assert choice_of(trials, monkeypatch) == (Choice(layer, 20 / 5000), layer + 1)


@pytest.mark.parametrize(
    ("trials", "layer"),  # masks, their thickness and the crop's side in each layer
    [
        # most masks are in the second: 3 px thick, 6 % of 50 px, 3.5 % of 85 px
        ([(2, 0.04, 100), (5, 0.05, 60), (3, 0.02, 90), (0, 0, 9)], 3),
        ([(2, 0.04, 100), (5, 0.05, 60), (3, 0.02, 85), (0, 0, 9)], 2),
        ([(5, 0.041, 100), (3, 0.02, 68), (3, 0.02, 50), (0, 0, 9)], 1),
        ([(5, 0.041, 100), (3, 0.02, 69), (3, 0.02, 50), (0, 0, 9)], 2),
        ([(3, 0.02, 100), (3, 0.055, 70), (3, 0.02, 57), (0, 0, 10)], 2),  # of equals the first
        ([(5, 0.01, 100), (2, 0.01, 70), (2, 0.01, 60), (0, 0, 50)], 3),  # thick enough in none: the last
        ([(2, 0.5, 100), (0, 0, 70), (0, 0, 60), (0, 0, 50)], 0),  # in the layer in which they were too few
    ],
)
def test_if_none_suits_the_sizes_in_the_trial_with_most_masks_decide(trials, layer, monkeypatch):
    scripted = [trial([thickness] * count, side=side) for count, thickness, side in trials]
    choice, tried = choice_of(scripted, monkeypatch)
    assert (choice.layer, tried) == (layer, 4)
    side = trials[layer][2]
    assert choice.object_area == pytest.approx(9 / (side * (side // 2)))


def test_if_nothing_is_found_the_image_is_left_whole(monkeypatch):
    assert choice_of([trial([])] * 4, monkeypatch) == (Choice(0), 4)


def test_layers_are_tried_whose_crops_have_40_pixels(monkeypatch):
    sides = {layer_boxes((side, 200), 1, AUTO.crop_overlap_ratio)[0].size[0]: side for side in range(40, 100)}
    for crop, tried in ((39, 1), (40, 2)):
        image = np.zeros((sides[crop], 200, 3), np.uint8)
        assert choice_of([trial([])] * 4, monkeypatch, image)[1] == tried


@pytest.mark.parametrize(
    ("layer", "asked", "fewest", "most"),
    [(0, 32, 32, 32), (1, 32, 16, 32), (2, 32, 16, 32), (3, 32, 8, 16), (1, 33, 17, 33), (3, 33, 9, 17), (3, 1, 1, 1)],
)
def test_points_per_side_have_limits(layer, asked, fewest, most):
    assert Choice(layer, 1.0).points_per_side(asked) == fewest
    assert Choice(layer, 1e-9).points_per_side(asked) == most
    assert Choice(layer).points_per_side(asked) == fewest


@pytest.mark.parametrize(("area", "points"), [(1.25 / 20**2, 20), (1.25 / 20.01**2, 21), (1.25 / 19.99**2, 20)])
def test_as_many_points_as_the_median_object_needs(area, points):
    assert Choice(2, area).points_per_side(32) == points


def test_an_image_with_nothing_in_it_needs_no_trial():
    model = BlobModel()
    chosen = magnified(None, model, AUTO)
    assert (chosen.crop_layers, chosen.crop_n_layers, chosen.points_per_side) == ("last", 0, 16)
    assert model.embedded == []


def test_every_nth_of_the_half_of_the_cells_with_most_contrast_is_tried():
    ranks = np.random.default_rng(0).permutation(64)  # of the cells, row by row: 0 has the most contrast
    image = np.zeros((64, 96), np.uint8)
    for cell, rank in enumerate(ranks):
        row, column = divmod(cell, 8)
        image[row * 8 : row * 8 + 4, column * 12 : column * 12 + 12] = 3 * (64 - rank)
    spots = trial_spots(np.repeat(image[..., None], 3, axis=2))
    assert len(spots) == 8
    expected = [int(np.flatnonzero(ranks == rank)[0]) for rank in (0, 4, 8, 13, 17, 22, 26, 31)]
    for spot, cell in zip(spots, expected, strict=True):
        row, column = divmod(cell, 8)
        x, y = np.meshgrid(column * 12 + np.array([2, 6, 10]), row * 8 + np.array([8, 24, 40]) / 6)
        np.testing.assert_allclose(spot, np.stack([x.ravel(), y.ravel()], axis=1))


def test_a_spot_is_tried_in_the_crop_in_whose_middle_it_lies_and_masks_that_its_edge_cuts_do_not_count():
    image = np.repeat(blobs((96, 128), ((20, 20, 8), (64, 48, 10)))[..., None], 3, axis=2)
    crops = [CropBox(0, 0, 70, 96, 1), CropBox(60, 0, 128, 96, 1)]
    spots = [np.array([[20.0, 20.0]]), np.array([[62.0, 48.0]]), np.array([[66.0, 48.0]])]
    model = BlobModel()
    found = try_layer(image, model, replace(AUTO, stability_score_thresh=0.0), crops, spots)
    assert [view.shape[1] for view in model.embedded] == [70, 68]
    assert len(found.thickness) == 1  # the disc at the edge of both is cut
    assert found.thickness[0] * 96 == pytest.approx(17, abs=2)
    assert found.areas[0] == pytest.approx(np.pi * 8**2, rel=0.2)
    assert found.crop_size == (96, 70)


@pytest.mark.parametrize(("iou", "counted"), [(0.41, 1), (0.4, 0), (0.39, 0)])
def test_masks_of_which_the_model_is_not_sure_do_not_count(iou, counted, monkeypatch):
    monkeypatch.setattr("tests.disc_model.BLOB_IOU", (0.1, iou, 0.1))
    image = np.repeat(blobs()[..., None], 3, axis=2)
    found = try_layer(image, BlobModel(), AUTO, [CropBox(0, 0, 128, 96, 0)], [np.array([[60.0, 30.0]])])
    assert len(found.thickness) == counted
