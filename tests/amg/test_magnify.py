from dataclasses import replace

import numpy as np
import pytest

from napari_sam_amg.amg.magnify import Choice, best_layer, magnified, trial_spots
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import generate_masks
from tests.amg.models import SizedModel, field_of_discs
from tests.disc_model import blobs

AUTO = AmgParameters(crop_layers="auto", points_per_side=16)


@pytest.mark.parametrize(("diameter", "layer"), [(60, 0), (40, 1), (24, 2), (12, 3)])
def test_the_layer_in_which_objects_have_the_size_that_the_model_knows(diameter, layer):
    # crops of the layers 1, 2, 3 are .67, .38, .20 of the side, and all are seen at 256 px
    assert best_layer(field_of_discs(diameter, 2 * diameter), SizedModel(), AUTO).layer == layer


def test_small_objects_are_found_in_the_chosen_layer_and_lost_without():
    image = field_of_discs(24, 48)
    auto = replace(AUTO, stability_score_thresh=0.5)
    assert len(generate_masks(image, SizedModel(), replace(auto, crop_layers="all"))) == 0
    assert len(generate_masks(image, SizedModel(), auto)) == 5 * 5


def test_an_image_that_shows_nothing_is_left_whole():
    assert best_layer(np.zeros((256, 256, 3), np.uint8), SizedModel(), AUTO) == Choice(0)


def test_layers_of_tiny_crops_are_not_tried():
    model = SizedModel()
    best_layer(np.repeat(blobs((48, 60))[..., None], 3, axis=2), model, AUTO)
    assert {image.shape[:2] for image in model.embedded} == {(48, 60)}


def test_the_chosen_layer_replaces_the_word_and_halves_the_points():
    chosen = magnified(field_of_discs(40, 80), SizedModel(), AUTO)
    assert (chosen.crop_layers, chosen.crop_n_layers, chosen.points_per_side) == ("last", 1, 8)


@pytest.mark.parametrize(("diameter", "layer"), [(40, 1), (24, 2), (12, 3)])
def test_the_size_of_the_objects_is_that_in_a_crop(diameter, layer):
    crop = 256 * (0.67, 0.38, 0.20)[layer - 1]
    choice = best_layer(field_of_discs(diameter, 2 * diameter), SizedModel(), AUTO)
    assert choice.object_area == pytest.approx(np.pi * diameter**2 / 4 / crop**2, rel=0.2)


@pytest.mark.parametrize(
    ("choice", "points"),
    [
        (Choice(0, 0.0001), 32),  # as many as were asked for, whatever the size
        (Choice(1, 0.01), 16),  # every object holds several
        (Choice(2, 0.00488), 17),  # 1.25 of 17 x 17 points in 1/205 of the crop
        (Choice(2, 0.002), 25),
        (Choice(2, 0.0002), 32),  # no more than are asked for of the whole image
        (Choice(3, 0.01), 12),
        (Choice(3, 0.001), 16),  # of 64 crops
        (Choice(1), 16),  # nothing was found
        (Choice(2, 0.0), 16),
    ],
)
def test_small_objects_have_more_points(choice, points):
    assert choice.points_per_side(32) == points
    assert abs(choice.points_per_side(64) - 2 * points) <= 1


def test_the_trial_is_exact_also_where_the_search_is_not():
    image = field_of_discs(40, 80)
    models = SizedModel(), SizedModel()
    searches = (AUTO, replace(AUTO, point_search="hierarchical"))
    chosen = [magnified(image, model, params) for model, params in zip(models, searches, strict=True)]
    assert models[0].decoded == models[1].decoded
    assert chosen[1] == replace(chosen[0], point_search="hierarchical")


def test_other_parameters_are_left_alone():
    params = AmgParameters(crop_n_layers=1)
    assert magnified(field_of_discs(40, 80), SizedModel(), params) is params


def test_explicit_grids_cannot_be_given_to_a_layer_that_is_not_known_yet():
    params = AmgParameters(points_per_side=None, point_grids=(((0.5, 0.5),),), crop_layers="auto")
    with pytest.raises(ValueError, match="crop_layers='auto' needs points_per_side"):
        magnified(field_of_discs(40, 80), SizedModel(), params)


def test_trial_points_lie_inside_the_image():
    points = np.concatenate(trial_spots(np.repeat(blobs((33, 90))[..., None], 3, axis=2)))
    assert points.min() >= 0
    assert np.all(points < (90, 33))


def test_a_single_column_of_pixels_more_than_cells_is_no_error():
    trial_spots(np.zeros((8, 200, 3), np.uint8))
