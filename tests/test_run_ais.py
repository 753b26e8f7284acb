"""AIS through the one entry function, and what it says where it cannot be had."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam_amg import AmgParameters, PlaneStack, generate_masks, load_model, propose_candidates, segment_planes
from napari_sam_amg.amg.ais import ais_labels
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.run import as_rgb
from tests.disc_model import BlobModel, blobs
from tests.finetune_model import FinetuneModel, tiny_finetune

AIS = AmgParameters(mode="ais")
STACK = np.stack([
    blobs((96, 128), ((20, 20, 8), (60, 30, 12))),
    np.zeros((96, 128), np.uint8),
    blobs((96, 128), ((100, 70, 15),)),
])  # fmt: skip
FULL = IntensityRange(0, 255)


def results(stack, model=None, params=AIS):
    steps = segment_planes(PlaneStack(stack), model or FinetuneModel(), params, intensities=FULL)
    return [step.result for step in steps if step.result is not None]


def test_planes_ids_and_table():
    planes = results(STACK)
    assert [np.unique(plane.labels).tolist() for plane in planes] == [[0, 1, 2], [0], [0, 3]]
    for plane, image in zip(planes, STACK, strict=True):
        assert ((plane.labels > 0) != (image > 0)).mean() < 0.01
    table = planes[0].features
    assert table["index"].tolist() == [1, 2]
    assert table["area"].tolist() == np.bincount(planes[0].labels.ravel())[1:].tolist()
    assert table["mask_area"].tolist() == table["area"].tolist()
    assert table[["predicted_iou", "stability_score"]].isna().all(axis=None)
    np.testing.assert_allclose(table[["point_x", "point_y"]], [[20, 20], [60, 30]], atol=1.5)
    assert table["cut_by_crop"].tolist() == [0, 0]
    assert list(table.columns) == list(results(STACK, params=replace(AIS, mode="amg"))[0].features.columns)


def test_no_point_is_asked():
    model = FinetuneModel()
    results(STACK, model)
    assert model.decoded == 0
    assert len(model.embedded) == 2  # nothing is in the second plane


@pytest.mark.parametrize(("layers", "crops"), [(0, 1), (1, 4)])
def test_progress_counts_crops(layers, crops):
    params = replace(AIS, crop_n_layers=layers)
    steps = list(segment_planes(PlaneStack(STACK), FinetuneModel(), params, intensities=FULL))
    assert {step.total for step in steps} == {3 * crops}
    assert [step.done for step in steps if step.result is not None] == [crops, 2 * crops, 3 * crops]
    counted = [step.done for step in steps if step.result is None]
    assert counted == [*range(1, crops + 1), *range(2 * crops + 1, 3 * crops + 1)]


def test_crops_see_more_than_the_whole_image():
    """Which is seen at a quarter of its size."""
    image = blobs((1024, 1024), [(200, 100 + 90 * at, 9) for at in range(9)])
    wrong = []
    for layers in (0, 3):
        (plane,) = results(image, params=replace(AIS, crop_n_layers=layers))
        assert len(plane.features) == 9
        wrong.append(np.count_nonzero((plane.labels > 0) != (image > 0)))
    assert wrong[1] < wrong[0] / 2


def test_small_objects_are_dropped_by_min_mask_region_area():
    areas = results(STACK)[0].features["area"]
    params = replace(AIS, min_mask_region_area=int(areas.min()) + 1)
    assert results(STACK, params=params)[0].features["area"].tolist() == [areas.max()]


def test_labels_are_those_of_the_maps_whatever_the_rules_for_masks_say():
    """A hole and a ring, which the rules for painting masks would fill and drop."""
    image = blobs((96, 128), [(46, 46, 44)]) - blobs((96, 128), [(46, 46, 28)]) + blobs((96, 128), [(46, 46, 22)])
    image[38:44, 8:12] = 0
    params = AmgParameters(mode="ais", overlap="small", min_label_region_area=500, max_ring_area=50.0)
    (plane,) = results(image, params=params)
    maps = FinetuneModel().embed(as_rgb(np.repeat(image[..., None], 3, axis=2))).maps
    np.testing.assert_array_equal(plane.labels, ais_labels(maps.planes()))
    assert plane.labels.max() >= 2
    assert plane.labels[40, 9] == 0
    assert plane.params == params


def test_how_points_are_searched_does_not_matter():
    assert AmgParameters(point_search="hierarchical").approximate
    assert not replace(AIS, point_search="hierarchical").approximate
    assert len(results(STACK[0], params=replace(AIS, point_search="hierarchical"))[0].features) == 2


def test_masks_in_python():
    masks = generate_masks(STACK[0], FinetuneModel(), AIS)
    assert len(masks) == 2
    assert masks.to_coco()[0]["area"] == masks.areas[0]
    assert len(generate_masks(STACK[1], FinetuneModel(), AIS)) == 0
    with pytest.raises(ValueError, match="mode='ais' asks no points and has no candidates: use generate_masks or"):
        propose_candidates(STACK[0], FinetuneModel(), AIS)


def test_crop_layers_auto_chooses_the_layer():
    image = blobs((512, 512), [(60 * x, 60 * y, 5) for x in range(1, 8) for y in range(1, 8)])
    model = FinetuneModel()
    (plane,) = results(image, model, replace(AIS, crop_layers="auto"))
    assert model.decoded == 0  # by the sizes that the maps show, without trial points
    assert plane.params.crop_n_layers > 0
    assert len(plane.features) == 49


def test_points_of_a_guided_search_come_from_the_decoder():
    asked = {}
    for search in ("grid", "guided"):
        model = FinetuneModel()
        params = AmgParameters(points_per_side=16, stability_score_thresh=0.6, point_search=search, points_per_batch=2)
        masks = generate_masks(STACK[0], model, params)
        assert len(masks) == 2
        asked[search] = model.decoded
    assert asked["guided"] < asked["grid"] / 2
    np.testing.assert_allclose(masks.points, [[20, 20], [60, 30]], atol=1.5)  # the middles themselves
    assert tiny_finetune().sees_objects


@pytest.mark.parametrize("run", [results, lambda stack, model: generate_masks(stack[0], model, AIS)])
def test_a_model_without_a_decoder_is_refused_in_words(run):
    with pytest.raises(ValueError, match="mode='ais' needs a segmentation decoder") as caught:
        run(STACK, BlobModel())
    assert "there is none for blobs: it has none; choose mode='amg', or another model" in str(caught.value)
    with pytest.raises(ValueError, match="there is none for embedded: its own maps are others, of foreground"):
        run(STACK, load_model(device="cpu"))


def test_a_network_with_random_weights():
    """From pixels to labels through a ViT, the decoder and the watershed: as by hand."""
    model = tiny_finetune()
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (50, 70, 3), np.uint8)
    planes = model.embed(image).maps.planes()
    masks = generate_masks(image, model, AIS)
    assert planes.foreground.shape == (50, 70)
    np.testing.assert_array_equal(sum(masks.frame(row) * (row + 1) for row in range(len(masks))), ais_labels(planes))
