"""The crop layer of a guided search: by the sizes of the objects that the model's maps show."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_sam_amg.amg.crops import layer_boxes
from napari_sam_amg.amg.last_embedding import LastEmbedding
from napari_sam_amg.amg.magnify import Choice, layer_by_maps, magnified
from napari_sam_amg.amg.object_sizes import Sizes, first_thick_enough, seen_sizes
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import generate_masks, segment_planes
from napari_sam_amg.sam.object_maps import SeenObjects
from tests.amg.models import GivenMaps, SizedModel, field_of_discs

GUIDED = AmgParameters(crop_layers="auto", points_per_side=32, point_search="guided", coarse_points_per_side=8)


class SeeingModel(SizedModel):
    """Sees discs that are at least ``least`` px wide in its input, and no others."""

    sees_objects = True

    def __init__(self, least: float = 0.0) -> None:
        super().__init__()
        self.least = least

    def embed(self, image):
        embedding = super().embed(image)
        _, _, boxes, _ = cv2.connectedComponentsWithStats((image[..., 0] > 127).astype(np.uint8))
        boxes = boxes[1:].astype(float)
        widths = np.minimum(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT])
        boxes = boxes[widths * self.img_size / max(image.shape) >= self.least]
        widths = np.minimum(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT])
        seen = SeenObjects(boxes[:, :2], boxes[:, cv2.CC_STAT_AREA], widths, np.zeros((1, 1), bool))
        object.__setattr__(embedding, "maps", GivenMaps(seen))
        return embedding


def sizes(thickness, areas):
    return Sizes(np.array(thickness, float), np.array(areas, float), 512)


def test_half_of_all_pixels_lie_in_objects_at_least_as_large():
    fragments = [0.02] * 20
    assert sizes([*fragments, 0.2, 0.3], [0.001] * 20 + [0.03, 0.04]).typical() == (0.2, 0.03)
    assert sizes([0.3, 0.2, 0.1], [1, 1, 1]).typical() == (0.2, 1)


def test_of_few_objects_and_of_tiny_ones_nothing_is_concluded():
    assert sizes([0.3, 0.3], [0.1, 0.1]).typical() is None
    assert sizes([], []).typical() is None
    assert sizes([0.01] * 3, [0.1] * 3).typical() == (0.01, 0.1)
    assert sizes([0.0099] * 3, [0.1] * 3).typical() is None


SIDES = (1000, 667, 380, 200)


@pytest.mark.parametrize(
    ("thickness", "seen_in", "img_size", "layer"),
    [
        (0.05, 0, 512, 0),
        (0.0499, 0, 512, 1),  # scaled down: layer 0 needs more
        (0.0499, 0, 1000, 0),
        (0.04, 0, 1000, 0),
        (0.0399, 0, 1000, 1),
        (0.0301, 0, 512, 1),  # .0451 in layer 1
        (0.03, 0, 512, 2),
        (0.03, 0, 667, 2),
        (0.01141, 0, 512, 2),  # .03003
        (0.01139, 0, 512, 3),
        (0.9, 2, 512, 2),  # no layer before that in which they were seen
        (0.01, 1, 512, 3),
        (0.001, 0, 512, 3),
    ],
)
def test_the_first_layer_in_which_objects_are_thick_enough(thickness, seen_in, img_size, layer):
    assert first_thick_enough(thickness, SIDES, seen_in, img_size) == layer


def test_there_may_be_fewer_layers():
    assert first_thick_enough(0.001, SIDES[:2], 0, 512) == 1


@pytest.mark.parametrize(("diameter", "layer"), [(24, 0), (8, 1), (5, 2), (3, 2)])
def test_one_look_at_the_whole_image_tells_the_layer(diameter, layer):
    model = SeeingModel()
    choice = layer_by_maps(field_of_discs(diameter, 2 * diameter), model, GUIDED)
    assert choice.layer == layer
    assert len(model.embedded) == 1
    assert model.decoded == 0


def test_objects_too_small_for_that_are_looked_at_in_the_next_layer():
    model = SeeingModel(least=6)  # px of 256: discs of 5 are seen from layer 1 on
    choice = layer_by_maps(field_of_discs(4, 12), model, GUIDED)
    assert choice.layer == 2
    assert 1 < len(model.embedded) <= 1 + 4
    assert choice.object_area == pytest.approx(13 / 98**2, rel=0.1)


def test_where_maps_show_nothing_points_are_tried():
    model = SeeingModel(least=1e9)
    image = field_of_discs(40, 80)
    assert layer_by_maps(image, model, GUIDED) is None
    assert magnified(image, model, GUIDED).crop_n_layers == 1
    assert model.decoded > 0


def test_the_exact_search_is_left_as_it_is():
    """Its layer is chosen by trial points, whether or not there are maps."""
    image, params = field_of_discs(40, 80), replace(GUIDED, point_search="grid")
    seeing, plain = SeeingModel(), SizedModel()
    assert magnified(image, seeing, params) == magnified(image, plain, params)
    assert seeing.decoded == plain.decoded > 0


def test_the_coarse_grid_has_as_much_fewer_points_as_the_grid():
    chosen = magnified(field_of_discs(9, 18), SeeingModel(), replace(GUIDED, coarse_points_per_side=7))
    assert (chosen.crop_layers, chosen.crop_n_layers) == ("last", 1)
    assert chosen.points_per_side == Choice(1, chosen_area(9)).points_per_side(32)
    assert chosen.coarse_points_per_side == -(-7 * chosen.points_per_side // 32)
    nothing = magnified(None, SeeingModel(), GUIDED)
    assert (nothing.crop_n_layers, nothing.points_per_side, nothing.coarse_points_per_side) == (0, 32, 8)


def chosen_area(diameter):
    """Of a disc, as a share of a crop of the second layer of 256 x 256 px."""
    crop = layer_boxes((256, 256), 1, GUIDED.crop_overlap_ratio)[0]
    return np.count_nonzero(field_of_discs(diameter, 128)[:128, :128, 0]) / np.prod(crop.size)


def test_sizes_are_shares_of_the_longer_side_of_their_crop():
    image = field_of_discs(20, 64)[:128]  # 2 rows of 4 discs
    found = seen_sizes(image, SeeingModel(), layer_boxes((128, 256), 0, 0.3))
    np.testing.assert_allclose(found.thickness, [21 / 256] * 8)
    assert found.areas == pytest.approx(np.pi * 10**2 / 256**2, rel=0.15)
    assert found.img_size == 256


def test_a_model_whose_embeddings_have_no_maps_shows_nothing():
    found = seen_sizes(field_of_discs(20, 64), SizedModel(), layer_boxes((256, 256), 0, 0.3))
    assert (len(found.areas), found.img_size) == (0, 256)


@pytest.mark.parametrize(("diameter", "looks"), [(24, 1), (8, 1 + 4)])
def test_the_look_that_tells_the_layer_is_not_done_again_by_the_run(diameter, looks):
    image = field_of_discs(diameter, 2 * diameter)
    for run in (generate_masks, lambda *given: list(segment_planes(PlaneStack(given[0], rgb=True), *given[1:]))):
        model = SeeingModel()
        run(image, model, replace(GUIDED, stability_score_thresh=0.5))
        assert len(model.embedded) == looks


def test_every_plane_and_every_crop_is_looked_at_for_itself():
    planes = np.stack([field_of_discs(60, spacing)[..., 0] for spacing in (64, 80, 120)])
    params = replace(GUIDED, stability_score_thresh=0.5)
    found = [step.result for step in segment_planes(PlaneStack(planes), SeeingModel(), params)]
    counts = [len(result.features) for result in found if result is not None]
    assert counts == [4 * 4, 3 * 3, 2 * 2]


def test_an_image_of_the_same_shape_elsewhere_is_another_one():
    model = LastEmbedding(SeeingModel())
    images = [field_of_discs(24, 48), field_of_discs(24, 64)]
    first, other = (model.embed(image) for image in images)
    assert model.embed(images[1]) is other
    assert model.embed(images[0]) is not first  # only the last one is kept
    assert len(first.maps.objects()) != len(other.maps.objects())
    assert model.embed(images[1][:128]) is not other
    assert model.sees_objects
    assert not LastEmbedding(SizedModel()).sees_objects
