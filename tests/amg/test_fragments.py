import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects, label

from napari_sam_amg.amg import fragments
from napari_sam_amg.amg.fragments import fill_holes, give_away, plainly_one_piece, rings, without_strays
from napari_sam_amg.params import AmgParameters


def picture(text):
    """Labels from rows of digits; x is a pixel that a label has lost."""
    rows = [row.strip() for row in text.strip().splitlines()]
    labels = np.array([[int(char) if char.isdigit() else 0 for char in row] for row in rows], np.int32)
    return labels, np.array([[char == "x" for char in row] for row in rows])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("11111\n11x11\n11111", "11111\n11111\n11111"),  # all around
        ("11100\n11x00\n11100", "11100\n11100\n11100"),  # three sides of four
        ("11100\n11x00\n11000", "11100\n11000\n11000"),  # two of four: the background wins ties
        ("00000\n0xx00\n00000", "00000\n00000\n00000"),
        ("11100\n1xx22\n11122", "11100\n11122\n11122"),  # four sides of six
        ("11x\n111\n111", "111\n111\n111"),  # the edge of the image is no neighbour
        ("xxx\nxxx", "000\n000"),
        ("11111\n1x222\nx2222", "11111\n11222\n12222"),  # a corner joins nothing: each goes its way
        ("1111\n1xx2\n2222", "1111\n1112\n2222"),  # as long as one another: the lower id
    ],
)
def test_lost_pixels_go_to_the_longest_border(before, after):
    labels, vacated = picture(before)
    give_away(labels, vacated)
    np.testing.assert_array_equal(labels, picture(after)[0])


def slow_give_away(labels, vacated):
    result = labels.copy()
    regions, count = label(vacated)
    for region in range(1, count + 1):
        sides = np.zeros(labels.max() + 1, int)
        for y, x in np.argwhere(regions == region):
            for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1] and not vacated[row, column]:
                    sides[labels[row, column]] += 1
        result[regions == region] = sides.argmax()
    return result


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
def test_against_pixel_by_pixel(seed, share):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (4, 5)), np.ones((3, 3), int)).astype(np.int32)
    vacated = rng.random(labels.shape) < share
    labels[vacated] = 0
    expected = slow_give_away(labels, vacated)
    give_away(labels, vacated)
    np.testing.assert_array_equal(labels, expected)


def test_what_another_label_took_meanwhile_is_not_given_away():
    labels, vacated = picture("111\n1x1\n111")
    labels[1, 1] = 2
    give_away(labels, vacated)
    assert labels[1, 1] == 2


@pytest.mark.parametrize(
    ("before", "size", "filled"),
    [
        ("1111\n1001\n1111", 3, True),
        ("1111\n1001\n1111", 2, False),  # smaller than, not as small as
        ("1111\n1001\n1112", 3, True),  # a corner is no side
        ("1111\n1001\n1121", 3, False),  # between two labels
        ("1001\n1111\n1111", 3, False),  # at the edge of the image
        ("0111\n1001\n1111", 3, True),  # open by a corner alone
    ],
)
def test_holes(before, size, filled):
    labels, _ = picture(before)
    expected = labels.copy()
    if filled:
        expected[1, 1:3] = 1
    fill_holes(labels, size)
    np.testing.assert_array_equal(labels, expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_holes_against_pixel_by_pixel(seed, size):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(1, 3, (3, 3)), np.ones((5, 5), int)).astype(np.int32)
    labels[rng.random(labels.shape) < 0.25] = 0
    expected = labels.copy()
    regions, count = label(labels == 0)
    for region in range(1, count + 1):
        own = np.pad(regions == region, 1)
        around = (np.roll(own, 1, 0) | np.roll(own, -1, 0) | np.roll(own, 1, 1) | np.roll(own, -1, 1)) & ~own
        near = set(np.pad(labels, 1, constant_values=-1)[around].tolist())
        if own.sum() < size and len(near) == 1 and near != {-1}:
            expected[own[1:-1, 1:-1]] = near.pop()
    fill_holes(labels, size)
    np.testing.assert_array_equal(labels, expected)


def test_one_piece_is_given_back_as_it_is():
    whole = np.ones((3, 4), bool)
    assert without_strays(whole, AmgParameters()) is whole


def test_of_two_equal_pieces_the_first_stays():
    two = np.array([[1, 1, 0, 1, 1]], bool)
    assert without_strays(two, AmgParameters()).tolist() == [[True, True, False, False, False]]


