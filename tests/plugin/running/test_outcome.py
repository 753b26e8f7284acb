"""How a run ended, in words."""

from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.running.outcome import came_to, found


def last(layer: int) -> AmgParameters:
    return AmgParameters(crop_layers="last", crop_n_layers=layer)


def test_masks_that_overlaps_have_cost_are_counted() -> None:
    words = found(122, 2, 8, last(1), before=179)
    assert words == "179 masks found in 8 s. 122 labels, 57 lost to overlaps. 2 may be cut by the edge of a crop."
    assert found(1, 0, 8, last(1), before=2) == "2 masks found in 8 s. 1 label, 1 lost to overlaps."
    assert found(3, 0, 8, last(1), before=3) == "3 masks found in 8 s."
    assert found(7, 0, 8, AmgParameters(link="z"), objects=2, before=9) == "2 objects through z (7 masks) found in 8 s."


def test_why_there_are_none() -> None:
    assert found(0, 0, 8, last(0)).startswith("No masks found. Lower the two thresholds")
    assert (
        found(0, 0, 8, AmgParameters(link="z"), objects=0, candidates=56)
        == "No objects through z: of 56 candidates none goes on through 3 planes (Min planes)."
    )
    words = "No masks left: of 1 candidate above the thresholds none is kept, for its size or for what is seen of it."
    assert found(0, 0, 8, last(0), candidates=1) == words


def test_what_crops_and_points_came_to() -> None:
    assert (
        came_to(Tally(set(range(1)), 4, 196, 240), last(1))
        == "Crop layer 1 (4 crops), 196 points asked, 240 candidates above the thresholds."
    )
    assert (
        came_to(Tally(set(range(1)), 1, 1, 1), last(0))
        == "Whole image, 1 point asked, 1 candidate above the thresholds."
    )
    assert (
        came_to(Tally(set(range(3)), 4, 6, 0), last(1), 3)
        == "Crop layer 1 (4 crops each), 6 points asked, 0 candidates above the thresholds."
    )
    both = AmgParameters(crop_n_layers=2)
    assert (
        came_to(Tally(set(range(1)), 21, 9, 5), both)
        == "Whole image and crop layers 1 to 2 (21 crops), 9 points asked, 5 candidates above the thresholds."
    )
    one = AmgParameters(crop_n_layers=1)
    assert came_to(Tally(set(range(2)), 5, 9, 5), one, 2, "plane").startswith(
        "Whole planes and crop layer 1 (5 crops each), 9 points"
    )
    tiles = AmgParameters(tile_size=512, crop_layers="last", crop_n_layers=1)
    assert (
        came_to(Tally(set(range(6)), 4, 9, 5), tiles, 1)
        == "6 tiles of 512 px, each in 4 crops, 9 points asked, 5 candidates above the thresholds."
    )


def test_what_is_not_known_is_not_said() -> None:
    assert came_to(Tally(), last(1)) == ""
    assert (
        came_to(Tally(set(range(2)), 1, 9, 5, is_complete=False), last(0), 2, "plane")
        == "Whole planes, 5 candidates above the thresholds."
    )
