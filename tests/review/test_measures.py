"""Columns on demand are scikit-image's."""

import numpy as np
import pytest
from skimage.draw import ellipse
from skimage.measure import regionprops_table

from napari_sam_amg.objects.table import Units
from napari_sam_amg.review.measures import (
    SHAPES,
    STATISTICS,
    Intensities,
    column_name,
    intensities,
    intensity_columns,
    shape_columns,
    shapes,
)
from napari_sam_amg.review.remeasure import Grid

SQUARE = Units((0.5, 0.5), 2.0, "area_um2")


def objects() -> np.ndarray:
    labels = np.zeros((60, 80), np.int32)
    for label, (y, x, height, width, turn) in enumerate([(15, 20, 8, 14, 0.4), (40, 55, 12, 6, -0.7)], start=1):
        labels[ellipse(y, x, height, width, labels.shape, turn)] = label
    labels[38:42, 55:] = 0  # a dent
    labels[50, 5] = 3  # a single pixel
    return labels


def boxes(labels: np.ndarray, index=()) -> dict:
    found = {}
    for label in np.unique(labels)[1:].tolist():
        where = np.nonzero(labels == label)[-2:]
        found[label] = {index: tuple(slice(axis.min(), axis.max() + 1) for axis in where)}
    return found


def of_planes(labels, names=SHAPES, grid=None):
    grid = grid or Grid()
    return dict(shapes(lambda index: labels[index], boxes(labels), names, grid))


def test_shapes_are_those_of_regionprops():
    labels = objects()
    ours = of_planes(labels)
    names = ["perimeter", "eccentricity", "solidity", "axis_major_length", "axis_minor_length", "orientation", "area"]
    theirs = regionprops_table(labels, properties=names)
    assert list(ours) == [1, 2, 3]
    for row, label in enumerate(ours):
        assert list(ours[label]) == list(SHAPES) == shape_columns(SHAPES, Grid())
        for name, same in (
            ("perimeter", "perimeter"), ("eccentricity", "eccentricity"), ("solidity", "solidity"),
            ("major_axis", "axis_major_length"), ("minor_axis", "axis_minor_length"),
        ):  # fmt: skip
            assert ours[label][name] == pytest.approx(theirs[same][row]), name
        assert ours[label]["orientation"] == pytest.approx(np.degrees(theirs["orientation"][row]))
    assert ours[1]["circularity"] == pytest.approx(4 * np.pi * theirs["area"][0] / theirs["perimeter"][0] ** 2)
    assert 0.8 < ours[1]["circularity"] < 1
    assert ours[2]["solidity"] < 0.95 < ours[1]["solidity"]
    assert np.isnan(ours[3]["circularity"]), "a single pixel has no outline"


def test_lengths_have_a_unit_where_it_is_known():
    grid = Grid(units=SQUARE)
    row = of_planes(objects(), ["perimeter", "major_axis", "solidity"], grid)[1]
    assert set(row) == set(shape_columns(["perimeter", "major_axis", "solidity"], grid))
    assert set(row) == {
        "perimeter", "perimeter_um", "solidity", "major_axis", "major_axis_um",
    }  # fmt: skip
    assert row["perimeter_um"] == pytest.approx(row["perimeter"] / 2)
    assert row["major_axis_um"] == pytest.approx(row["major_axis"] / 2)


def test_shapes_are_the_real_ones_where_pixels_are_no_squares():
    grid = Grid(units=Units((2.0, 1.0), None, "area_um2"))
    labels = np.zeros((30, 60), np.int32)
    labels[ellipse(15, 30, 10, 20)] = 1  # a circle, in a microscope whose pixels are twice as high as wide
    row = of_planes(labels, SHAPES, grid)[1]
    assert row["eccentricity"] < 0.3
    assert row["major_axis_um"] == pytest.approx(row["minor_axis_um"], rel=0.05)
    assert row["major_axis"] > 1.9 * row["minor_axis"]
    assert "perimeter_um" not in row, "regionprops has no perimeter of such pixels"
    assert set(row) == set(shape_columns(SHAPES, grid))


def test_shapes_of_volumes_are_what_regionprops_has_of_them():
    grid = Grid("z", 0, Units((0.5, 0.5), 1.0, "area_um2"))
    z, y, x = np.ogrid[:9, :30, :30]
    labels = (((z - 4) / 4) ** 2 + ((y - 15) / 8) ** 2 + ((x - 15) / 12) ** 2 <= 1).astype(np.int32)
    labels[3, 0, 0] = 2  # flat: no hull
    places = {1: {(plane,): np.s_[2:25, 1:29] for plane in range(9)}, 2: {(3,): np.s_[0:1, 0:1]}}
    found = dict(shapes(lambda index: labels[index], places, SHAPES, grid))
    assert list(found[1]) == shape_columns(SHAPES, grid)
    theirs = regionprops_table(
        (labels == 1).astype(int), properties=["solidity", "axis_major_length"], spacing=(1, 0.5, 0.5)
    )
    assert found[1]["solidity"] == pytest.approx(theirs["solidity"][0])
    assert found[1]["major_axis_um"] == pytest.approx(theirs["axis_major_length"][0])
    assert "perimeter" not in found[1]
    assert set(found) == {1, 2}
    assert shape_columns(SHAPES, Grid("t")) == []


def test_intensities_are_those_of_regionprops():
    labels, image = objects(), np.random.default_rng(0).normal(1000, 50, (60, 80))
    found = intensities(lambda _: labels, boxes(labels), STATISTICS, Intensities("dapi", lambda _: image))
    assert list(found) == [f"{name}_dapi" for name in STATISTICS]
    theirs = regionprops_table(labels, image, properties=["intensity_mean", "intensity_min", "intensity_max"])
    for row, label in enumerate((1, 2, 3)):
        for name in ("mean", "min", "max"):
            assert found[f"{name}_dapi"][label] == pytest.approx(theirs[f"intensity_{name}"][row])
        assert found["sum_dapi"][label] == pytest.approx(image[labels == label].sum())
        assert found["std_dapi"][label] == pytest.approx(image[labels == label].std(), abs=1e-3)


def test_intensities_of_several_planes_and_channels():
    labels = np.zeros((3, 8, 8), np.int32)
    labels[0, 2:4, 2:4], labels[2, 5:7, 5:8] = 1, 1
    image = np.random.default_rng(1).integers(0, 255, (3, 8, 8, 2))
    reads = []

    def plane_of(index):
        reads.append(index)
        return image[index]

    places = {1: {(0,): np.s_[0:8, 0:8], (2,): np.s_[4:8, 4:8]}}
    channels = Intensities("cells", plane_of, ("_c0", "_c1"))
    found = intensities(lambda index: labels[index], places, ["sum", "max"], channels)
    assert set(found) == {"sum_cells_c0", "max_cells_c0", "sum_cells_c1", "max_cells_c1"}
    assert list(found) == intensity_columns(["max", "sum"], channels)
    for channel in range(2):
        values = image[..., channel][labels == 1]
        assert found[f"sum_cells_c{channel}"][1] == values.sum()
        assert found[f"max_cells_c{channel}"][1] == values.max()
    assert reads == [(0,), (2,)], "each plane of the image is read once"


def test_names_of_layers_as_columns():
    assert column_name("Nuclei (DAPI) [1]") == "Nuclei_DAPI_1"
    assert column_name("---") == "image"
