"""Objects through a stack, from pixels on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_sam_amg import AmgParameters, PlaneStack, link_planes, propose_candidates, segment_planes
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.objects.table import Units
from tests.disc_model import BlobModel, blobs
from tests.test_run import Storage

PARAMS = AmgParameters(points_per_side=16, stability_score_thresh=0.6, link="z", min_planes=2)
COLUMN, OTHER = (20, 20, 8), (70, 60, 12)
EMPTY = np.zeros((96, 128), np.uint8)
STACK = np.stack([
    EMPTY, blobs((96, 128), (COLUMN,)), blobs((96, 128), (COLUMN, OTHER)), blobs((96, 128), (OTHER,)), EMPTY,
    blobs((96, 128), (OTHER,)), blobs((96, 128), (OTHER,)),
])  # fmt: skip


def results(data, params=PARAMS, **options):
    return [step.result for step in segment_planes(PlaneStack(data), BlobModel(), params, **options) if step.result]


def ids(planes):
    return [np.unique(plane.labels[plane.labels > 0]).tolist() for plane in planes]


def test_objects_have_one_id_through_planes_and_a_row_each():
    planes = results(STACK, units=Units((0.5, 0.5), 2.0, "area_um2"))
    assert [plane.index for plane in planes] == [(z,) for z in range(7)]
    assert ids(planes) == [[], [1], [1, 2], [2], [], [3], [3]]
    assert [plane.features["index"].tolist() for plane in planes] == ids(planes)
    assert [plane.objects["index"].tolist() for plane in planes] == [[], [], [1], [2], [], [], [3]]
    objects = pd.concat([plane.objects for plane in planes])
    volumes = [sum(int((plane.labels == id).sum()) for plane in planes) for id in (1, 2, 3)]
    assert objects["volume"].tolist() == volumes
    assert objects["volume_um3"].tolist() == [volume * 0.5 for volume in volumes]
    for plane in planes:  # a mask for each label
        assert len(plane.masks) == len(plane.features)
        for row, id in enumerate(plane.features["index"]):
            assert (plane.masks.frame(row) & (plane.labels == id)).sum() > 0.9 * (plane.labels == id).sum()


def test_gaps_and_failed_planes():
    assert ids(results(STACK, replace(PARAMS, link_gap=1))) == [[], [1], [1, 2], [2], [2], [2], [2]]
    broken = results(Storage(STACK, (1,)))
    assert ids(broken) == [[], [], [1], [1], [], [2], [2]]
    assert [bool(plane.problem) for plane in broken] == [z == 1 for z in range(7)]
    with pytest.raises(RuntimeError, match="a block is missing"):
        results(Storage(STACK, range(7)))


def test_axes_are_found_by_their_names_and_each_position_of_the_others_is_linked_by_itself():
    data = np.stack([STACK, STACK[::-1]])
    planes = results(data, axes="TZ")
    assert [plane.index for plane in planes] == [(t, z) for t in range(2) for z in range(7)]
    assert ids(planes) == [[], [1], [1, 2], [2], [], [3], [3], [4], [4], [], [5], [5, 6], [6], []]
    through_time = results(data, replace(PARAMS, link="t"), axes="TZ")
    assert [plane.index for plane in through_time] == [(t, z) for z in range(7) for t in range(2)]
    assert {name: ids(results(data, axes=name)) for name in ("TZ", "Tz")}["Tz"] == ids(planes)
    with pytest.raises(ValueError, match="link='z' needs a stack with one axis 'z', and this one has the axes T, Q"):
        results(data, axes="TQ")
    with pytest.raises(ValueError, match="single plane"):
        results(STACK[2])


def test_progress_reaches_its_end_and_results_follow():
    steps = list(segment_planes(PlaneStack(STACK), BlobModel(), PARAMS))
    assert steps[-1].done == steps[-1].total == 28
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert [step.result.index for step in steps if step.result] == [(z,) for z in range(7)]


def test_without_links_nothing_is_said_of_objects():
    assert all(plane.objects is None for plane in results(STACK, replace(PARAMS, link="none")))


def test_candidates_of_images_are_linked_again_without_the_model():
    asked = replace(PARAMS, pred_iou_thresh=0.5)
    stored = [propose_candidates(np.repeat(plane[..., None], 3, axis=2), BlobModel(), asked) for plane in STACK[1:4]]
    whole = [step.result for step in segment_planes(PlaneStack(STACK[1:4]), BlobModel(), PARAMS) if step.result]
    again = list(link_planes(stored, replace(PARAMS, pred_iou_thresh=whole[0].params.pred_iou_thresh)))
    assert ids(again) == ids(whole) == [[1], [1, 2], [2]]
    for one, other in zip(again, whole, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
    assert ids(list(link_planes(stored, replace(asked, min_planes=1, link_iou=0.99)))) == [[1], [1, 2], [2]]
    assert ids(list(link_planes(stored, replace(asked, min_planes=3)))) == [[], [], []]


def test_planes_of_tiles_are_linked_as_wholes():
    wide = np.stack([blobs((200, 260), [(x, y, 9) for x in range(20, 250, 40) for y in range(20, 190, 40)])] * 3)
    wide[1, :20] = 0
    whole = results(wide, replace(PARAMS, points_per_side=32))
    tiled = results(wide, replace(PARAMS, points_per_side=16, tile_size=100, tile_halo=30))
    assert [plane.rows for plane in tiled] == [None] * 3
    assert len(tiled[-1].objects) + len(tiled[1].objects) + len(tiled[0].objects) == len(np.unique(whole[0].labels)) - 1
    for one, other in zip(tiled, whole, strict=True):
        assert np.mean((one.labels > 0) == (other.labels > 0)) > 0.99
        assert one.image.shape == other.image.shape
    assert ids(tiled)[0] == ids(tiled)[2]


def test_a_tile_that_fails_is_said_and_the_rest_of_the_plane_linked():
    class Torn(Storage):
        def __getitem__(self, where):
            if where[0] == 1 and (where[1].start or 0) < 50:
                raise OSError("a strip is torn")
            return self.planes[where]

    wide = np.stack([blobs((200, 128), [(60, y, 9) for y in (30, 170)])] * 3)
    params = replace(PARAMS, tile_size=100, tile_halo=20)
    planes = results(Torn(wide), params, intensities=IntensityRange(0, 255))
    assert ids(planes) == [[1], [1], [1]]  # in two planes at once is the lower one alone
    assert planes[0].labels[170, 60] == 1
    assert "tiles failed" in planes[1].problem
    assert not planes[0].problem
