"""A large plane that goes by once shows what it does as a whole."""

import numpy as np
import pytest

from napari_sam_amg.amg import preprocess
from napari_sam_amg.amg.contrast import measure
from napari_sam_amg.amg.one_pass import CELL, look
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import survey
from tests.amg.chunked import LARGE, Chunked, plane, rows_of


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("chunks", [(128, 2100), (530, 700), (7, 2100), None])
def test_it_shows_what_it_does_as_a_whole(dtype, chunks):
    image = plane(dtype)
    whole = measure(image)
    found = look(rows_of(image if chunks is None else Chunked(image, chunks)), False, image.dtype).contrast
    assert (found.low, found.high, found.bright, found.hot_margin) == (
        whole.low,
        whole.high,
        whole.bright,
        whole.hot_margin,
    )
    np.testing.assert_allclose((found.structure, found.content), (whole.structure, whole.content), rtol=1e-6)


def test_hot_pixels_are_taken_back_wherever_they_are_seen():
    """Also those that came before the plane was known to be so bright that they are none, and the other way round."""
    image = np.full((400, 2100), 100, np.uint16)
    image[::2] += 1
    image[3, 3] = 400  # far above all, until the bright block comes
    image[-60:, :] = 5000
    image[200, 700] = 9000
    whole, found = measure(image), look(rows_of(image), False, image.dtype).contrast
    assert (found.low, found.high, found.hot_margin) == (whole.low, whole.high, whole.hot_margin)
    np.testing.assert_allclose((found.structure, found.content), (whole.structure, whole.content), rtol=1e-6)


def test_colour_and_planes_without_a_number():
    image = np.stack([plane(np.uint8, seed) for seed in range(3)], axis=2)
    whole, found = measure(image), look(rows_of(image, rgb=True), True, image.dtype).contrast
    assert (found.low, found.high) == (whole.low, whole.high)
    assert look(rows_of(np.full(LARGE, np.nan)), False, np.dtype(float)).contrast is None


def test_the_survey_of_large_planes_is_that_of_whole_ones(monkeypatch):
    stack = PlaneStack(np.stack([plane(np.uint16, 1), np.zeros(LARGE, np.uint16), plane(np.uint16, 2) // 2]))
    rows = survey(stack)
    monkeypatch.setattr(PlaneStack, "is_large", False)
    whole = survey(stack)
    assert (rows.intensities, rows.shown, rows.fullest, rows.step) == (
        whole.intensities,
        whole.shown,
        whole.fullest,
        whole.step,
    )
    assert rows.margins == whole.margins
    assert rows.pixels is None
    assert whole.parts == ()


def test_the_parts_that_show_most_are_kept():
    image = np.zeros((CELL * 2, CELL * 4), np.uint8)
    rng = np.random.default_rng(0)
    for place, height in (((0, 2), 200), ((1, 0), 250), ((1, 1), 100)):
        y, x = (at * CELL for at in place)
        image[y : y + CELL, x : x + CELL] = np.kron(rng.random((32, 32)) > 0.5, np.ones((32, 32))) * height
    cells = look(rows_of(image), False, image.dtype).cells
    assert [int(cell.max()) for cell in cells] == [250, 200, 100]
    assert {cell.shape for cell in cells} == {(CELL, CELL)}


@pytest.mark.parametrize("chunks", [(100, 2100), (100, 300), (530, 2100)])
def test_each_chunk_is_read_once_on_the_way_down(chunks):
    storage = Chunked(plane(np.uint16), chunks)
    look(rows_of(storage), False, storage.dtype)
    assert set(storage.reads.values()) == {1}
    assert len(storage.reads) == -(-530 // chunks[0]) * -(-2100 // chunks[1])


def test_chunks_of_several_planes_are_read_once():
    storage = Chunked(np.stack([plane(np.uint16), plane(np.uint16, 1)]), (2, 100, 2100))
    survey(PlaneStack(storage))
    assert set(storage.reads.values()) == {1}


def test_rows_beyond_a_broken_chunk_are_read_and_its_own_raise():
    image = plane(np.uint16, hot=0)
    storage = Chunked(image, (100, 300), broken={(1, 2)})
    rows = rows_of(storage)
    seen = rows.get(90, 260)
    np.testing.assert_array_equal(seen[:, :600], image[90:260, :600])
    assert np.isnan(seen[10:110, 600:900]).all()
    rows.check(slice(100, 200), slice(0, 600))
    with pytest.raises(OSError, match=r"chunk \(1, 2\) is missing"):
        rows.check(slice(150, 160), slice(899, 1000))
    assert survey(PlaneStack(storage)).problems == {}  # of what can be read


def test_a_plane_of_which_nothing_can_be_read_is_a_problem():
    every = {(row, column) for row in range(6) for column in range(7)}
    with pytest.raises(OSError, match="is missing"):
        survey(PlaneStack(Chunked(plane(np.uint16), (100, 300), broken=every)))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_part_of_a_large_plane_looks_as_it_does_in_the_whole(dtype, monkeypatch):
    """Hot pixels at the edges of parts, too."""
    image = plane(dtype, hot=3000)
    stack = PlaneStack(Chunked(image, (100, 300)))
    images = PlaneImages(stack, survey(stack), None)
    whole = preprocess.to_rgb(image, survey(stack).intensities)
    for top in range(0, 530, 90):
        for left in range(0, 2100, 250):
            window = slice(top, min(top + 90, 530)), slice(left, min(left + 250, 2100))
            np.testing.assert_array_equal(images.image((), window)[0], whole[window])
