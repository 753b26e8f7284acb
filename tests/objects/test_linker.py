"""Objects through a stack: which planes have one id, whatever is empty, fails or is shuffled."""

import dataclasses
import gc
import pickle
import weakref

import numpy as np
import pytest

from napari_sam_amg.amg.region import RegionCandidates, whole_plane
from napari_sam_amg.objects.axes import in_order, linked_axis
from napari_sam_amg.objects.chains import Chain
from napari_sam_amg.objects.filling import halfway
from napari_sam_amg.objects.linker import Linker, link_planes
from tests.objects.discs import SIZE, T, Z, disc, linked, masks_of, plane, stack

GAP = dataclasses.replace(Z, link_gap=1)


def ids(labels: np.ndarray) -> list[list[int]]:
    return [np.unique(each[each > 0]).tolist() for each in labels]


def columns_at_random(seed: int, count: int = 24):
    """Discs far apart, each in a run of planes of its own; some planes are empty."""
    random = np.random.default_rng(seed)
    places = [(x, y) for x in range(12, 120, 24) for y in range(12, 90, 24)]
    columns = []
    for x, y in places:
        first = int(random.integers(0, count - 3))
        columns.append(((x, y, int(random.integers(6, 11))), range(first, int(random.integers(first + 3, count + 1)))))
    return columns


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("empty", [(0, 0, 0), (3, 0, 2), (0, 4, 0), (2, 5, 1)])
def test_each_column_of_discs_has_one_id(seed, empty):
    before, between, after = empty
    columns = columns_at_random(seed)
    upper = [(one, range(p.start + before, p.stop + before)) for one, p in columns]
    lower = [(one, range(p.start + before + 24 + between, p.stop + before + 24 + between)) for one, p in columns]
    count = before + 24 + between + 24 + after
    runs = upper + lower
    labels, sections, objects = linked(stack(runs, count))
    expected = set()  # a disc that goes on without a plane between is one column
    for one, planes in upper:
        joined = next(p for other, p in lower if other == one)
        expected |= {(one, planes.start, joined.stop)} if planes.stop == joined.start else {
            (one, planes.start, planes.stop), (one, joined.start, joined.stop)
        }  # fmt: skip
    assert objects["index"].tolist() == list(range(1, 1 + len(expected)))
    for (x, y, radius), start, stop in expected:
        (id,) = np.unique(labels[start:stop, y, x])
        volume = labels == id
        np.testing.assert_array_equal(volume.any(axis=0), disc(x, y, radius))
        assert np.flatnonzero(volume.any(axis=(1, 2))).tolist() == list(range(start, stop))
    assert not sections.duplicated(["index", "plane"]).any()


def test_ids_are_dense_in_order_of_planes_and_never_used_again():
    labels, sections, objects = linked(stack(columns_at_random(3), 26))
    assert sorted(sections["index"].unique()) == objects["index"].tolist() == list(range(1, 1 + len(objects)))
    assert objects["first_plane"].is_monotonic_increasing
    assert [sorted(part["index"]) for _, part in sections.groupby("plane")] == [each for each in ids(labels) if each]


def test_planes_that_fail_end_objects_and_not_the_run():
    whole = [((20, 20, 8), range(12)), ((60, 60, 8), range(5, 12))]
    labels, _, objects = linked(stack(whole, 12, failed=(4,)))
    assert ids(labels) == [[1]] * 4 + [[]] + [[2, 3]] * 7
    results = list(link_planes(stack(whole, 12, failed=(0, 4)), Z))
    assert [bool(result.problem) for result in results] == [z in (0, 4) for z in range(12)]
    assert len(objects) == 3
    with pytest.raises(ValueError, match="torn"):
        list(link_planes(stack(whole, 3, failed=(0, 1, 2)), Z))


