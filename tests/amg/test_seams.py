import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_sam_amg import AmgParameters, PlaneStack, segment_planes
from napari_sam_amg.amg.crops import crop_boxes
from napari_sam_amg.amg.generate import cut_off
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.seams import count_missing, cut_at_crop_edge, cut_by_all
from napari_sam_amg.batch.outcome import Outcome
from napari_sam_amg.plugin.running.outcome import found
from napari_sam_amg.run import propose_candidates
from tests.amg.frames import masks_from_frames
from tests.disc_model import BlobModel, blobs

SIZE = (400, 500)
CROP = (100, 50, 420, 370)  # 320 px: masks are dropped within 10 px of its edges, and looked at within 15


def box(x0, y0, x1, y1):
    frame = np.zeros(SIZE, bool)
    frame[y0 : y1 + 1, x0 : x1 + 1] = True
    return frame


def disc(x, y, radius):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(rows - y, columns - x) <= radius


def is_cut(frame, crop=CROP):
    masks = masks_from_frames([frame])
    return cut_at_crop_edge(dataclasses.replace(masks, crop_boxes=np.array([crop]))).tolist() == [True]


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize(("gap", "expected"), [(0, True), (9, True), (15, True), (16, False), (40, False)])
def test_a_straight_end_near_each_edge(turn, gap, expected):
    x0, y0, x1, y1 = 200, 150, 260, 210
    sides = [(100 + gap, y0, x1, y1), (x0, 50 + gap, x1, y1), (x0, y0, 419 - gap, y1), (x0, y0, x1, 369 - gap)]
    assert is_cut(box(*sides[turn])) == expected


@pytest.mark.parametrize("turn", range(4))
def test_a_round_end_is_no_cut_but_touching_the_edge_is(turn):
    def at(gap):
        near = gap + 20
        return disc(*[(100 + near, 200, 20), (250, 50 + near, 20), (419 - near, 200, 20), (250, 369 - near, 20)][turn])

    assert not is_cut(at(5))
    assert is_cut(at(0))


@pytest.mark.parametrize("crop", [(0, 0, 500, 400), (0, 0, 320, 400), (180, 0, 500, 400)])
def test_the_edge_of_the_image_cuts_nothing(crop):
    assert not is_cut(box(200, 0, 260, 399), crop)


def test_a_straight_side_away_from_the_edge_does_not_count():
    half = disc(135, 200, 30) & (np.mgrid[: SIZE[0], : SIZE[1]][1] <= 135)  # round at x = 105, straight at x = 135
    assert not is_cut(half)
    assert is_cut(half, (0, 50, 140, 370))


LAST = AmgParameters(crop_layers="last", crop_n_layers=1, points_per_side=8, stability_score_thresh=0.6)
CROPS = crop_boxes(SIZE, LAST)  # 318 and 268 px, of which 136 overlap: columns 0 .. 317, 182 .. 499


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ((150, 100, 317, 150), True),  # from the left crop's edge beyond where the right one begins
        ((182, 100, 317, 150), True),  # as far as both see
        ((191, 100, 317, 150), False),  # off the edge of the right one, which holds it all
        ((182, 100, 308, 150), False),  # off the edge of the left one
        ((0, 100, 317, 150), True),
        ((0, 100, 308, 150), False),  # the edge of the image cuts nothing
        ((150, 0, 317, 399), True),
    ],
)
def test_a_part_that_no_crop_holds(part, expected):
    assert [crop.xyxy[::2] for crop in CROPS[::2]] == [(0, 318), (182, 500)]
    boxes = np.array([part])
    assert cut_by_all(boxes, CROPS, SIZE).tolist() == [expected]
    turned = [dataclasses.replace(crop, x0=crop.y0, y0=crop.x0, x1=crop.y1, y1=crop.x1) for crop in CROPS]
    assert cut_by_all(boxes[:, [1, 0, 3, 2]], turned, SIZE[::-1]).tolist() == [expected]


