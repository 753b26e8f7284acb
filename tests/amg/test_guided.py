"""point_search="guided": which points are asked, and what is found with them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam_amg import AmgParameters, PlaneStack, generate_masks, load_model, propose_candidates, refilter
from napari_sam_amg.amg import guided
from napari_sam_amg.amg.crops import crop_boxes
from napari_sam_amg.amg.guided import largest, new_objects
from napari_sam_amg.amg.masks import Candidates, no_candidates
from napari_sam_amg.amg.prompts import layer_grids, search_levels
from napari_sam_amg.amg.propose import count_batches
from napari_sam_amg.run import as_rgb, segment_planes
from napari_sam_amg.sam.object_maps import SeenObjects
from tests.amg.frames import assert_same, assert_same_objects, mask_steps
from tests.amg.models import AheadModel, GivenMaps, SeeingModel
from tests.disc_model import BlobModel, blobs
from tests.samples import sample

PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.65, stability_score_thresh=0.4, point_search="guided",
                       coarse_points_per_side=4)  # fmt: skip
SEEN = ((20, 20, 8), (60, 30, 12), (100, 70, 15))  # x, y, radius


class WrongModel(SeeingModel):
    """Takes what it does not see for background."""

    def background(self, image):
        return image[..., 0] < 180


class DoubtfulModel(SeeingModel):
    """Is sure of no background."""

    def background(self, image):
        return np.zeros(image.shape[:2], bool)


def image_of(seen=SEEN, unseen=(), shape=(96, 128)):
    image = blobs(shape, seen)
    for x, y, radius in unseen:
        cv2.circle(image, (x, y), radius, 150, -1)
    return as_rgb(np.stack([image] * 3, axis=-1))


NOTHING = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None].repeat(96, axis=0) // 2, 3, axis=2)  # but light


def asked_by(image, params=PARAMS, model=None):
    model = model or SeeingModel()
    generate_masks(image, model, params)
    return [np.concatenate([np.empty((0, 2)), *crop]) for crop in model.crops]


def levels(params=PARAMS, shape=(96, 128)):
    return [part * shape[::-1] for part in search_levels(params)[0]]


def is_in(image, points):
    column, row = np.floor(points).astype(int).T
    return image[row, column, 0]


def test_the_centres_then_a_coarse_grid_where_no_mask_lies():
    image = image_of()
    (asked,) = asked_by(image)
    coarse = levels()[0]
    np.testing.assert_allclose(asked[:3], np.add(sorted(SEEN, key=lambda disc: disc[1]), 0.5)[:, :2])
    np.testing.assert_allclose(asked[3:], coarse[is_in(image, coarse) == 0], atol=1e-9)
    assert_same_objects(generate_masks(image, SeeingModel(), PARAMS), SEEN)


def test_without_a_coarse_grid_the_centres_alone_are_asked():
    (asked,) = asked_by(image_of(), replace(PARAMS, coarse_points_per_side=0))
    assert len(asked) == 3


def test_where_nothing_is_there_and_nothing_seen_only_the_coarse_grid_is_asked():
    (asked,) = asked_by(NOTHING, PARAMS, WrongModel())
    np.testing.assert_array_equal(asked, levels()[0])


UNSEEN = ((30, 70, 14), (70, 76, 14), (110, 20, 14))


@pytest.mark.parametrize("model", [SeeingModel, WrongModel])
def test_what_the_maps_do_not_show_is_found_by_finer_grids(model):
    image = image_of(SEEN[:2], UNSEEN)
    (asked,) = asked_by(image, PARAMS, model())
    finer = levels()[1]
    assert len(asked) > 2 + 16
    assert {tuple(point) for point in asked[18:]} <= {tuple(point) for part in levels()[1:] for point in part}
    assert any((asked == point).all(axis=1).any() for point in finer)
    masks = generate_masks(image, model(), PARAMS)
    assert len(masks) == 5


def test_what_surely_is_background_is_left_out_of_finer_grids_unless_something_is_found_there():
    image = image_of(SEEN[:2], UNSEEN)
    trusting, doubting = (asked_by(image, PARAMS, model())[0] for model in (SeeingModel, WrongModel))
    first = {tuple(point) for point in levels()[1]}
    values = [is_in(image, np.array([p for p in asked if tuple(p) in first])) for asked in (trusting, doubting)]
    assert not (values[0] == 0).any()
    assert (values[1] == 0).any()


def test_one_new_object_of_many_coarse_points_is_not_worth_a_finer_grid():
    params = replace(PARAMS, points_per_side=32, coarse_points_per_side=8)
    lonely = ((115, 20, 6),)
    (asked,) = asked_by(image_of(SEEN, lonely), params, DoubtfulModel())
    assert len(asked) <= 3 + 64
    (asked,) = asked_by(image_of(SEEN, (*lonely, (20, 80, 8), (60, 80, 8))), params, DoubtfulModel())
    assert len(asked) > 3 + 64


def test_two_crops_that_see_an_object_ask_it_once():
    """Each crop of the second layer is asked for what it holds best; so is its share of the grid."""
    params = replace(PARAMS, crop_layers="last", crop_n_layers=1)
    image = image_of([(20, 20, 8), (108, 20, 8), (20, 76, 8), (108, 76, 8)])
    asked = asked_by(image, params)
    corners = [np.array([crop.x0, crop.y0]) for crop in crop_boxes((96, 128), params)]
    centres = np.concatenate([points[:1] + corner for points, corner in zip(asked, corners, strict=True)])
    assert len(np.unique(centres, axis=0)) == 4
    near_edge = image_of([(64, 48, 8)])  # in the middle, where all four meet
    assert sum(map(len, asked_by(near_edge, replace(params, coarse_points_per_side=0)))) == 4
    aside = image_of([(76, 76, 8)])  # in all crops, but held best by the last
    assert sum(map(len, asked_by(aside, replace(params, coarse_points_per_side=0)))) == 1


def test_explicit_grids_take_the_place_of_the_coarse_one():
    points = ((0.9, 0.1), (0.16, 0.2), (0.5, 0.9))  # the second lies in the first disc
    params = replace(PARAMS, points_per_side=None, point_grids=(points,))
    (asked,) = asked_by(image_of(), params)
    np.testing.assert_allclose(asked[3:], np.array(points)[[0, 2]] * (128, 96))
    params = replace(params, crop_layers="last", crop_n_layers=1, point_grids=((), points))
    for crop, asked in zip(crop_boxes((96, 128), params), asked_by(NOTHING, params, DoubtfulModel()), strict=True):
        np.testing.assert_allclose(asked, np.array(points) * crop.size[::-1])  # also those that another holds better


discs = st.lists(st.tuples(st.integers(0, 127), st.integers(0, 95), st.integers(2, 30)), max_size=4)


@settings(max_examples=40)
@given(discs.filter(len), discs, st.integers(1, 12), st.integers(1, 300), st.integers(0, 1))
def test_progress_is_what_was_counted_on_and_batches_change_nothing(seen, unseen, side, batch, layers):
    image = image_of(seen, unseen)
    params = replace(PARAMS, points_per_side=side, crop_n_layers=layers)
    plain, ahead = SeeingModel(), type("Ahead", (AheadModel, SeeingModel), {})()
    expected = generate_masks(image, plain, params)
    params = replace(params, points_per_batch=batch)
    *steps, found = mask_steps(image, ahead, params)
    assert len(steps) == count_batches((96, 128), params)
    for one, other in zip(plain.crops, ahead.crops, strict=True):
        np.testing.assert_array_equal(*(np.concatenate([np.empty((0, 2)), *batches]) for batches in (one, other)))
    assert_same(found, expected)


def test_of_more_objects_than_are_asked_the_largest_are(monkeypatch):
    monkeypatch.setattr(guided, "MOST_CENTRES", 2)
    params = replace(PARAMS, coarse_points_per_side=0, points_per_batch=1)
    (asked,) = asked_by(image_of(), params)
    assert asked.tolist() == [[60.5, 30.5], [100.5, 70.5]]
    areas = np.array([5.0, 5, 5, 6])
    seen = SeenObjects(np.arange(8.0).reshape(4, 2), areas, areas, np.zeros((1, 1), bool))
    assert largest(seen, 2).tolist() == [0, 3]


def candidates(*rows):
    """(x0, y0, x1, y1, predicted IoU) each."""
    boxes = np.array([row[:4] for row in rows], np.int64).reshape(-1, 4)
    iou = np.array([row[4] for row in rows], np.float32)
    empty = no_candidates()
    return replace(
        empty, boxes=boxes, predicted_iou=iou, stability_score=np.ones(len(rows), np.float32),
        points=np.zeros((len(rows), 2)), crop_boxes=np.zeros((len(rows), 4), np.int64),
        bits=[np.zeros((1, 1), np.uint8)] * len(rows),
    )  # fmt: skip


SURE, UNSURE = 0.9, 0.7  # at a threshold of .65, halfway is .825
SQUARE = (10, 10, 29, 29)


@pytest.mark.parametrize(
    ("found", "known", "new"),
    [
        ([(*SQUARE, SURE)], [], 1),
        ([(*SQUARE, UNSURE)], [], 0),
        ([(*SQUARE, SURE), (11, 11, 29, 29, SURE)], [], 1),  # one object, twice
        ([(*SQUARE, SURE)], [(10, 10, 29, 20, UNSURE)], 0),  # 11 of 20 rows: the same object, IoU .55
        ([(*SQUARE, SURE)], [(10, 10, 29, 18, UNSURE)], 1),  # 9 of 20
        ([(*SQUARE, SURE)], [(10, 10, 29, 18, SURE)], 0),  # it holds a sure one
        ([(*SQUARE, SURE)], [(0, 0, 99, 99, SURE)], 0),  # a part of a sure one
        ([(*SQUARE, SURE)], [(0, 0, 99, 99, UNSURE)], 1),
        ([(*SQUARE, SURE)], [(10, 20, 29, 60, SURE)], 0),  # half of it is another's
        ([(*SQUARE, SURE)], [(10, 21, 29, 60, SURE)], 1),
        ([(*SQUARE, SURE)], [(40, 40, 60, 60, SURE)], 1),
    ],
)
def test_which_masks_are_of_an_object_that_was_not_found_before(found, known, new):
    result = new_objects(candidates(*found), candidates(*known) if known else no_candidates(), PARAMS)
    assert isinstance(result, Candidates)
    assert len(result) == new


def test_a_model_without_maps_is_asked_the_grid_and_that_is_said():
    image = blobs()
    grid = replace(PARAMS, point_search="grid")
    stored = propose_candidates(image, BlobModel(), PARAMS)
    assert stored.params == grid
    assert_same(refilter(stored, replace(grid, pred_iou_thresh=0.8)), generate_masks(image, BlobModel(), replace(
        grid, pred_iou_thresh=0.8)))  # fmt: skip
    *_, step = segment_planes(PlaneStack(image), BlobModel(), PARAMS)
    assert step.result.params == grid
    assert "no maps" in PARAMS.note_on(step.result.params)
    assert grid.note_on(grid) == ""
    *_, step = segment_planes(PlaneStack(image_of(), rgb=True), SeeingModel(), PARAMS)
    assert step.result.params == PARAMS
    assert PARAMS.note_on(PARAMS) == ""


@pytest.mark.parametrize("changes", [{"coarse_points_per_side": 2}, {"point_search": "grid"}])
def test_refiltering_for_what_decides_about_the_points_is_refused(changes):
    stored = propose_candidates(image_of(), SeeingModel(), PARAMS)
    with pytest.raises(ValueError, match=f"{next(iter(changes))}=.* differs from .*, with which the candidates"):
        refilter(stored, replace(PARAMS, **changes))
    assert len(refilter(stored, replace(PARAMS, box_nms_thresh=0.6))) == 3


@settings(max_examples=25)
@given(discs.filter(len), discs, st.floats(0, 1), st.floats(0, 1))
def test_the_thresholds_of_the_run_decide_about_no_point(seen, unseen, iou, stability):
    image = image_of(seen, unseen)
    params = replace(PARAMS, pred_iou_thresh=iou, stability_score_thresh=stability)
    (ours,), (expected,) = asked_by(image, params), asked_by(image)
    np.testing.assert_array_equal(ours, expected)
    stored = propose_candidates(image, SeeingModel(), replace(PARAMS, pred_iou_thresh=0.0, stability_score_thresh=0.0))
    assert_same(refilter(stored, params), generate_masks(image, SeeingModel(), params))
    # what was drawn for the search alone is not kept
    for crop in propose_candidates(image, SeeingModel(), params).crops:
        assert iou == 0 or (crop.predicted_iou > iou).all()
        assert stability == 0 or (crop.stability_score >= stability).all()


def test_the_embedded_model_finds_with_a_tenth_of_the_points_what_it_finds_with_the_grid():
    image, model = as_rgb(sample("nuclei.tif")[:260, :348]), load_model(device="cpu")
    params = AmgParameters(pred_iou_thresh=0.45, stability_score_thresh=0.4, box_nms_thresh=0.5, points_per_side=24)
    asked = []
    decode = model.decode
    model.decode = lambda embedding, points, keep: asked.append(len(points)) or decode(embedding, points, keep)
    batches = model.decode_batches
    model.decode_batches = lambda embedding, points, keep: batches(
        embedding, (asked.append(len(some)) or some for some in points), keep
    )
    ours = generate_masks(image, model, replace(params, point_search="guided"))
    assert sum(asked) < 0.25 * len(layer_grids(params)[0])
    theirs = generate_masks(image, model, params)
    hits = [max((_iou(ours, a, theirs, b) for a in range(len(ours))), default=0) for b in range(len(theirs))]
    assert np.mean(np.array(hits) > 0.7) > 0.85


def _iou(some, i, others, j):
    a, b = some.frame(i), others.frame(j)
    return (a & b).sum() / (a | b).sum()


ROW = [(20 + 16 * i, 40) for i in range(7)]  # the centres of seven discs of 10 px


def drawn(centres):
    """A sure mask of 10 x 10 px around each."""
    masks = candidates(*((x - 5, y - 5, x + 4, y + 4, SURE) for x, y in centres))
    bits = [np.packbits(np.pad(np.ones((10, 10), bool), ((0, 0), ((x - 5) % 8, 0))), axis=1) for x, _ in centres]
    return replace(masks, bits=bits)


@pytest.mark.parametrize(("missing", "again"), [((), False), ((3,), True), ((1, 5), False)])
def test_an_object_whose_centre_gives_no_mask_is_asked_again_beside_it_while_such_are_few(missing, again):
    """One of seven is an accident; two are a kind that the model does not draw."""
    count = len(ROW)
    seen = SeenObjects(np.array(ROW, float), np.full(count, 80.0), np.full(count, 10.0), np.zeros((1, 1), bool))
    (crop,) = crop_boxes((96, 144), PARAMS)
    search = guided.Search(crop, [crop], GivenMaps(seen), [], PARAMS, PARAMS)
    parts = search.parts()
    first, _ = next(parts)
    np.testing.assert_allclose(first * (144, 96), ROW)
    search.learn(drawn([centre for index, centre in enumerate(ROW) if index not in missing]))
    second, saved = next(parts)
    x, y = ROW[3]
    np.testing.assert_allclose(second * (144, 96), [(x, y - 2.5), (x - 2.5, y)] if again else np.empty((0, 2)))
    assert saved == count_batches((96, 144), replace(PARAMS, points_per_side=1)) // 2 - bool(again)


def test_points_beside_an_object_at_the_edge_are_in_the_image():
    seen = SeenObjects(np.array([[1.0, 2.0]]), np.array([400.0]), np.array([20.0]), np.zeros((1, 1), bool))
    assert guided.second_points(seen, np.array([0])).tolist() == [[1, 0], [0, 2]]


CORE = (40.0, 0.0, 144.0, 70.0)  # of a crop of 144 x 96 px: a tile goes on to the left and below, by 40 and 26 px


def first_points(points, areas, thickness, core):
    seen = SeenObjects(np.array(points, float), np.array(areas), np.array(thickness), np.zeros((1, 1), bool))
    (crop,) = crop_boxes((96, 144), PARAMS)
    search = guided.Search(crop, [crop], GivenMaps(seen), search_levels(PARAMS)[0], PARAMS, PARAMS, core)
    parts = search.parts()
    first, _ = next(parts)
    next(parts)
    coarse, _ = next(parts)
    return (first * (144, 96)).round().tolist(), coarse * (144, 96)


def test_a_tile_asks_what_may_reach_into_its_core_and_leaves_the_rest_to_its_neighbours():
    discs = [(10, 50), (29, 50), (31, 50), (60, 81), (60, 79), (60, 50), (130, 3)]
    areas, thickness = np.full(7, np.pi * 25), np.full(7, 10.0)
    every, grid = first_points(discs, areas, thickness, None)
    assert every == [list(point) for point in discs]
    first, coarse = first_points(discs, areas, thickness, CORE)
    assert first == [[31, 50], [60, 79], [60, 50], [130, 3]]
    near = (grid[:, 0] >= 20) & (grid[:, 1] <= 90)  # half of the larger halo
    assert 0 < near.sum() < len(grid)
    np.testing.assert_array_equal(coarse, grid[near])


def test_a_rod_that_a_tile_cuts_far_from_its_core_is_asked_as_it_may_reach_there():
    """Its centre is outside, so it is asked at the edge: 60 px long and 6 px thick there."""
    first, _ = first_points([(0, 40), (0, 60)], np.array([360.0, 90.0]), np.array([6.0, 6.0]), CORE)
    assert first == [[0, 40]]