def test_a_column_interrupted_by_a_plane_is_two_objects_or_with_gaps_one():
    column = [((40, 40, 10), range(4)), ((41, 40, 10), range(5, 9))]
    for planes in (stack(column, 9), stack(column, 9, failed=(4,))):
        assert ids(linked(planes)[0]) == [[1]] * 4 + [[]] + [[2]] * 4
        labels, sections, objects = linked(planes, GAP)
        assert ids(labels) == [[1]] * 9
        filled = labels[4] > 0
        assert (filled & disc(40, 40, 10)).sum() / (filled | disc(40, 40, 10)).sum() > 0.9
        assert sections["filled"].tolist() == [0] * 4 + [1] + [0] * 4
        row = objects.iloc[0]
        assert (row["planes"], row["filled_planes"], row["volume"]) == (9, 1, (labels == 1).sum())
        assert row["predicted_iou"] == pytest.approx(0.9)  # that of the planes in which it was seen
        assert row["weakest_link"] == pytest.approx(sections["link_iou"].min())


def test_discs_above_each_other_are_one_object_with_gaps_only_if_their_shapes_are_alike():
    two = [((40, 40, 10), range(4)), ((40, 40, 13), range(5, 9))]
    for params in (Z, GAP):
        labels, _, objects = linked(stack(two, 9), params)
        assert ids(labels) == [[1]] * 4 + [[]] + [[2]] * 4
        assert objects["filled_planes"].tolist() == [0, 0]
    # without a plane between them no rule can tell
    assert ids(linked(stack([((40, 40, 10), range(4)), ((40, 40, 11), range(4, 9))], 9), Z)[0]) == [[1]] * 9


def test_planes_that_are_filled_count_as_planes():
    for column, count in (((range(1), range(2, 3)), 3), ((range(2), range(3, 5)), 5)):
        planes = stack([((40, 40, 10), part) for part in column], 7)
        assert ids(linked(planes, dataclasses.replace(GAP, min_planes=count))[0])[:count] == [[1]] * count
        assert not linked(planes, dataclasses.replace(GAP, min_planes=count + 1))[0].any()


def test_what_goes_on_as_another_object_is_not_joined_over_a_gap():
    params = dataclasses.replace(GAP, link_iou=0.7, min_planes=1, min_visible_fraction=0.1)
    planes = [plane(z, [(40, 40, radius)]) for z, radius in enumerate((10, 8, 9))]  # IoUs of .64, .79 and .81
    assert ids(linked(planes, params)[0]) == [[1], [2], [2]]


def test_nothing_is_filled_where_less_than_half_is_free():
    for left, joined in ((37, False), (46, True)):
        blocker = np.zeros(SIZE, bool)
        blocker[20:60, left:90] = True
        frames = [[disc(40, 40, 10)], [blocker], [disc(40, 40, 10)]]
        labels, _, _ = linked(
            [framed(z, some) for z, some in enumerate(frames)], dataclasses.replace(GAP, min_planes=1)
        )
        assert (labels[0, 40, 40] == labels[2, 40, 40]) == joined
        assert (labels[1][blocker] == labels[1, 40, 80]).all()


def test_the_outline_lies_half_way():
    shape = halfway(disc(60, 48, 20), disc(60, 48, 24))
    assert abs(int(shape.sum()) - int(disc(60, 48, 22).sum())) < 0.03 * shape.sum()
    moved = halfway(disc(50, 48, 20), disc(58, 48, 20))
    assert abs(np.nonzero(moved)[1].mean() - 54) < 0.5


def test_a_gap_of_two_planes_is_never_filled():
    column = [((40, 40, 10), range(4)), ((40, 40, 10), range(6, 10))]
    assert ids(linked(stack(column, 10), GAP)[0]) == [[1]] * 4 + [[], []] + [[2]] * 4


def test_what_moves_by_half_its_size_is_followed_through_time_and_not_through_z():
    planes = [plane(at, [(30 + 8 * at, 40, 10)]) for at in range(4)]  # an IoU of .35
    assert ids(linked(planes, dataclasses.replace(T, link_iou=0))[0]) == [[1]] * 4
    assert ids(linked(planes, dataclasses.replace(Z, link_iou=0, min_planes=1))[0]) == [[1], [2], [3], [4]]


