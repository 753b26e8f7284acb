"""What is said of the time that is left: soon, sensible, and never longer than before without a reason."""

import pytest

from napari_sam_amg.plugin.running.time_left import TimeLeft, about, of_the_whole


def test_nothing_is_said_before_something_was_measured() -> None:
    left = TimeLeft(100.0)
    assert left.words(100.0) == ""
    left.note(100.1, 1, 100, 0, 1)
    assert left.words(100.1) == ""
    left.note(101.0, 2, 100, 0, 1)
    assert left.words(101.0) == "about 50 s left"


def test_after_a_plane_planes_are_counted() -> None:
    """Of the first plane's 100 steps 20 were enough; by steps, 81 s would be left."""
    left = TimeLeft(0.0)
    left.note(9.0, 19, 400, 0, 4)
    left.note(10.0, 100, 400, 1, 4)
    assert left.words(10.0) == "about 30 s left"
    left.note(15.0, 110, 400, 1, 4)
    assert left.words(15.0) == "about 25 s left"
    assert left.words(18.0) == "about 20 s left"  # it goes on by itself


def test_it_never_grows_by_a_little_but_says_so_if_all_takes_longer() -> None:
    left, said = TimeLeft(0.0), []
    # each plane takes a little longer than those before
    now = 0.0
    for plane in range(1, 20):
        now += 10 + 0.02 * plane
        left.note(now, 10 * plane, 200, plane, 20)
        said.append(left._ends - now if left._ends is not None else None)
    assert said == sorted(said, reverse=True)
    left.note(now + 500, 191, 200, 19, 20)
    left.note(now + 501, 192, 200, 19, 20)
    assert left.words(now + 501) == "a few seconds left"  # that plane should have been done by now
    slow = TimeLeft(0.0)
    slow.note(10.0, 10, 100, 1, 10)
    slow.note(110.0, 20, 100, 2, 10)
    assert slow.words(110.0) == "about 7 min left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "a few seconds"), (12.4, "about 10 s"), (38, "about 40 s"), (58, "about 1 min"), (200, "about 3 min"),
     (1000, "about 15 min"), (3590, "about 1 h 00 min"), (4100, "about 1 h 10 min")],
)  # fmt: skip
def test_times_as_one_says_what_is_not_known_well(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_a_part_says_how_long_all_of_it_takes() -> None:
    assert of_the_whole(2, 1 / 100, 1) == "The whole image would take about 3 min."
    assert of_the_whole(2, 1 / 40, 40) == "The whole image (all 40 planes) would take about 1 min."
    assert of_the_whole(2, 1 / 100, 1, is_region=True) == "The whole image would take up to about 3 min."
    assert of_the_whole(2, 1.0, 40) == ""
    assert of_the_whole(2, 0.99, 1) == ""
