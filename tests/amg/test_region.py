"""The cut between what the model does and all that comes after it."""

import dataclasses
import pickle

import numpy as np
import pytest

from napari_sam_amg.amg.assemble import Assembler
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import survey
from napari_sam_amg.amg.region import Region, finish, propose_steps, whole_plane
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import propose_candidates, segment_planes
from tests.disc_model import BlobModel, blobs

PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.5, stability_score_thresh=0.5)


def stack() -> PlaneStack:
    plane = blobs().astype(np.uint16) * 100
    plane[3, 5] = 60000  # a hot pixel
    return PlaneStack(np.stack([plane, np.roll(plane, 9, axis=1)]))


def images(of: PlaneStack) -> PlaneImages:
    return PlaneImages(of, survey(of), None)


def proposed(region: Region, of: PlaneStack, params: AmgParameters = PARAMS):
    *_, candidates = propose_steps(region, images(of), BlobModel(), params)
    return candidates


@pytest.mark.parametrize(("halo", "window"), [(0, (20, 60, 0, 40)), (15, (5, 75, 0, 55)), (999, (0, None, 0, None))])
def test_a_part_of_a_plane_looks_as_it_does_within_the_whole(halo, window):
    of = stack()
    height, width = of.plane_size
    region = Region((1,), (20, 60), (0, 40), (height, width), halo)
    y0, y1, x0, x1 = window
    assert region.window == (slice(y0, y1 or height), slice(x0, x1 or width))
    whole, _ = images(of).image((1,))
    part = proposed(region, of)
    np.testing.assert_array_equal(part.image, whole[region.window])
    assert region.size == part.image.shape[:2]
    left, top, right, bottom = region.core
    np.testing.assert_array_equal(part.image[top:bottom, left:right], whole[20:60, :40])
    assert finish(part, PARAMS).labels.shape == region.size


def test_the_whole_plane_is_a_region_without_a_halo():
    region = whole_plane((3,), (50, 70))
    assert (region.window, region.size) == ((slice(0, 50), slice(0, 70)), (50, 70))


def test_candidates_that_were_stored_are_finished_as_those_at_hand():
    candidates = proposed(whole_plane((1,), stack().plane_size), stack())
    stored = pickle.loads(pickle.dumps(candidates))
    for params in (PARAMS, dataclasses.replace(PARAMS, pred_iou_thresh=0.8, box_nms_thresh=0.3)):
        here, there = finish(candidates, params, (0.5, 2.0), "area_um2"), finish(stored, params, (0.5, 2.0), "area_um2")
        assert len(here.features)
        np.testing.assert_array_equal(there.labels, here.labels)
        assert there.features.equals(here.features)
        assert here.features["index"].tolist() == list(range(1, 1 + len(here.features)))  # of its own, from 1
        assert here.features["area_um2"].tolist() == here.features["area"].tolist()


def test_a_run_is_its_regions_one_after_another():
    of, assembler = stack(), Assembler(PARAMS)
    expected = [step.result for step in segment_planes(of, BlobModel(), PARAMS) if step.result is not None]
    found = [
        plane for i in (0, 1) for plane in assembler.add(finish(proposed(whole_plane((i,), of.plane_size), of), PARAMS))
    ]
    assert expected[1].features["index"].min() == expected[0].features["index"].max() + 1 > 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.features.equals(other.features)
        assert set(np.unique(one.labels)) == {0, *one.features["index"]}


def test_a_candidate_takes_little_memory_on_a_frame_of_any_size():
    """Packed, with its scores and its point: a mask of some hundred pixels in less than 1.5 kB."""
    for image in (blobs(), np.pad(blobs(), ((0, 60), (0, 60)))):
        stored = propose_candidates(np.repeat(image[..., None], 3, axis=2), BlobModel(), PARAMS)
        assert len(stored) > 10
        assert len(pickle.dumps(stored)) / len(stored) < 1500


def test_what_fails_afterwards_is_a_failure_of_the_region_too():
    candidates = proposed(whole_plane((0,), stack().plane_size), stack())
    weaker = finish(candidates, dataclasses.replace(PARAMS, pred_iou_thresh=0.1))
    assert "pred_iou_thresh=0.1 is lower than 0.5" in str(weaker.candidates.failure)
    assert not weaker.labels.any()
