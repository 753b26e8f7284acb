"""What hands changed stays on top of whatever labels a run gives."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sam_amg.review.edits import HandEdits, Patch


def plane() -> NDArray[np.int32]:
    """Four objects, 1 to 4, in the corners of 12 x 12 pixels."""
    labels = np.zeros((12, 12), np.int32)
    for label, (y, x) in enumerate(((0, 0), (0, 8), (8, 0), (8, 8)), start=1):
        labels[y : y + 4, x : x + 4] = label
    return labels


def edited(labels: NDArray[np.int32], where: tuple[slice, slice], label: int) -> NDArray[np.int32]:
    after = labels.copy()
    after[where] = label
    return after


def test_a_patch_is_the_change_and_nothing_else() -> None:
    before = plane()
    after = edited(before, np.s_[2:6, 3:7], 9)
    patch = Patch.of((3,), before, after)
    assert patch is not None
    assert (patch.index, patch.corner, patch.size) == ((3,), (2, 3), (4, 4))
    assert patch.ids == {1, 9}
    assert patch.mask.sum() == 16
    again = before.copy()
    patch.put(again, patch.after)
    np.testing.assert_array_equal(again, after)
    patch.put(again, patch.before)
    np.testing.assert_array_equal(again, before)
    assert Patch.of((), before, before) is None


def test_a_patch_of_a_box_lies_where_the_box_lay() -> None:
    before = plane()
    after = edited(before, np.s_[8:10, 8:12], 0)
    patch = Patch.of((), before[6:], after[6:], (6, 0))
    assert patch is not None
    assert (patch.corner, patch.size) == ((8, 8), (2, 4))
    patch.put(before, patch.after)
    np.testing.assert_array_equal(before, after)


def test_what_was_drawn_stays_when_the_labels_beneath_change() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((), before, edited(before, np.s_[4:8, 4:8], 5))], new=[5])
    less = np.where(before == 2, 0, before)  # a slider hides object 2
    result = edits.apply((), less)
    assert (result == 5).sum() == 16
    assert set(np.unique(result)) == {0, 1, 3, 4, 5}
    assert set(np.unique(less)) == {0, 1, 3, 4}, "the labels that were given are not changed"
    assert edits.drawn == {5}


def test_what_was_erased_stays_erased() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((), before, edited(before, np.s_[0:2, 0:4], 0))])
    wider = edited(before, np.s_[0:4, 0:6], 1)  # the object comes back larger
    result = edits.apply((), wider)
    assert not result[0:2, 0:4].any()
    assert (result == 1).sum() == 24 - 8


def test_edits_of_one_plane_change_no_other() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((1,), before, edited(before, np.s_[4:8, 4:8], 5))])
    np.testing.assert_array_equal(edits.apply((0,), before), before)
    assert (edits.apply((1,), before) == 5).any()
    assert edits.planes == {(1,)}


def test_deleted_and_merged_objects_are_so_in_every_plane() -> None:
    edits, before = HandEdits(), plane()
    edits.delete([2])
    step = edits.merge([4, 3])
    assert (step.words, dict(step.renamed)) == ("merge 2 objects", {4: 3})
    for index in ((0,), (7,)):
        result = edits.apply(index, before)
        assert set(np.unique(result)) == {0, 1, 3}
        assert (result == 3).sum() == 32
    assert edits.merged == {3}
    assert edits.touched == {2, 3, 4}


def test_one_object_is_nothing_to_merge() -> None:
    with pytest.raises(ValueError, match="two objects or more"):
        HandEdits().merge([3, 3, 0])


def test_order_decides() -> None:
    before = plane()
    drawn_later, drawn_before = HandEdits(), HandEdits()
    patch = Patch.of((), before, edited(before, np.s_[4:8, 4:8], 2))
    drawn_later.delete([2])
    drawn_later.draw([patch])
    assert (drawn_later.apply((), before) == 2).sum() == 16, "drawn after object 2 was deleted: a new object 2"
    drawn_before.draw([patch])
    drawn_before.delete([2])
    assert not (drawn_before.apply((), before) == 2).any()


def test_what_was_drawn_follows_its_object_into_a_merge() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((), before, edited(before, np.s_[4:8, 4:8], 5))], new=[5])
    edits.merge([1, 5])
    edits.merge([1, 2])
    result = edits.apply((), before)
    assert set(np.unique(result)) == {0, 1, 3, 4}
    assert (result == 1).sum() == 48


def test_the_later_stroke_lies_on_top() -> None:
    edits, before = HandEdits(), plane()
    first = edited(before, np.s_[4:8, 4:8], 5)
    edits.draw([Patch.of((), before, first)])
    edits.draw([Patch.of((), first, edited(first, np.s_[4:8, 6:8], 6))])
    result = edits.apply((), before)
    assert (result == 5).sum() == (result == 6).sum() == 8


def test_undo_and_redo() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((), before, edited(before, np.s_[4:8, 4:8], 5))], new=[5])
    edits.delete([1])
    both = edits.apply((), before)
    undone = edits.undo()
    assert undone is not None
    assert undone.words == "delete 1 object"
    assert edits.next is undone
    assert 1 in edits.apply((), before)
    edits.undo()
    np.testing.assert_array_equal(edits.apply((), before), before)
    assert not edits
    assert edits.undo() is None
    assert edits.drawn == set()
    edits.redo()
    edits.redo()
    np.testing.assert_array_equal(edits.apply((), before), both)
    edits.undo()
    edits.delete([2])
    assert edits.redo() is None, "another step was made meanwhile"


def test_an_object_of_the_run_does_not_take_the_id_of_a_drawn_one() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((), before, edited(before, np.s_[4:8, 4:8], 5))], new=[5])
    edits.merge([1, 5])
    more = edited(before, np.s_[5:12, 5:7], 5)  # a lower threshold lets a new object 5 in
    result = edits.apply((), more)
    assert (result == 1).sum() == 32
    assert not (result == 5).any()


def test_ids_that_are_large_numbers() -> None:
    before = np.where(plane() == 2, 2_000_000_000, plane())
    edits = HandEdits()
    edits.delete([2_000_000_000])
    edits.merge([1, 3])
    result = edits.apply((), before)
    assert set(np.unique(result)) == {0, 1, 4}
    assert result.dtype == np.int32


def test_what_was_done_to_an_object_of_the_run_goes_on_under_its_new_id() -> None:
    """Somebody has drawn an object 2 after the run's own was deleted, and an object 4 after it was merged."""
    edits, before = HandEdits(), plane()
    edits.delete([2])
    edits.merge([3, 4])
    edits.undo()
    edits.redo()
    step = edits.last
    edits.follow({2: 12, 3: 13})
    assert edits.last is not None
    assert edits.last is not step
    assert edits.fits(edits.last)
    edits.draw([Patch.of((), np.where(before == 2, 0, before), edited(before, np.s_[5:7, 5:7], 2))], new=[2])
    later = np.where(before == 2, 12, np.where(before == 3, 13, before))  # as the run gives them from then on
    result = edits.apply((), later)
    assert set(np.unique(result)) == {0, 1, 2, 13}
    assert (result == 2).sum() == 4 + 16, "what was drawn: here all of the old place, too"
    assert (result == 13).sum() == 32


def test_steps_do_not_fit_labels_that_came_beneath_them() -> None:
    edits, before = HandEdits(), plane()
    edits.draw([Patch.of((), before, edited(before, np.s_[4:8, 4:8], 5))], new=[5])
    first = edits.last
    assert first is not None
    edits.laid_over()
    edits.delete([1])
    second = edits.last
    assert second is not None
    assert [edits.fits(step) for step in (first, second)] == [False, True]
    edits.undo()
    assert edits.fits(second)
    edits.laid_over()
    assert not edits.fits(second)
