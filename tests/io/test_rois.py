"""Regions of ImageJ cover exactly the pixels of the labels; read back by roifile, and filled as ImageJ fills them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roifile import ROI_TYPE

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.io.plane_file import PlaneFile
from napari_sam_amg.io.raw_image import RawImage, choose_channel
from napari_sam_amg.io.rois import FARTHEST, RoisZip, roi_of
from tests.io.roi_pixels import painted, pixels, read

NOISE = np.random.default_rng(0).integers(0, 5, (3, 20, 24)).astype(np.int32)
SOLID = np.zeros((12, 15), np.int32)
SOLID[2:6, 3:9] = 7
SOLID[4, 3] = 0
SOLID[8:11, 1:14] = 70_000


def planes_of(path: Path, shape: tuple[int, ...]) -> PlaneFile:
    return PlaneFile(path.with_suffix(".planes"), shape, tuple(range(len(shape))))


def write(path: Path, labels: Any, axes: str = "", in_hyperstack: bool = False) -> list[Any]:
    zipped = RoisZip(path, axes + "YX", planes_of(path, labels.shape), in_hyperstack)
    for index in reversed(list(np.ndindex(labels.shape[:-2]))):
        zipped.add_plane(index, labels[index])
    zipped.finish()
    return read(path)


def test_regions_cover_the_labels(tmp_path: Path) -> None:
    rois = write(tmp_path / "a_rois.zip", SOLID)
    np.testing.assert_array_equal(painted(rois, SOLID.shape), SOLID)
    assert [roi.name for roi in rois] == ["7", "70000"]
    assert {roi.roitype for roi in rois} == {ROI_TYPE.TRACED}
    assert {roi.position for roi in rois} == {0}
    assert [(roi.left, roi.top, roi.right, roi.bottom) for roi in rois] == [(3, 2, 9, 6), (1, 8, 14, 11)]
    assert [path.name for path in tmp_path.iterdir()] == ["a_rois.zip"]


def test_labels_of_many_pieces_and_with_holes_are_composites(tmp_path: Path) -> None:
    rois = write(tmp_path / "a.zip", NOISE[0])
    np.testing.assert_array_equal(painted(rois, NOISE[0].shape), NOISE[0])
    assert len(rois) == 4
    assert all(roi.composite for roi in rois)


def test_a_region_for_each_label_and_plane_of_a_stack(tmp_path: Path) -> None:
    rois = write(tmp_path / "a.zip", NOISE, "Z")
    np.testing.assert_array_equal(painted(rois, NOISE.shape), NOISE)
    assert len(rois) == 12
    assert {(roi.c_position, roi.z_position, roi.t_position) for roi in rois} == {(0, 0, 0)}


def test_names_in_the_zip_file_differ_where_an_object_goes_through_planes(tmp_path: Path) -> None:
    from zipfile import ZipFile

    labels = np.zeros((3, 9, 9), np.int32)
    labels[0, 2:4, 2:4], labels[1:, 5:7, 5:7] = 1, 2
    rois = write(tmp_path / "a.zip", labels, "Z")
    assert ZipFile(tmp_path / "a.zip").namelist() == ["1.roi", "2.roi", "2-3.roi"]
    assert [roi.name for roi in rois] == ["1", "2", "2"]


def test_a_hyperstack_has_a_position_on_every_slider(tmp_path: Path) -> None:
    labels = np.stack([NOISE, NOISE[::-1]])
    rois = write(tmp_path / "a.zip", labels, "TZ", True)
    assert len(rois) == 24
    for roi in rois:
        plane = labels[roi.t_position - 1, roi.z_position - 1]
        np.testing.assert_array_equal(pixels(roi, plane.shape), plane == int(roi.name))
        assert (roi.position, roi.c_position) == (0, 0)


CASES = [  # axes of the image, its shape, (position, z, t) of a region in the last plane
    ("YX", (12, 15), (0, 0, 0)),
    ("ZYX", (4, 12, 15), (4, 0, 0)),
    ("CZYX", (2, 4, 12, 15), (0, 4, 0)),  # two sliders: on both channels, since labels have none
    ("CZYX", (1, 4, 12, 15), (4, 0, 0)),
    ("TZYX", (3, 4, 12, 15), (0, 4, 3)),
    ("TZYXS", (3, 4, 12, 15, 3), (0, 4, 3)),
    ("QZYX", (3, 4, 12, 15), (12, 0, 0)),  # an axis that ImageJ does not know
]


@pytest.mark.parametrize(("axes", "shape", "expected"), CASES)
def test_the_position_is_that_of_the_image_in_imagej(axes: str, shape: Any, expected: Any, tmp_path: Path) -> None:
    source = choose_channel(RawImage(np.zeros(shape, np.uint8), axes), 0 if "C" in axes else None)
    zipped = RoisZip.of_image(tmp_path / "a.zip", source)
    zipped.add_plane(PlaneStack(source.stack.data, source.stack.rgb, source.stack.fixed).indices[-1], SOLID)
    zipped.finish()
    rois = read(tmp_path / "a.zip")
    assert {(roi.position, roi.z_position, roi.t_position) for roi in rois} == {expected}
    assert {roi.c_position for roi in rois} == {0}


@pytest.mark.parametrize("left", [0, 40_000, FARTHEST - 3, FARTHEST, 10**6])
def test_regions_far_from_the_corner(left: int) -> None:
    from roifile import ImagejRoi

    mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
    roi = ImagejRoi.frombytes(roi_of(mask, left, 5).tobytes())
    assert roi.composite == (left + 3 > FARTHEST)
    near = [np.asarray(part) - [left, 5] for part in roi.coordinates(multi=True)]
    assert np.concatenate(near).min(axis=0).tolist() == [0, 0]
    assert np.concatenate(near).max(axis=0).tolist() == [3, 2]


def test_no_labels_are_an_empty_zip_file(tmp_path: Path) -> None:
    zipped = RoisZip(tmp_path / "a.zip", "YX", planes_of(tmp_path / "a", (9, 9)), False)
    zipped.finish()
    assert read(tmp_path / "a.zip") == []


def test_the_same_labels_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", NOISE, "Z")
    write(tmp_path / "b.zip", NOISE, "Z")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_regions_lie_on_the_pages_of_the_label_image_whatever_planes_were_segmented(tmp_path: Path) -> None:
    deep = np.concatenate([NOISE, NOISE + 5, NOISE % 2])
    source = choose_channel(RawImage(np.zeros(deep.shape, np.uint8), "ZYX"), None, "XZ")
    zipped = RoisZip.of_image(tmp_path / "a.zip", source)
    for (y,) in np.ndindex(deep.shape[1:2]):
        plane = deep[:, y] if source.plane_axes == "ZX" else deep[:, y].T
        zipped.add_plane((y,), plane)
    zipped.finish()
    np.testing.assert_array_equal(painted(read(tmp_path / "a.zip"), deep.shape), deep)
