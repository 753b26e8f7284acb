"""Runs that take planes tile by tile."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_sam_amg.amg import planes, tiled_plane
from napari_sam_amg.amg.generate import candidate_steps
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.amg.tiling import tiles
from napari_sam_amg.evaluation.scores import evaluate_labels
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.run import generate_masks, segment_planes
from tests.amg.chunked import Chunked
from tests.disc_model import BlobModel, blobs
from tests.finetune_model import FinetuneModel
from tests.samples import sample

PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5, tile_size=64, tile_halo=16)
SIZE = (250, 190)


def discs(radius: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lines, middles = (64, 128, 192), (30, 94, 158)
    centres = [(x, y) for y in lines for x in (64, 128)] + [(x, y) for y in middles for x in (64, 128)]
    centres += [(x, y) for y in lines for x in middles]
    moved = (np.array(centres) + rng.integers(-3, 4, (len(centres), 2))).tolist()
    return blobs(SIZE, [(x, y, radius) for x, y in moved])


def results(data, params=PARAMS, **options):
    steps = segment_planes(PlaneStack(data), BlobModel(), params, **options)
    return [step.result for step in steps if step.result is not None]


@pytest.mark.parametrize(("halo", "radius"), [(8, 5), (8, 10), (16, 7), (24, 10), (32, 10)])
@pytest.mark.parametrize("seed", range(3))
def test_discs_on_every_seam_and_corner_are_counted_once(halo, radius, seed):
    image = discs(radius, seed)
    (result,) = results(image, replace(PARAMS, tile_halo=halo))
    count, components = cv2.connectedComponents((image > 0).astype(np.uint8))
    assert len(result.features) == count - 1 == 21
    for component in range(1, count):
        labels, pixels = np.unique(result.labels[components == component], return_counts=True)
        assert (labels > 0).sum() == 1
        assert pixels[labels > 0][0] > 0.9 * pixels.sum()


def test_ids_are_dense_and_count_on_over_planes():
    first, second = results(np.stack([discs(), discs(6)]))
    assert first.features["index"].tolist() == list(range(1, 22))
    assert second.features["index"].tolist() == list(range(22, 43))
    assert np.unique(second.labels).tolist() == [0, *range(22, 43)]
    assert [first.params.tile_size, first.rows, first.is_last] == [64, None, True]
    np.testing.assert_array_equal(first.image[..., 0] > 100, discs() > 0)


def test_a_plane_in_parts_is_the_plane_as_a_whole(monkeypatch):
    image = np.stack([discs(), discs(6)])
    whole = results(image, units=Units((0.5, 0.5)))
    monkeypatch.setattr(tiled_plane, "WHOLE_PIXELS", 10_000)
    parts = results(image, units=Units((0.5, 0.5)))
    assert len(parts) > len(whole) == 2
    assert [part.is_last for part in parts if part.index == (0,)][-1]
    for plane in whole:
        own = [part for part in parts if part.index == plane.index]
        assert [part.is_last for part in own] == [False] * (len(own) - 1) + [True]
        np.testing.assert_array_equal(np.concatenate([part.labels for part in own]), plane.labels)
        assert own[0].rows[0] == 0
        assert [part.rows[0] for part in own[1:]] == [part.rows[1] for part in own[:-1]]
        columns = [plane.features, *(part.features for part in own)]
        assert np.concatenate([part.features.to_numpy() for part in own]).tolist() == columns[0].to_numpy().tolist()
        assert sum(len(part.masks) for part in own) == len(plane.masks)
        step = tiled_plane.overview_step(SIZE)
        np.testing.assert_array_equal(own[-1].image, plane.image[::step, ::step])


def test_constant_tiles_cost_nothing_and_progress_reaches_its_end():
    image, model = np.zeros(SIZE, np.uint8), BlobModel()
    image[:60, :60] = blobs((60, 60), ((30, 30, 9),))
    steps = list(segment_planes(PlaneStack(image), model, PARAMS))
    assert len(model.embedded) == 1
    assert steps[-1].done == steps[-1].total == max(step.done for step in steps)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert len(steps[-1].result.features) == 1
    assert steps[-1].result.nothing == ""
    (empty,) = results(np.zeros(SIZE, np.uint8))
    assert empty.nothing == "every pixel is 0"
    assert not empty.labels.any()


@pytest.mark.parametrize("chunks", [(40, 50), (250, 190), (64, 190), (33, 7)])
@pytest.mark.parametrize("intensities", [None, IntensityRange(0, 255)])
def test_each_chunk_is_read_at_most_twice(chunks, intensities):
    storage = Chunked(discs(), chunks)
    results(storage, intensities=intensities)
    assert max(storage.reads.values()) <= 2


def test_a_tile_that_cannot_be_read_is_named_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(planes, "LARGE_SIDE", 100)
    (whole,) = results(discs())
    (result,) = results(Chunked(discs(), (10, 10), broken={(0, 0)}), intensities=IntensityRange(0, 255))
    assert result.problem == "1 of 12 tiles failed: rows 0 to 61, columns 0 to 62: OSError: chunk (0, 0) is missing"
    np.testing.assert_array_equal(result.labels[90:] > 0, whole.labels[90:] > 0)
    every = {(row, column) for row in range(25) for column in range(19)}
    with pytest.raises(OSError, match="is missing"):
        results(Chunked(discs(), (10, 10), broken=every), intensities=IntensityRange(0, 255))


def test_an_object_that_no_tile_holds_is_joined():
    image = np.zeros(SIZE, np.uint8)
    image[40:200, 90:100] = 200
    (result,) = results(image)
    assert len(result.features) == 1
    assert np.count_nonzero(result.labels) > 0.95 * 1600
    assert result.features["cut_by_crop"].tolist() == [0]


def test_tiles_larger_than_the_plane_change_nothing():
    one, other = (
        results(discs(), replace(PARAMS, tile_size=300)),
        results(discs(), replace(PARAMS, tile_size=0, tile_halo=0)),
    )
    np.testing.assert_array_equal(one[0].labels, other[0].labels)
    assert one[0].features.equals(other[0].features)


def test_generating_masks_of_an_image_knows_no_tiles():
    image = np.repeat(discs()[..., None], 3, axis=2)
    one, other = (generate_masks(image, BlobModel(), replace(PARAMS, tile_size=size, tile_halo=0)) for size in (0, 64))
    np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tile_size": 16}, "tile_size=16 is not allowed: choose 0"),
        ({"tile_size": 64, "tile_halo": 33}, "tile_halo=33 is not allowed with tile_size=64: allowed is 0 to 32"),
        ({"tile_halo": 8}, "tile_halo=8 is not allowed with tile_size=0: allowed is 0, unless tile_size is given"),
        ({"tile_size": -1}, "tile_size=-1 is out of range"),
    ],
)
def test_tiles_that_cannot_be_are_refused_in_words(values, message):
    with pytest.raises(ValueError, match=message):
        AmgParameters(**values)


def test_a_real_model_finds_the_same_nuclei_tile_by_tile():
    image = sample("nuclei.tif")[:128, :256]
    model = load_model(device="cpu")
    params = replace(merged(model.info.amg_defaults), crop_layers="last", crop_n_layers=0, points_per_side=16)
    whole, tiled = (
        [step.result for step in segment_planes(PlaneStack(image), model, some) if step.result is not None]
        for some in (params, replace(params, tile_size=128, tile_halo=24))
    )
    assert len(tiled[0].features) >= 10
    assert evaluate_labels(whole[0].labels, tiled[0].labels).ap(0.5) >= 0.7


def scattered(seed: int, count: int, radii: tuple[float, float], gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Noisy discs on the corner and the seams of four tiles of 128 px, then anywhere; and the truth."""
    rng = np.random.default_rng(seed)
    seams = [(128, 128), (128, 64), (64, 128), (128, 192), (192, 128)]
    places = [*(np.array(seams) + rng.uniform(-4, 4, (5, 2))), *rng.uniform(0, 256, (20_000, 2))]
    y, x = np.mgrid[:256, :256] + 0.5
    truth, found = np.zeros((256, 256), np.int32), list[tuple[float, float, float]]()
    for row, column in places:
        radius = rng.uniform(*radii)
        apart = all((row - a) ** 2 + (column - b) ** 2 > (radius + r + gap) ** 2 for a, b, r in found)
        if apart and radius + 3 < min(row, column) and max(row, column) < 253 - radius and len(found) < count:
            found.append((row, column, radius))
            truth[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = len(found)
    image = 40 + 150 * cv2.GaussianBlur((truth > 0).astype(float), (0, 0), 0.8) + rng.normal(0, 3, truth.shape)
    return image.clip(0, 255).astype(np.uint8), truth


@pytest.mark.parametrize("halo", [12, 32])
def test_a_real_model_counts_discs_on_seams_and_in_cores(halo):
    image, truth = scattered(2, 24, (6, 18), 3)
    assert truth.max() == 24
    model = load_model(device="cpu")
    params = replace(merged(model.info.amg_defaults), tile_size=128, tile_halo=halo)
    (result,) = [step.result for step in segment_planes(PlaneStack(image), model, params) if step.result is not None]
    assert len(result.features) == 24
    assert evaluate_labels(truth, result.labels).ap(0.5) == 1


def test_what_lies_in_a_halo_is_asked_by_the_tile_in_whose_core_it_is():
    image, _ = scattered(2, 24, (6, 18), 3)
    model = load_model(device="cpu")
    params = replace(
        merged(model.info.amg_defaults), crop_layers="last", tile_size=128, tile_halo=64, coarse_points_per_side=0
    )
    region = tiles((), (256, 256), params)[0][0]
    view = np.repeat(image[region.window][..., None], 3, axis=2)
    both, own = (list(candidate_steps(view, model, params, core))[-1].asked for core in (None, region.core))
    assert (both > 128 + 50).any()  # discs are 36 px wide at most
    assert not (own > 128 + 50).any()
    in_core = both[(both < 128).all(axis=1)]
    assert {tuple(point) for point in in_core.tolist()} <= {tuple(point) for point in own.tolist()}


def test_objects_of_ais_are_merged_over_seams_too():
    model, params = FinetuneModel(), AmgParameters(mode="ais", tile_size=64, tile_halo=24)
    image = discs()
    steps = segment_planes(PlaneStack(image), model, params, intensities=IntensityRange(0, 255))
    (result,) = [step.result for step in steps if step.result is not None]
    assert len(result.features) == 21
    assert ((result.labels > 0) != (image > 0)).mean() < 0.01
