"""What is measured of objects: plane by plane, as of the whole volume."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from skimage.measure import regionprops_table

from napari_sam_amg.amg.region import RegionCandidates, whole_plane
from napari_sam_amg.objects.table import Units
from tests.objects.discs import SIZE, T, Z, disc, linked, masks_of, plane, stack

VOXEL = Units((0.5, 0.25), 2.0, "area_um2")


def ball(radius: float, spacing: float = 1.0) -> list[RegionCandidates]:
    """Cross-sections ``spacing`` px apart."""
    planes, count = [], int(radius / spacing) + 2
    for z in range(2 * count + 1):
        left = radius**2 - ((z - count) * spacing) ** 2
        y, x = np.ogrid[: SIZE[0], : SIZE[1]]
        frame = (y - 48) ** 2 + (x - 60) ** 2 <= left
        frames = [frame] if frame.any() else []
        planes.append(RegionCandidates(whole_plane((z,), SIZE), masks_of(frames)))
    return planes


def test_measures_are_those_of_the_volume():
    columns = [((20, 20, 8), range(5)), ((60, 30, 12), range(2, 9)), ((100, 70, 15), range(4, 10))]
    labels, sections, objects = linked(stack(columns, 11), Z, units=VOXEL)
    expected = pd.DataFrame(regionprops_table(labels, properties=("label", "area", "centroid", "bbox")))
    assert objects["index"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(objects["volume"], expected["area"])
    for axis, (name, size) in enumerate(zip("zyx", (2.0, 0.5, 0.25), strict=True)):
        np.testing.assert_allclose(objects[f"centroid_{name}"], expected[f"centroid-{axis}"])
        np.testing.assert_allclose(objects[f"centroid_{name}_um"], expected[f"centroid-{axis}"] * size)
    np.testing.assert_allclose(objects["volume_um3"], expected["area"] * 0.25)
    np.testing.assert_array_equal(objects[["first_plane", "last_plane"]], expected[["bbox-0", "bbox-3"]] - [0, 1])
    boxes = objects[["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]]
    np.testing.assert_array_equal(boxes, expected[["bbox-1", "bbox-2", "bbox-4", "bbox-5"]])
    np.testing.assert_allclose(sections.groupby("index")["area_um2"].sum() * 2, objects["volume_um3"])


def test_scores_are_the_mean_and_the_least_of_the_planes():
    planes = [plane(z, [(40, 40, 9 + z)], [score]) for z, score in enumerate((0.9, 0.6, 0.75, 0.8))]
    for params in (Z, T):
        _, sections, objects = linked(planes, params)
        assert objects.loc[0, "predicted_iou"] == pytest.approx(0.7625)
        assert objects.loc[0, "least_predicted_iou"] == pytest.approx(0.6)
        assert objects.loc[0, "least_stability_score"] == objects.loc[0, "stability_score"] == pytest.approx(0.8)
        assert np.isnan(sections["link_iou"].iloc[0])
        assert objects.loc[0, "weakest_link"] == sections["link_iou"].min() < sections["link_iou"].max()
        assert objects.loc[0, "plane"] == 3  # where it is largest


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_the_surface_of_a_ball_is_that_of_a_sphere(spacing):
    units = Units((0.5, 0.5), 0.5 * spacing, "area_um2")
    _, _, objects = linked(ball(20, spacing), Z, units=units)
    assert objects.loc[0, "surface_um2"] == pytest.approx(4 * np.pi * 10**2, rel=0.06)
    if spacing == 1:
        assert objects.loc[0, "surface"] == pytest.approx(4 * np.pi * 20**2, rel=0.06)


def test_faces_at_the_edges_of_the_stack_count():
    """Of a box of a x b x c voxels in a corner: two thirds of its six faces."""
    box = np.zeros(SIZE, bool)
    box[:20, :30] = True
    planes = [RegionCandidates(whole_plane((z,), SIZE), masks_of([box])) for z in range(10)]
    _, _, objects = linked(planes)
    assert objects.loc[0, "surface"] == pytest.approx(2 / 3 * 2 * (20 * 30 + 10 * 30 + 10 * 20))


def test_where_objects_touch_is_surface_of_both():
    below, above = ((60, 48, 10), range(3)), ((60, 48, 16), range(3, 6))
    _, _, both = linked(stack([below, above], 6))
    alone = [linked(stack([one], 6))[2].loc[0, "surface"] for one in (below, above)]
    assert both["surface"].tolist() == pytest.approx(alone)


def test_what_is_not_known_has_no_column():
    planes = stack([((40, 40, 9), range(4))], 4)
    for units, missing in ((Units(), ("volume_physical", "surface_physical", "centroid_y_physical")),
                           (Units((1.0, 1.0)), ("volume_physical", "centroid_z_physical"))):  # fmt: skip
        assert not set(missing) & set(linked(planes, units=units)[2])
    assert "volume_physical" in linked(planes, units=Units((1.0, 1.0), 1.0))[2]
    _, _, objects = linked(planes, T, units=dataclasses.replace(VOXEL))
    assert objects.loc[0, "area"] == disc(40, 40, 9).sum()
    assert objects.loc[0, "area_um2"] == disc(40, 40, 9).sum() * 0.125
    assert not [name for name in objects if "volume" in name or "surface" in name or "centroid_z" in name]


def test_masks_without_scores_give_objects_without_them():
    planes = [plane(z, [(40, 40, 9)], [np.nan]) for z in range(4)]
    _, _, objects = linked(planes)
    assert objects[["predicted_iou", "least_predicted_iou"]].isna().all(axis=None)
    assert objects["planes"].tolist() == [4]
