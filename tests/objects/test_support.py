"""Which of several outlines of one place is kept."""

import dataclasses

import numpy as np
import pytest

from napari_sam_amg.amg.bits import cut_out
from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.amg.region import RegionCandidates, finish, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.objects.linker import link_planes
from napari_sam_amg.objects.support import eased
from tests.objects.discs import SIZE, T, Z, disc, masks_of


def planes_with_two_outlines():
    """An object in five planes; in the middle one the model likes an outline of its half better, by a little."""
    planes = []
    for z in range(5):
        frames, scores = [disc(50, 50, 14)], [0.7]
        if z == 2:
            half = disc(50, 50, 14)
            half[:, 50:] = False
            frames, scores = [*frames, half], [0.7, 0.8]
        planes.append(RegionCandidates(whole_plane((z,), SIZE), masks_of(frames, scores)))
    return planes


def test_the_outline_that_is_found_again_beside_is_kept():
    results = list(link_planes(planes_with_two_outlines(), Z))
    for result in results:
        np.testing.assert_array_equal(result.labels > 0, disc(50, 50, 14))
        assert result.features["predicted_iou"].tolist() == np.float32([0.7]).tolist()  # as the model said it
    # through time every frame is segmented as it would be alone
    alone = list(link_planes(planes_with_two_outlines(), T))[2].labels
    assert alone[50, 40] != alone[50, 60]


def test_support_is_asked_of_both_planes_beside():
    planes = planes_with_two_outlines()
    for parts in ((1, 2), (2, 3)):
        results = list(link_planes([planes[z] for z in parts], dataclasses.replace(Z, min_planes=1)))
        middle = results[parts.index(2)].labels
        assert middle[50, 40] == middle[50, 60] > 0


def stored(frames, scores) -> StoredCandidates:
    masks = masks_of(frames, scores)
    columns = (masks.predicted_iou, masks.stability_score, masks.points, masks.crop_boxes)
    rows = [np.packbits(frame, axis=1) for frame in frames]
    bits = [cut_out(row, *box) for row, box in zip(rows, masks.boxes.tolist(), strict=True)]
    params = dataclasses.replace(Z, pred_iou_thresh=0.5, stability_score_thresh=0.5)
    return StoredCandidates(params, SIZE, (Candidates(masks.boxes, *columns, bits),))


def test_outlines_that_a_run_without_links_would_drop_have_a_say():
    whole, part = disc(50, 50, 14), disc(50, 50, 14)
    part[:, 58:] = False  # a box with an IoU of .76
    planes = [stored([whole], [0.7]), stored([whole, part], [0.7, 0.8]), stored([whole], [0.7])]
    for labels in (result.labels for result in link_planes(planes, planes[0].params)):
        np.testing.assert_array_equal(labels > 0, whole)
    alone = finish(
        RegionCandidates(whole_plane((0,), SIZE), planes[1]), dataclasses.replace(planes[1].params, link="none")
    )
    np.testing.assert_array_equal(alone.labels > 0, part)


def test_a_mask_of_most_of_the_plane_is_background():
    whole = np.ones(SIZE, bool)
    half = whole.copy()
    half[:, SIZE[1] // 2 :] = False
    for frame, count in ((whole, 0), (half, 1)):
        planes = [RegionCandidates(whole_plane((z,), SIZE), masks_of([frame])) for z in range(3)]
        assert all(len(result.features) == count for result in link_planes(planes, Z))


def test_weaker_masks_are_asked_for_where_other_planes_have_a_say():
    params = dataclasses.replace(Z, pred_iou_thresh=0.48)
    assert eased(params).pred_iou_thresh == pytest.approx(0.36)
    assert eased(dataclasses.replace(params, pred_iou_thresh=0.05)).pred_iou_thresh == 0
    for link, mode in (("none", "amg"), ("t", "amg"), ("z", "ais")):
        other = dataclasses.replace(params, link=link, mode=mode)
        assert eased(other) == other
    by_itself = {link: dataclasses.replace(params, link=link, link_iou=0) for link in ("none", "z", "t")}
    assert {link: eased(other).link_iou for link, other in by_itself.items()} == {"none": 0, "z": 0.6, "t": 0.2}
