import json
import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from napari_sam_amg.amg.masks import Candidates, Masks
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.amg.region import Region, RegionCandidates, finish, propose_steps, whole_plane
from napari_sam_amg.jobs.masks_file import DamagedUnit, dumps, loads
from napari_sam_amg.jobs.units import read_unit, unit_name, write_unit
from napari_sam_amg.params import AmgParameters
from tests.disc_model import BlobModel, blobs

PARAMS = AmgParameters(points_per_side=8, stability_score_thresh=0.5, crop_n_layers=1)
REGION = whole_plane((2, 0), (96, 128))


def proposed(params=PARAMS, region=REGION, image=None):
    image = blobs() if image is None else image
    stack = PlaneStack(np.broadcast_to(image, (3, 1, *image.shape)))
    images = PlaneImages(stack, None, IntensityRange(0, 255))
    *_, candidates = propose_steps(region, images, BlobModel(), params)
    assert candidates.failure is None
    return candidates


def equal(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, Candidates | Masks):
        return all(equal(getattr(one, name), getattr(other, name)) for name in type(one).__dataclass_fields__)
    return one == other


@pytest.mark.parametrize("params", [PARAMS, replace(PARAMS, crop_layers="last"), replace(PARAMS, pred_iou_thresh=1.0)])
def test_candidates_come_back_as_they_were(params):
    candidates = proposed(params)
    back = loads(dumps(candidates, "run"), REGION, "run")
    assert (back.region, back.nothing, back.image) == (REGION, "", None)
    assert (back.found.params, back.found.size) == (candidates.found.params, (96, 128))
    assert equal(back.found.crops, candidates.found.crops)
    assert equal(back.found.cut, candidates.found.cut)
    assert equal(back.found.asked, candidates.found.asked)
    assert len(back.found.crops) == len(candidates.found.crops) >= 4
    one, other = finish(candidates, params), finish(back, params)
    assert equal(one.labels, other.labels)
    assert one.features.equals(other.features)


def test_a_file_that_does_not_say_which_points_were_asked():
    found = replace(proposed().found, asked=None)
    assert loads(dumps(RegionCandidates(REGION, found), ""), REGION, "").found.asked is None


def test_candidates_cut_by_crops_come_back_as_they_were():
    big = proposed(replace(PARAMS, crop_layers="last"), image=blobs(discs=((64, 48, 40),)))
    assert sum(map(len, big.found.cut)) > 0
    assert equal(loads(dumps(big, ""), REGION, "").found.cut, big.found.cut)


def test_masks_without_scores_come_back_as_they_were():
    cutouts = [np.ones((3, 5), bool), np.eye(4, dtype=bool), np.zeros((1, 1), bool)]
    boxes, scores = np.arange(12).reshape(3, 4), np.array([np.nan, 0.5, 1], np.float32)
    masks = Masks(boxes, scores, scores[::-1], np.zeros((3, 2)), boxes, cutouts, (96, 128))
    for found in (masks, masks.select([False] * 3)):
        assert equal(loads(dumps(RegionCandidates(REGION, found), ""), REGION, "").found, found)


def test_a_plane_with_nothing_in_it_is_kept_too():
    back = loads(dumps(RegionCandidates(REGION, None, nothing="every pixel is 7"), ""), REGION, "")
    assert (back.found, back.nothing) == (None, "every pixel is 7")


def test_a_failure_is_nothing_to_be_kept():
    with pytest.raises(ValueError, match="the region failed"):
        dumps(RegionCandidates(REGION, None, failure=OSError("no")), "")


def test_every_region_has_a_name_of_its_own():
    tile = Region((3,), (0, 512), (512, 1024), (2048, 2048), 64)
    assert unit_name(whole_plane((3,), (9, 9))) == "plane_3"
    assert unit_name(whole_plane((), (9, 9))) == "plane"
    assert unit_name(tile) == "plane_3_y0-512_x512-1024_halo64"
    assert unit_name(whole_plane((1, 23), (9, 9))) != unit_name(whole_plane((12, 3), (9, 9)))


CONTENT = dumps(proposed(), "run")


def with_member(name, change):
    """The file with one of its members changed, and all checksums right."""
    content = BytesIO()
    with zipfile.ZipFile(BytesIO(CONTENT)) as old, zipfile.ZipFile(content, "w") as new:
        for member in old.namelist():
            new.writestr(member, change(old.read(member)) if member == name else old.read(member))
    return content.getvalue()


def about(**changes):
    return with_member("about.json", lambda text: json.dumps(json.loads(text) | changes))


def array(name, values):
    content = BytesIO()
    np.save(content, values)
    return with_member(f"{name}.npy", lambda _: content.getvalue())


@pytest.mark.parametrize("content", [
    b"", b"hello", CONTENT[:-1], CONTENT[: len(CONTENT) // 2], CONTENT[10:],
    CONTENT[:200] + bytes([CONTENT[200] ^ 1]) + CONTENT[201:],
    about(format="other"), about(kind="video"), about(size=[1]), about(crops=[1, 2]), about(crops=None),
    about(params={"points_per_side": -1}), about(params={"unknown": 1}), with_member("about.json", lambda _: b"[]"),
    with_member("about.json", lambda _: b"\xff"),
    array("crops_boxes", np.zeros((3, 4), np.int64)), array("crops_bits", np.zeros(3, np.uint8)),
    array("crops_predicted_iou", np.zeros(3)), array("crops_shapes", np.zeros((0, 2), np.int64)),
    array("crops_points", np.array([[None, None]])),
])  # fmt: skip
def test_what_is_damaged_or_foreign_is_refused(content):
    assert loads(CONTENT, REGION, "run").found is not None
    with pytest.raises(DamagedUnit):
        loads(content, REGION, "run")


@pytest.mark.parametrize(
    ("region", "run", "said"),
    [
        (REGION, "another", "its run is 'run', expected is 'another'"),
        (whole_plane((2, 1), (96, 128)), "run", "its region is"),
        (replace(REGION, halo=3), "run", "its region is"),
    ],
)
def test_candidates_of_another_run_or_region_are_refused(region, run, said):
    with pytest.raises(DamagedUnit, match=said):
        loads(CONTENT, region, run)


def test_a_unit_is_the_file_that_its_entry_tells_of(tmp_path):
    entry = write_unit(tmp_path, proposed(), "run")
    assert [path.name for path in tmp_path.iterdir()] == ["plane_2_0.npz"]
    assert read_unit(tmp_path, REGION, "run", entry).found is not None
    write_unit(tmp_path, RegionCandidates(REGION, None, nothing="nothing"), "run")  # whole, but another one
    assert read_unit(tmp_path, REGION, "run").nothing == "nothing"
    with pytest.raises(DamagedUnit, match=r"plane_2_0.npz: it is not the file of which the journal tells"):
        read_unit(tmp_path, REGION, "run", entry)
    (tmp_path / "plane_2_0.npz").unlink()
    with pytest.raises(DamagedUnit, match=r"plane_2_0.npz: No such file"):
        read_unit(tmp_path, REGION, "run", entry)
