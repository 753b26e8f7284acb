"""A part of every plane: what belongs to it, what is read for it, and that it looks as in the whole."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam_amg.amg.field import Field, cut_stack, field_of
from napari_sam_amg.amg.field_work import FieldWork, survey_of_part
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.plane_reader import chunk_edges
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import survey
from napari_sam_amg.amg.views import cut_to
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import segment_planes
from tests.disc_model import BlobModel, disc_image

BOX = Field((10, 40), (20, 70))
TWO = [
    [(5, 10), (5, 35), (25, 35), (25, 10)],
    [(20, 30), (20, 70), (50, 70), (50, 25)],
]  # a rectangle, and another shape
PARAMS = AmgParameters(points_per_side=16, pred_iou_thresh=0.9, stability_score_thresh=0.5)


@pytest.mark.parametrize(
    ("corners", "rows", "columns"),
    [
        ([(10, 20), (10, 70), (40, 70), (40, 20)], (10, 40), (20, 70)),
        ([(9.5, 19.5), (9.5, 69.5), (39.5, 69.5), (39.5, 19.5)], (10, 40), (20, 70)),  # around pixels
        ([(40, 70), (10, 70), (10, 20), (40, 20)], (10, 40), (20, 70)),
        ([(-9, -9), (-9, 500), (500, 500), (500, -9)], (0, 64), (0, 80)),
    ],
)
def test_a_rectangle_is_a_box_without_an_outline(corners: Any, rows: Any, columns: Any) -> None:
    assert field_of([corners], (64, 80)) == Field(rows, columns)


def test_fields_side_by_side_share_no_pixel() -> None:
    edges = [0.0, 17.3, 40.5, 64.0]
    fields = [field_of([[(low, 0), (low, 80), (high, 80), (high, 0)]], (64, 80)) for low, high in pairwise(edges)]
    assert [row for field in fields for row in range(*field.rows)] == list(range(64))


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ([(70, 0), (70, 50), (90, 50), (90, 0)], "it lies outside the image"),
        ([(60, 0), (60, 50), (90, 50), (90, 0)], "it covers 4 x 50 pixels"),
    ],
)
def test_what_is_no_field(corners: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        field_of([corners], (64, 80))


def test_a_polygon_holds_what_is_inside() -> None:
    """A star, whose arms are in and whose gaps are out, by the definition of even and odd."""
    field = field_of([[(5, 5), (55, 5), (55, 55), (30, 20), (5, 55)]], (64, 80))
    assert (field.rows, field.columns) == ((5, 55), (5, 55))
    y, x = np.array([10, 30, 30, 50, 70, 30]), np.array([10, 15, 40, 40, 10, 2])
    assert field.holds(y, x).tolist() == [True, True, False, True, False, False]
    assert BOX.holds(y, x).all()


def test_several_shapes_hold_what_is_in_any_of_them() -> None:
    field = field_of(TWO, (64, 80))
    assert (field.rows, field.columns, len(field.outlines)) == ((5, 50), (10, 70), 2)
    y, x = np.array([10, 30, 45, 10, 22]), np.array([15, 30, 60, 60, 32])
    assert field.holds(y, x).tolist() == [True, True, True, False, True]  # the last lies in both
    far = [(500.0, 500.0), (500.0, 520.0), (520.0, 520.0), (520.0, 500.0)]
    assert field_of([*TWO, far], (64, 80)) == field
    assert field_of([TWO[0], far], (64, 80)) == Field((5, 25), (10, 35))
    with pytest.raises(ValueError, match="all shapes lie outside the image"):
        field_of([far, far], (64, 80))


def test_records_go_there_and_back() -> None:
    triangle = [(5, 5), (55, 5), (30, 60)]
    for field in (BOX, field_of([triangle], (64, 80)), field_of([triangle, TWO[0]], (64, 80))):
        assert Field.of(field.record()) == field
    with pytest.raises(ValueError, match="region="):
        Field.of({"rows": [1]})


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "colour"])
def test_cut_arrays_are_read_as_if_they_ended_there(kind: str) -> None:
    shape = (4, 64, 80, 3) if kind == "colour" else (4, 64, 80)
    data = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    lazy: Any = {"dask": lambda: da.from_array(data, (2, 16, 30)), "zarr": lambda: zarr.array(data, chunks=(2, 16, 30))}
    stack = PlaneStack(lazy.get(kind, lambda: data)(), rgb=kind == "colour")
    cut = cut_stack(stack, BOX)
    assert cut.plane_size == (30, 50)
    expected = data[:, 10:40, 20:70]
    np.testing.assert_array_equal(cut.plane((2,)), expected[2])
    np.testing.assert_array_equal(cut.part((1,), slice(3, 9), slice(5, 50)), expected[1, 3:9, 5:50])
    np.testing.assert_array_equal(cut.part((1,), slice(3, 9)), expected[1, 3:9])
    np.testing.assert_array_equal(cut.block((slice(1, 3),)), expected[1:3])
    if kind in ("dask", "zarr"):
        assert chunk_edges(cut, 1).tolist() == [0, 6, 22, 30]
        assert chunk_edges(cut, 2).tolist() == [0, 10, 40, 50]


def test_a_cut_of_what_is_read_at_once_reads_nothing_else() -> None:
    asked: list[Any] = []

    class Storage:
        shape, dtype = (4, 64, 80), np.dtype(np.uint8)

        def __getitem__(self, index: Any) -> Any:
            asked.append(index)
            return np.zeros(self.shape, self.dtype)[index]

    cut = cut_to(Storage(), {1: (10, 40), 2: (20, 70)})
    assert cut[(2,)].shape == (30, 50)
    assert cut.chunks is None
    assert asked == [(2, slice(10, 40), slice(20, 70))]


def test_a_field_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="10 to 40 is outside a plane of"):
        cut_stack(PlaneStack(np.zeros((20, 80), np.uint8)), BOX)


def test_hot_pixels_are_those_of_the_whole() -> None:
    """What is far above its neighbours in a faint field may be nothing special in the whole."""
    image = disc_image([(50, 60)]).astype(np.uint16) * 100
    image[20, 40] = 900
    stack = PlaneStack(image[None])
    surveyed = survey(stack)
    cut = cut_stack(stack, BOX)
    whole = PlaneImages(stack, surveyed, None).image((0,))[0]
    part = PlaneImages(cut, survey_of_part(surveyed, cut), None).image((0,))[0]
    np.testing.assert_array_equal(part, whole[10:40, 20:70])
    assert part[10, 20, 0] > 0


def test_the_survey_of_a_part_names_planes_of_it_alone() -> None:
    stack = PlaneStack(np.stack([disc_image([(15, 15)]), disc_image([(15, 15), (45, 60)])]))
    part = PlaneStack(stack.data, within={0: range(1)})
    found = survey_of_part(survey(stack), part)
    assert (found.fullest, found.shown) == ((0,), ((0,),))
    assert found.pixels is None


def test_planes_that_are_left_out_are_not_walked() -> None:
    stack = PlaneStack(np.zeros((3, 64, 80), np.uint8), left_out=frozenset({(1,)}))
    assert stack.indices == [(0,), (2,)]


@pytest.mark.parametrize("tile_size", [0, 64])
def test_masks_are_left_out_by_their_centre_and_counted_as_objects(tile_size: int) -> None:
    """Of a disc on the border of the polygon all of it stays or goes; tiles or not."""
    centres = [(20, 20), (20, 60), (60, 20), (60, 100), (100, 60)]
    stack = PlaneStack(disc_image(centres, shape=(128, 128)))
    corners = [(0, 0), (0, 128), (61, 128), (61, 0)]
    field = Field((0, 128), (0, 128), (tuple((float(y), float(x)) for y, x in corners),))
    params = replace(PARAMS, tile_size=tile_size)
    work = FieldWork(ModelWork(BlobModel()), field, params)
    steps = segment_planes(stack, BlobModel(), params, units=Units(), work=work)
    results = [step.result for step in steps if step.result]
    tables = np.concatenate([plane.features[["centroid_y", "centroid_x"]].to_numpy() for plane in results])
    assert sorted(map(tuple, tables.round().astype(int).tolist())) == [(20, 20), (20, 60), (60, 20), (60, 100)]
    assert work.left_out >= 1
    if not tile_size:
        assert work.left_out == 1