def test_nothing_is_drawn_over_what_is_there():
    column = [((40, 40, 10), range(4)), ((40, 40, 10), range(5, 9))]
    for x, joined in ((40, False), (62, True)):  # in the missing plane lies another object, over it or beside it
        planes = stack([*column, ((x, 40, 18), range(4, 5))], 9)
        labels, _, objects = linked(planes, dataclasses.replace(GAP, min_planes=1))
        assert len(objects) == 2 + (not joined)
        assert (labels[4][disc(x, 40, 17)] == labels[4, 40, x]).all()


def test_fragments_of_few_planes_are_dropped():
    columns = [((20, 20, 8), range(2)), ((60, 20, 8), range(3)), ((100, 20, 8), range(4)), ((60, 70, 8), range(5, 6))]
    for least, kept in ((1, 4), (2, 3), (3, 2), (4, 1), (5, 0)):
        labels, sections, objects = linked(stack(columns, 8), dataclasses.replace(Z, min_planes=least))
        assert len(objects) == len(np.unique(labels)) - 1 == kept == sections["index"].nunique()


def test_a_stack_of_two_planes_has_objects_of_two_planes():
    assert ids(linked(stack([((20, 20, 8), range(2)), ((60, 60, 8), range(1))], 2))[0]) == [[1], [1]]


def test_through_time_nothing_is_dropped():
    labels, _, objects = linked(stack([((20, 20, 8), range(1)), ((60, 60, 8), range(3, 5))], 6), T)
    assert ids(labels) == [[1], [], [], [2], [2], []]
    assert objects["parent"].tolist() == [0, 0]


def test_an_object_that_divides_names_its_daughters():
    frames = [[(60, 50, 16)]] * 3 + [[(50, 50, 9), (70, 50, 9)]] * 3 + [[(47, 50, 9), (73, 50, 9)]] * 2
    planes = [plane(at, discs) for at, discs in enumerate(frames)]
    labels, _, objects = linked(planes, T)
    assert ids(labels) == [[1]] * 3 + [[2, 3]] * 5
    assert objects["parent"].tolist() == [0, 1, 1]
    assert objects[["first_plane", "last_plane"]].to_numpy().tolist() == [[0, 2], [3, 7], [3, 7]]
    # no object divides along z: a branch that is not the same any more begins anew
    assert "parent" not in linked(planes, Z)[2]


def test_a_crumb_in_an_object_is_no_daughter():
    frames = [[(60, 50, 16)], [(56, 50, 12), (71, 50, 2)], [(56, 50, 12)]]
    labels, _, objects = linked([plane(at, discs) for at, discs in enumerate(frames)], T)
    assert objects["parent"].tolist() == [0, 0]
    assert (labels[:, 50, 58] == 1).all()


def two_parts(at: int) -> list[np.ndarray]:
    """A large part and a small one, that were one object at first."""
    parts = [disc(50, 50, 12), disc(71, 50, 8)]
    return [parts[0] | parts[1]] if at < 2 else parts


def framed(at: int, frames: list[np.ndarray]) -> RegionCandidates:
    return RegionCandidates(whole_plane((at,), SIZE), masks_of(frames))


def test_a_daughter_that_is_nearly_its_mother_is_an_object_of_its_own_too():
    labels, sections, objects = linked([framed(at, two_parts(at)) for at in range(4)], T)
    assert sections["link_iou"].iloc[2:4].isna().all()  # one of them would have been linked at .64
    assert ids(labels) == [[1]] * 2 + [[2, 3]] * 2
    assert objects["parent"].tolist() == [0, 1, 1]


def test_what_divided_does_not_come_back():
    params = dataclasses.replace(T, link_gap=1, min_visible_fraction=0.2)
    frames = [[(60, 50, 16)], [(51, 50, 9), (70, 50, 9)], [(60, 50, 16)]]
    labels, _, objects = linked([plane(at, discs) for at, discs in enumerate(frames)], params)
    assert objects["parent"].tolist() == [0, 1, 1, 0]
    assert ids(labels) == [[1], [2, 3], [4]]


def test_of_a_long_line_of_ancestors_none_is_held():
    frames = [[(60, 50, 20)], [(48, 50, 11), (72, 50, 11)]] * 15
    linker, parents = Linker(dataclasses.replace(T, link_iou=0.15)), []
    for at, discs in enumerate(frames):
        parents += [parent for result in linker.add(plane(at, discs)) for parent in result.objects["parent"]]
    assert len(set(parents)) > 10  # each from one of the generation before
    assert sum(type(one) is Chain for one in gc.get_objects()) < 10


