"""point_search="hierarchical": which points are asked, against the obvious way with full frames."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam_amg import AmgParameters, PlaneStack, generate_masks, load_model, propose_candidates, refilter
from napari_sam_amg.amg.crops import crop_boxes
from napari_sam_amg.amg.prompts import layer_grids, search_levels
from napari_sam_amg.amg.propose import count_batches
from napari_sam_amg.run import as_rgb, segment_planes
from tests.amg.frames import assert_same, assert_same_objects, mask_steps
from tests.amg.models import OWN, AheadModel, ListeningModel
from tests.disc_model import BlobModel, blobs
from tests.samples import sample

PARAMS = AmgParameters(points_per_side=16, point_search="hierarchical", **OWN)
LARGE = ((40, 40, 30), (100, 60, 25))  # x, y, radius


def asked_by(image, params, **own) -> np.ndarray:
    model = ListeningModel(**own)
    generate_masks(as_rgb(image), model, params)
    return np.concatenate(model.batches)


def asked_by_hand(image, params) -> np.ndarray:
    """One part of the grid after another, by runs of the exact search and full frames of all their masks."""
    height, width = image.shape
    halfway = {name: (1 + value) / 2 for name, value in OWN.items()}
    covered, asked = np.zeros(image.shape, bool), []
    for part in search_levels(params)[0]:
        column, row = np.floor(part * (width, height)).astype(int).T
        points = part[~covered[row, column]]
        asked.append(points * (width, height))
        grid = (tuple(map(tuple, points)),)
        exact = replace(
            params, points_per_side=None, point_grids=grid, point_search="grid", box_nms_thresh=1.0, **halfway
        )
        masks = generate_masks(as_rgb(image), BlobModel(), exact)
        for index in range(len(masks)):
            covered |= masks.frame(index)
    return np.concatenate(asked)


discs = st.lists(st.tuples(st.integers(0, 127), st.integers(0, 95), st.integers(2, 40)), min_size=1, max_size=4)


@given(discs, st.integers(1, 15), st.integers(1, 30))
def test_a_point_is_asked_unless_a_sure_mask_of_the_parts_before_covers_it(discs, side, batch):
    image = blobs(discs=discs)
    params = replace(PARAMS, points_per_side=side, points_per_batch=batch)
    np.testing.assert_array_equal(asked_by(image, params), asked_by_hand(image, params))


@given(discs, st.integers(1, 15), st.floats(0, 1), st.floats(0, 1))
def test_the_thresholds_of_the_run_decide_about_no_point(discs, side, iou, stability):
    image, params = blobs(discs=discs), replace(PARAMS, points_per_side=side)
    other = replace(params, pred_iou_thresh=iou, stability_score_thresh=stability)
    np.testing.assert_array_equal(asked_by(image, other), asked_by_hand(image, params))


def test_large_objects_are_found_with_fewer_points():
    image = blobs(discs=LARGE)
    asked = asked_by(image, PARAMS)
    inside = (image > 127).ravel()[(np.floor(asked) @ (1, 128)).astype(int)]
    assert 4 <= inside.sum() < 0.3 * 256 * (image > 127).mean()
    assert (~inside).sum() == pytest.approx(256 * (image <= 127).mean(), abs=8)  # nothing stands there
    assert_same_objects(generate_masks(image, ListeningModel(), PARAMS), LARGE)


@given(discs, st.integers(1, 15))
def test_no_point_is_asked_twice_and_none_that_is_not_of_the_grid(discs, side):
    params = replace(PARAMS, points_per_side=side)
    asked = asked_by(blobs(discs=discs), params)
    grid = layer_grids(params)[0] * (128, 96)
    assert len(np.unique(asked, axis=0)) == len(asked)
    assert {tuple(point) for point in asked} <= {tuple(point) for point in grid}


@pytest.mark.parametrize(
    "changes", [{"pred_iou_thresh": 0.91}, {"stability_score_thresh": 0.99}, {"points_per_side": 1}]
)
def test_where_the_model_is_sure_of_nothing_all_points_are_asked_and_the_masks_are_the_exact_ones(changes):
    params, image = replace(PARAMS, **changes), blobs()
    assert len(asked_by(image, params, **changes)) == len(layer_grids(params)[0])
    ours, exact = (
        generate_masks(image, ListeningModel(**changes), replace(params, point_search=s))
        for s in ("hierarchical", "grid")
    )
    order = [np.lexsort(masks.boxes.T) for masks in (ours, exact)]
    np.testing.assert_array_equal(ours.boxes[order[0]], exact.boxes[order[1]])


def test_every_crop_is_searched_by_itself():
    """Four discs, each of them in one crop of the second layer and far from its edges."""
    image = blobs(discs=[(x, y, 12) for x in (20, 107) for y in (17, 78)])
    params = replace(PARAMS, crop_n_layers=1)
    model = ListeningModel()
    generate_masks(as_rgb(image), model, params)
    for crop, asked in zip(crop_boxes(image.shape, params), model.crops, strict=True):
        view = image[crop.y0 : crop.y1, crop.x0 : crop.x1]
        np.testing.assert_array_equal(np.concatenate(asked), asked_by_hand(view, PARAMS))
        assert sum(map(len, asked)) < 16**2


def test_explicit_grids_begin_with_every_16th_point():
    points = np.random.default_rng(0).random((100, 2))
    params = replace(PARAMS, points_per_side=None, point_grids=(tuple(map(tuple, points)),))
    image = blobs(discs=LARGE)
    asked = asked_by(image, params)
    np.testing.assert_array_equal(asked, asked_by_hand(image, params))
    np.testing.assert_allclose(asked[:7], points[1::16] * (128, 96))
    assert len(asked) < 80


def test_points_on_the_last_edge_belong_to_the_last_pixel():
    corners = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    params = replace(PARAMS, points_per_side=None, point_grids=(corners,))
    model = ListeningModel()
    model.decode = lambda embedding, points, keep: BlobModel.decode(
        model, embedding, np.minimum(points, (127, 95)), keep
    )
    generate_masks(as_rgb(blobs()), model, params)
    assert model.decoded == 4


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_saved_batches_are_steps_too(layers, batch):
    params = replace(PARAMS, points_per_side=10, points_per_batch=batch, crop_n_layers=layers)
    model, image = ListeningModel(), as_rgb(blobs(discs=LARGE))
    *steps, masks = mask_steps(image, model, params)
    assert len(steps) == count_batches(image.shape[:2], params) >= len(model.batches)
    assert max(map(len, model.batches)) <= batch
    assert_same_objects(masks, LARGE)


def test_progress_of_a_stack_goes_up_by_ones_to_the_end():
    stack = PlaneStack(np.stack([blobs(discs=LARGE), blobs(discs=((20, 20, 8),)), blobs()]))
    steps = [(step.done, step.total) for step in segment_planes(stack, BlobModel(), PARAMS) if step.result is None]
    total = 3 * count_batches((96, 128), PARAMS)
    assert steps == [(done, total) for done in range(1, total + 1)]


def test_closing_cancels_between_batches():
    model = BlobModel()
    steps = mask_steps(as_rgb(blobs(discs=LARGE)), model, replace(PARAMS, points_per_batch=5))
    next(steps)
    next(steps)
    steps.close()
    assert model.decoded == 10


def test_the_exact_search_asks_the_grid_in_its_order():
    params = replace(PARAMS, point_search="grid")
    np.testing.assert_array_equal(asked_by(blobs(discs=LARGE), params), layer_grids(params)[0] * (128, 96))


def test_refiltering_for_what_the_search_does_not_depend_on():
    image, changes = blobs(), {"box_nms_thresh": 0.9, "min_mask_region_area": 30, "points_per_batch": 7}
    stored = propose_candidates(image, BlobModel(), PARAMS)
    params = replace(PARAMS, **changes)
    assert_same(refilter(stored, params), generate_masks(image, BlobModel(), params))


@pytest.mark.parametrize("changes", [{"points_per_side": 8}, {"stability_score_offset": 0.5}, {"point_search": "grid"}])
def test_refiltering_for_what_decides_about_the_points_is_refused(changes):
    stored = propose_candidates(blobs(), BlobModel(), PARAMS)
    (name,) = changes
    with pytest.raises(ValueError, match=rf"{name}=.* differs from .*, with which the candidates were stored"):
        refilter(stored, replace(PARAMS, **changes))


def test_a_real_model_finds_nearly_all_with_fewer_points():
    image, model = sample("nuclei.tif")[:260, :348], load_model(device="cpu")
    exact = AmgParameters(points_per_side=24, pred_iou_thresh=0.45, stability_score_thresh=0.4, box_nms_thresh=0.5)
    asked = []
    decode = model.decode
    model.decode = lambda embedding, points, keep: asked.append(len(points)) or decode(embedding, points, keep)
    ours = generate_masks(image, model, replace(exact, point_search="hierarchical"))
    assert sum(asked) < 0.9 * 24**2
    theirs = generate_masks(image, model, exact)
    assert 0.8 * len(theirs) < len(ours) <= len(theirs)


@settings(max_examples=25)
@given(discs, st.integers(1, 20), st.integers(1, 400), st.integers(0, 1))
def test_neither_batches_nor_what_is_taken_ahead_change_the_points_or_the_masks(discs, side, batch, layers):
    image = as_rgb(blobs(discs=discs))
    params = replace(PARAMS, points_per_side=side, crop_n_layers=layers)
    plain, ahead = ListeningModel(), AheadModel()
    expected = generate_masks(image, plain, params)
    found = generate_masks(image, ahead, replace(params, points_per_batch=batch))
    for one, other in zip(plain.crops, ahead.crops, strict=True):
        np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))
    assert_same(found, expected)


def test_a_real_model_that_decodes_ahead_is_asked_the_same_points(monkeypatch):
    image, model = as_rgb(blobs(discs=LARGE)), load_model(device="cpu")
    params = replace(PARAMS, points_per_side=12, points_per_batch=16, pred_iou_thresh=0.0, stability_score_thresh=0.2)
    asked: list[list[np.ndarray]] = []
    prompts = model._prompts
    monkeypatch.setattr(model, "_prompts", lambda *at: asked[-1].append(at[1]) or prompts(*at))
    for way in (model.decode_batches, model._decode_ahead):
        asked.append([])
        monkeypatch.setattr(model, "decode_batches", way)
        generate_masks(image, model, params)
    plain, ahead = (np.concatenate(points) for points in asked)
    np.testing.assert_array_equal(plain, ahead)
    assert len(plain) < 12**2