def disc(y, x, radius, size=(60, 60)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - y, columns - x) <= radius


EVERYWHERE = (slice(None), slice(None))


def painted(*frames):
    labels = np.zeros((60, 60), np.int32)
    for number, frame in enumerate(frames, 1):
        labels[frame & (labels == 0)] = number
    return labels


INNER, HALO = disc(30, 30, 10), disc(30, 30, 14)
OPEN = HALO & ~(np.mgrid[:60, :60][0] < 20)  # a halo that is not closed
RING_CASES = [
    ("a halo", painted(INNER, HALO), {2}),
    ("a halo with a gap between", painted(INNER, HALO & ~disc(30, 30, 11.5)), {2}),
    ("the ring was first", painted(HALO & ~disc(30, 30, 10), INNER), {1}),
    ("open on one side", painted(INNER, OPEN), {2}),
    ("half around", painted(INNER, HALO & (np.mgrid[:60, :60][0] > 30)), set()),
    ("beside", painted(INNER, disc(30, 48, 8)), set()),
    ("twice as large", painted(INNER, disc(30, 30, 18)), set()),
    ("a ring around nothing", painted(HALO & ~INNER), set()),
    ("two halos", painted(INNER, HALO, disc(30, 30, 17)), {2, 3}),
    ("around a small one", painted(disc(30, 30, 3), HALO), set()),
]


@pytest.mark.parametrize(
    ("labels", "expected"), [case[1:] for case in RING_CASES], ids=[case[0] for case in RING_CASES]
)
def test_rings(labels, expected):
    assert rings(labels, [EVERYWHERE] * labels.max(), 2.0) == expected


def test_a_ring_is_larger_than_nothing_in_a_full_window():
    assert rings(np.ones((5, 5), np.int32), [EVERYWHERE], 2.0) == set()


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(8, 24)] * 2, st.integers(1, 8), st.integers(0, 6)), min_size=1, max_size=7),
       st.sampled_from([1.0, 2.0, 5.0]))  # fmt: skip
def test_a_ring_is_looked_for_wherever_there_may_be_one(rings_at, max_ring_area):
    """Rings and discs in windows of their own, against a look at every label in all of the image."""
    frames = [disc(x, y, radius + width) & ~disc(x, y, radius) for x, y, radius, width in rings_at]
    frames += [disc(x, y, radius) for x, y, radius, _ in rings_at]
    labels = painted(*frames)
    used, labels = np.unique(labels, return_inverse=True)
    labels, count = labels.reshape(60, 60).astype(np.int32), len(used) - 1
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    expected: set[int] = set()
    for number in range(1, count + 1):
        if not expected.issuperset(fragments._held(labels, number, areas, max_ring_area)):
            expected.add(number)
    windows = find_objects(labels)
    assert rings(labels, windows, max_ring_area) == rings(labels, windows, max_ring_area, areas[1:]) == expected


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**25 - 1)), max_size=6))
def test_masks_that_are_told_to_be_one_piece_are_one(sizes):
    """And where each row has one run that lies on the one before, it is told."""
    cutouts = [
        np.array([bits >> place & 1 for place in range(height * width)], bool).reshape(height, width)
        for height, width, bits in sizes
    ]
    found = plainly_one_piece(cutouts)
    assert found.shape == (len(cutouts),)
    for cutout, is_one in zip(cutouts, found, strict=True):
        rows = [np.flatnonzero(row) for row in cutout]
        is_plain = all(len(row) and row[-1] - row[0] + 1 == len(row) for row in rows) and all(
            set(above) & set(below) for above, below in itertools.pairwise(rows)
        )
        assert is_one == is_plain
        assert not is_one or label(cutout)[1] == 1


@pytest.mark.parametrize("size", [3, 9])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=60)
def test_holes_are_those_pieces_of_the_background_that_no_edge_bounds(size, seed):
    random = np.random.default_rng(seed)
    before = (random.random((9, 11)) < 0.75).astype(np.int32)
    after = before.copy()
    fill_holes(after, size)
    pieces, count = label(before == 0)
    for piece in range(1, count + 1):
        own = pieces == piece
        at_edge = own[[0, -1]].any() or own[:, [0, -1]].any()
        assert (after[own] == 1).all() == (not at_edge and own.sum() < size)
    assert (after[before > 0] == 1).all()