def two_axes(columns=((30, 30, 9), (80, 60, 9))):
    """(T, Z): in time 0 both columns, in time 1 the second alone."""
    return [plane((t, z), columns[t:]) for t in range(2) for z in range(4)]


def test_every_position_of_the_other_axes_is_linked_by_itself_with_ids_of_its_own():
    labels, sections, objects = linked(two_axes(), Z, axis=1)
    assert ids(labels) == [[1, 2]] * 4 + [[3]] * 4
    assert objects["plane_0"].tolist() == [0, 0, 1]
    assert objects[["first_plane", "last_plane"]].to_numpy().tolist() == [[0, 3]] * 3
    order = in_order([p.region.index for p in two_axes()], axis=0)
    by_index = {p.region.index: p for p in two_axes()}
    labels, sections, objects = linked([by_index[index] for index in order], T, axis=0)
    assert order[:3] == [(0, 0), (1, 0), (0, 1)]
    assert sections.groupby("index")["plane_1"].nunique().tolist() == [1] * 8  # four planes of two objects
    assert objects["planes"].tolist() == [1, 2] * 4


def test_planes_come_in_order_and_none_twice():
    linker = Linker(Z)
    linker.add(plane(3))
    for index in (3, 2):
        with pytest.raises(ValueError, match=rf"plane \({index},\) comes after plane \(3,\)"):
            linker.add(plane(index))
    planes = stack([((20, 20, 8), range(8))], 8)
    assert ids(linked(planes[:3] + planes[4:])[0]) == [[1]] * 3 + [[2]] * 4  # one that is left out ends an object


def test_stored_candidates_are_linked_again_with_other_parameters_in_any_order_of_work():
    planes = stack([*columns_at_random(5), ((60, 48, 5), range(2, 4))], 24)
    stored = {p.region.index: pickle.dumps(p) for p in reversed(planes)}
    again = [pickle.loads(stored[index]) for index in in_order(stored, axis=0)]
    for params in (Z, dataclasses.replace(Z, min_planes=2), dataclasses.replace(Z, link_iou=0.9)):
        for one, other in zip(link_planes(planes, params), link_planes(again, params), strict=True):
            np.testing.assert_array_equal(one.labels, other.labels)
            assert one.features.equals(other.features)
            assert one.objects.equals(other.objects)


@pytest.mark.parametrize("params", [Z, GAP, T])
def test_planes_are_given_away_and_not_held(params):
    alive: list[weakref.ref] = []

    def candidates():
        for z in range(60):
            one = plane(z, [(20, 20, 8), *([(60, 60, 8)] if z % 4 else []), *([(100, 30, 7)] if z % 9 == 0 else [])])
            alive.append(weakref.ref(image := np.zeros(1)))
            yield dataclasses.replace(one, image=image)

    most = given = 0
    for result in link_planes(candidates(), params):
        given += 1
        assert result.index == (given - 1,)
        most = max(most, sum(one() is not None for one in alive))
        assert len(alive) - given <= 5
    assert given == 60
    assert most <= 6


def test_an_axis_is_found_by_its_name():
    assert linked_axis(Z, ["T", "Z"], 2) == 1
    assert linked_axis(T, ["T", "Z"], 2) == 0
    assert linked_axis(Z, None, 1) == linked_axis(Z, ["Q"], 1) == linked_axis(T, ["slice"], 1) == 0
    for names, count, words in (
        (["T"], 1, "has the axes T"), (["T", "Q"], 2, "has the axes T, Q"), (None, 2, "has 2 axes without names"),
        (None, 0, "single plane"), (["Z", "z"], 2, "one axis 'z'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            linked_axis(Z, names, count)


def test_all_may_be_empty():
    labels, sections, objects = linked([plane(z) for z in range(5)])
    assert labels.shape == (5, *SIZE)
    assert not labels.any()
    assert len(sections) == len(objects) == 0
    assert list(objects.columns)[:4] == ["index", "plane", "first_plane", "last_plane"]
