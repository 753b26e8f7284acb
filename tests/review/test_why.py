"""What is said of every candidate is what became of it, by the functions that make the result."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.masks import Candidates, concatenate, no_candidates
from napari_sam_amg.amg.region import RegionCandidates, finish, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.review.why import NEVER, fates_of, nearest_asked, what_is_at, what_is_shown_at
from napari_sam_amg.review.why_words import in_words

SIZE = (48, 64)
FLOOR = AmgParameters(pred_iou_thresh=0.1, stability_score_thresh=0.1, crop_layers="last", crop_n_layers=1)
PARAMS = replace(FLOOR, pred_iou_thresh=0.5, stability_score_thresh=0.5, min_label_region_area=4)


def table(masks, iou, stability=None, first=0, crop=(0, 0, 64, 48)):
    """Masks (H, W) as candidates of a crop that begins at a multiple of eight columns."""
    if not masks:
        return no_candidates()
    boxes, bits = [], []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x0, y0, x1, y1 = columns[0], rows[0], columns[-1], rows[-1]
        boxes.append((x0, y0, x1, y1))
        bits.append(np.packbits(mask[:, crop[0] :], axis=1)[y0 : y1 + 1, (x0 - crop[0]) // 8 : (x1 - crop[0]) // 8 + 1])
    numbers = np.arange(first, first + len(masks))
    return Candidates(
        np.array(boxes, np.int64),
        np.array(iou, np.float32),
        np.full(len(masks), 0.9, np.float32) if stability is None else np.array(stability, np.float32),
        np.column_stack([numbers, numbers + 0.5]),  # by which a test knows them again
        np.tile(np.array(crop, np.int64), (len(masks), 1)),
        bits,
    )


def box(y0, x0, y1, x1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def stored(*crops, cut=(), asked=None):
    return StoredCandidates(FLOOR, SIZE, crops, cut, asked)


def at(place, candidates, params=PARAMS):
    found = what_is_at(fates_of(candidates, params), *place)
    return [(int(one.point[0]), one.fate, one.label, one.by) for one in found]


shapes = st.tuples(
    st.integers(0, 40), st.integers(0, 56), st.integers(2, 30), st.integers(2, 30), st.booleans(), st.booleans()
)
scores = st.sampled_from([0.2, 0.5, 0.55, 0.6, 0.8, 0.8, 0.95])


def drawn(shape):
    y, x, height, width, hollow, split = shape
    mask = box(y, x, y + height, x + width)
    if hollow:
        mask[y + 2 : y + height - 2, x + 2 : x + width - 2] = False
    if split:
        mask[(y + min(y + height, 48)) // 2] = False
        mask[y, x] = True  # or nothing would be left
    return mask


@st.composite
def crops(draw):
    parts, first = [], 0
    for corner in (0, 16):
        some = draw(st.lists(st.tuples(shapes, scores, scores), max_size=9))
        masks = [drawn(shape) for shape, _, _ in some]
        masks = [mask & (np.arange(64) >= corner) for mask in masks]
        some = [one for one, mask in zip(some, masks, strict=True) if mask.any()]
        masks = [mask for mask in masks if mask.any()]
        parts.append(table(masks, [s[1] for s in some], [s[2] for s in some], first, (corner, 0, 64, 48)))
        first += len(masks)
    return parts


@given(
    crops(),
    st.sampled_from(["score", "small", "large"]),
    st.sampled_from(["largest", "all"]),
    st.sampled_from([0, 6]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["all", "last"]),
    st.sampled_from([(0, 0), (20, 150)]),
)
def test_those_that_are_said_to_be_kept_are_the_labels_exactly(parts, overlap, pieces, cleaned, visible, layers, areas):
    params = replace(
        PARAMS, overlap=overlap, label_pieces=pieces, min_mask_region_area=cleaned, min_visible_fraction=visible,
        crop_layers=layers, min_area=areas[0], max_area=areas[1],
    )  # fmt: skip
    candidates = replace(stored(*parts), params=replace(FLOOR, crop_layers=layers))
    fates = fates_of(candidates, params)
    result = finish(RegionCandidates(whole_plane((), SIZE), candidates), params)
    kept = {int(fates.candidates.points[row, 0]): int(label) for row, label in enumerate(fates.labels) if label}
    assert kept == dict(zip(result.features["point_x"].astype(int), result.features["index"], strict=True))
    np.testing.assert_array_equal(fates.painted.labels, result.labels)
    for row, fate in enumerate(fates.fates):
        assert (fate == "kept") == (fates.labels[row] > 0)
        one, place = fates.candidates, fates.place(row)
        assert (fate == "unsure") == (one.predicted_iou[row] <= params.pred_iou_thresh)
        assert (fate == "unstable") <= (one.stability_score[row] < params.stability_score_thresh)
        assert (place == NEVER) == (fate in {"unsure", "unstable", "wrong size"} or fate.startswith("double"))
        if fate == "wrong size":
            assert not areas[0] <= fates.candidates.areas[row] <= areas[1]
        if fate in {"double", "double between crops"}:
            winner = fates.loser_to(row)
            assert winner != NEVER
            both = one.select([winner, row])
            assert len(np.unique(both.crop_boxes, axis=0)) == 1 or fate == "double between crops"
        if fate == "covered":
            area = fates.masks.areas[place]
            assert fates.free[place] == 0 or fates.free[place] < visible * area


def test_the_two_thresholds():
    masks = [box(0, 0, 10, 10), box(2, 2, 12, 20), box(1, 1, 8, 30)]
    candidates = stored(table(masks, [0.4, 0.7, 0.9], [0.9, 0.45, 0.9]))
    assert at((5, 5), candidates) == [(2, "kept", 1, 0), (1, "unstable", 0, 0), (0, "unsure", 0, 0)]
    assert at((11, 5), candidates) == [(1, "unstable", 0, 0)]  # not those whose pixels are elsewhere
    assert at((40, 40), candidates) == []
    found = what_is_at(fates_of(candidates, PARAMS), 5, 5, ids=[17])
    assert [in_words(one, PARAMS) for one in found] == [
        "label 17", "stability 0.45 is below 0.5", "predicted IoU 0.40 is not above 0.5",
    ]  # fmt: skip


def test_masks_of_the_wrong_size() -> None:
    candidates = stored(table([box(0, 0, 10, 10), box(2, 2, 4, 4), box(0, 0, 40, 40)], [0.9, 0.9, 0.9]))
    params = replace(PARAMS, min_area=5, max_area=1000)
    assert at((3, 3), candidates, params) == [(0, "kept", 1, 0), (1, "wrong size", 0, 0), (2, "wrong size", 0, 0)]
    words = [in_words(one, params) for one in what_is_at(fates_of(candidates, params), 3, 3)]
    assert words[1:] == [
        "4 px large, kept are those of at least 5 px",
        "1600 px large, kept are those of at most 1000 px",
    ]


def test_doubles_name_the_label_that_won():
    first = table([box(0, 0, 10, 10), box(0, 0, 10, 11), box(30, 30, 40, 40)], [0.8, 0.9, 0.7])
    second = table([box(30, 30, 40, 41)], [0.95], first=3, crop=(16, 0, 64, 48))
    candidates = stored(first, second)
    assert at((5, 5), candidates) == [(1, "kept", 2, 0), (0, "double", 0, 2)]
    assert at((35, 35), candidates) == [(3, "kept", 1, 0), (2, "double between crops", 0, 1)]
    double = what_is_at(fates_of(candidates, PARAMS), 5, 5, ids=[4, 9])[1]
    assert in_words(double, PARAMS) == "a double of label 9"


def test_a_double_of_one_that_is_gone_says_what_happened_to_that():
    masks = [box(0, 0, 20, 20), box(0, 0, 10, 20), box(0, 0, 10, 19)]
    candidates = stored(table(masks, [0.95, 0.9, 0.8]))
    params = replace(PARAMS, min_visible_fraction=0.6)
    assert at((5, 5), candidates, params) == [(0, "kept", 1, 0), (1, "covered", 0, 1), (2, "double", 0, 0)]
    words = [in_words(one, params) for one in what_is_at(fates_of(candidates, params), 5, 5)]
    assert words[1:] == [
        "0% of it free, 60% needed; label 1 has most",
        "a double of a better one, which is gone, too: 0% of it free, 60% needed; label 1 has most",
    ]


def test_specks_rings_and_what_crops_cut():
    ring = box(10, 10, 30, 30) & ~box(12, 12, 28, 28)
    masks = [box(12, 12, 28, 28), ring]
    params = replace(PARAMS, max_ring_area=2.0, min_label_region_area=4)
    candidates = stored(table(masks, [0.9, 0.8]))
    assert at((10, 10), candidates, params) == [(1, "ring", 0, 0)]
    assert at((10, 10), candidates, replace(params, max_ring_area=0.0)) == [(1, "kept", 2, 0)]
    comb = box(0, 40, 20, 41)
    comb[1::2] = False  # ten pieces of a pixel each
    specks = stored(table([comb], [0.9]))
    assert at((0, 40), specks, replace(params, min_visible_fraction=1.0)) == [(0, "specks", 0, 0)]
    cut = stored(no_candidates(), no_candidates(), cut=(no_candidates(), table([box(0, 0, 9, 9)], [0.9])))
    assert at((3, 3), cut) == [(0, "cut", 0, 0)]


def test_what_is_joined_is_known_by_the_labels_that_are_shown():
    candidates = stored(table([box(0, 0, 10, 10), box(20, 20, 30, 30), box(0, 0, 10, 9)], [0.9, 0.8, 0.7]))
    shown = np.zeros(SIZE, np.int32)
    shown[0:10, 0:7] = 31
    fates = fates_of(candidates, PARAMS)
    assert [(one.fate, one.label, one.by) for one in what_is_shown_at(fates, 5, 5, shown)] == [
        ("kept", 31, 0), ("double", 0, 0),
    ]  # fmt: skip
    assert [(one.fate, one.label) for one in what_is_shown_at(fates, 25, 25, shown)] == [("not joined", 0)]
    shown[0:10, 3:7] = 0
    assert [one.fate for one in what_is_shown_at(fates, 5, 5, shown)] == ["not joined", "double"]


def test_how_far_the_nearest_point_is():
    assert nearest_asked(stored(), 5, 5) is None
    assert nearest_asked(stored(asked=np.empty((0, 2), np.float32)), 5, 5) is None
    asked = np.array([[3.5, 9.5], [40, 40]], np.float32)
    assert nearest_asked(stored(asked=asked), 5, 0) == pytest.approx(5)  # (x, y) of the middle of pixel (9, 3)


def test_candidates_stay_as_they_were():
    first = table([box(0, 0, 10, 10), box(0, 0, 10, 11)], [0.8, 0.9])
    before = concatenate([first])
    fates_of(stored(first), PARAMS)
    np.testing.assert_array_equal(first.points, before.points)
    assert first.points.shape == (2, 2)
    free = np.zeros(1, np.int64)
    masks = fates_of(stored(first), PARAMS).masks
    paint(masks, PARAMS, free_pixels=free)
    assert free.tolist() == [110]