def test_missing_objects_are_parts_with_less_than_half_in_labels_and_count_once_if_they_touch():
    labels = np.zeros(SIZE, np.int32)
    frames = [box(0, 0, 99, 9), box(100, 5, 199, 20), box(300, 300, 309, 309), box(201, 21, 210, 30)]
    assert count_missing(masks_from_frames(frames), labels) == 3
    labels[300:305, 300:310] = 7
    assert count_missing(masks_from_frames(frames), labels) == 2  # half of it is found
    labels[304, 300] = 0
    assert count_missing(masks_from_frames(frames), labels) == 3
    assert count_missing(masks_from_frames([], size=SIZE), labels) == 0


@pytest.mark.parametrize(
    ("layers", "which", "expected"), [(2, "last", 2), (1, "last", 1), (0, "last", 0), (1, "all", 0)]
)
def test_objects_larger_than_every_crop_are_counted(layers, which, expected):
    """A disc that crops of layer 1 hold, one that is larger than those, and a small one that an edge crosses."""
    image = blobs((600, 600), ((125, 125, 120), (385, 385, 210), (25, 560, 12), (400, 40, 12)))
    params = dataclasses.replace(LAST, crop_layers=which, crop_n_layers=layers)
    *_, last = segment_planes(PlaneStack(image), BlobModel(), params)
    assert last.result.too_large == expected
    outcome = Outcome(1, params)
    outcome.add(last.result)
    source = SimpleNamespace(stack=SimpleNamespace(plane_size=image.shape), note="")
    summary = outcome.summary(SimpleNamespace(path="a.tif"), source, [Path("a_labels.tif")])
    words = f"{expected} object{'s' * (expected > 1)} too large for the crops may be missing"
    assert (words in summary) == bool(expected)


def test_the_widget_says_what_crops_cut_and_lost():
    exact, search = AmgParameters(), AmgParameters(point_search="hierarchical")
    assert found(3, 0, 1, exact) == "3 masks found in 1 s."
    assert found(3, 0, 1, exact, note="the grid was asked") == "3 masks found in 1 s; the grid was asked."
    assert found(1, 0, 1, search) == "1 mask found in 1 s, approximate."
    assert found(2, 0, 1, AmgParameters(mode="ais")) == "2 masks found in 1 s, by AIS."
    assert found(3, 2, 1, exact, 4).endswith(
        " 2 may be cut by the edge of a crop. 4 too large for the crops may be missing."
    )
    assert found(0, 0, 1, exact, 4).endswith("Brightness. 4 too large for the crops may be missing.")


def test_parts_pass_the_thresholds_that_masks_pass():
    image = np.repeat(blobs((400, 400), ((200, 200, 180),))[..., None], 3, axis=2)
    stored = propose_candidates(image, BlobModel(), LAST)
    assert len(stored) == 0
    parts = cut_off(stored, LAST)
    assert len(parts) == 4
    assert len(cut_off(stored, dataclasses.replace(LAST, pred_iou_thresh=0.951))) == 0
    assert count_missing(parts, np.zeros((400, 400), np.int32)) == 1


def test_parts_count_by_their_own_thresholds_whatever_was_stored_beside_them():
    """What is stored below the thresholds asked for hides no part, and batches of points change nothing."""
    image = np.repeat(blobs((400, 400), ((200, 200, 180), (20, 200, 12)))[..., None], 3, axis=2)
    weak = dataclasses.replace(LAST, pred_iou_thresh=0.1, stability_score_thresh=0.1, points_per_batch=3)
    stored = propose_candidates(image, BlobModel(), weak)
    fields = [spec.name for spec in dataclasses.fields(Masks) if spec.name not in ("cutouts", "size")]
    for iou, stability, nms in [(0.3, 0.2, 0.7), (0.65, 0.9, 0.3), (0.9, 0.97, 0.9)]:
        changes = {"pred_iou_thresh": iou, "stability_score_thresh": stability, "box_nms_thresh": nms}
        params = dataclasses.replace(LAST, **changes)
        ours = cut_off(stored, dataclasses.replace(params, points_per_batch=3))
        expected = cut_off(propose_candidates(image, BlobModel(), params), params)
        for name in fields:
            np.testing.assert_array_equal(getattr(ours, name), getattr(expected, name))
    assert len(cut_off(stored, dataclasses.replace(weak, max_area=100))) == 0
    assert len(cut_off(stored, dataclasses.replace(weak, min_area=10**6))) > 0
