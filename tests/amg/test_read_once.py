"""Planes across the chunks of their storage: the same as without a copy, and each chunk is read once."""

import errno
import itertools
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam_amg.amg import read_once as module
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import survey
from napari_sam_amg.amg.read_once import ScratchCopy, read_once
from napari_sam_amg.amg.views import Pages, in_order
from napari_sam_amg.io.images import open_image
from napari_sam_amg.io.raw_image import Geometry
from tests.counting_store import CountingStore

DATA = np.random.default_rng(0).integers(0, 200, (9, 8, 20, 30)).astype(np.uint16)


def stored(folder: Path, chunks: tuple[int, ...], data: Any = DATA) -> tuple[Any, CountingStore]:
    zarr.create_array(folder / "a.zarr", data=data + np.uint16(1), chunks=chunks)
    store = CountingStore(folder / "a.zarr")
    return zarr.open_array(store, mode="r"), store


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (2, 0, 1, 3), (1, 2, 0, 3), (3, 2, 0, 1)])
@pytest.mark.parametrize("chunks", [(1, 8, 8, 8), (9, 8, 20, 30), (2, 2, 20, 7), (3, 1, 20, 30)])
def test_a_survey_and_a_run_read_each_chunk_once(
    chunks: tuple[int, ...], order: tuple[int, ...], tmp_path: Path
) -> None:
    data, store = stored(tmp_path, chunks)
    expected = (DATA + np.uint16(1)).transpose(order)
    stack = read_once(PlaneStack(in_order(data, order)), held_bytes=1000)
    surveyed = survey(stack)
    images = PlaneImages(stack, surveyed, surveyed.intensities)
    for index in stack.indices:
        np.testing.assert_array_equal(stack.plane(index), expected[index])
        images.image(index)
    is_shared = isinstance(stack.data, ScratchCopy)
    assert is_shared == any(chunk > 1 for chunk in [chunks[axis] for axis in order[:-2]])
    assert max(store.read.values()) <= (1 if is_shared else 3)


def test_what_fits_into_memory_is_not_copied(tmp_path: Path) -> None:
    data, _ = stored(tmp_path, (2, 3, 20, 30))
    plane = 20 * 30 * 2
    # two points in time, and all of z: as many planes are begun before the first chunk is done
    for held, is_copied in ((2 * 8 * plane, False), (2 * 8 * plane - 1, True)):
        assert isinstance(read_once(PlaneStack(data), held).data, ScratchCopy) == is_copied
    single = PlaneStack(DATA)
    assert read_once(single, 1) is single
    flat = PlaneStack(da.from_array(DATA, chunks=(1, 1, 9, 9)))
    assert read_once(flat, 1) is flat


@pytest.mark.parametrize("part", [np.s_[3:9], np.s_[3:9, 5:7], np.s_[:, 28:], np.s_[19:]])
def test_parts_of_planes(part: Any, tmp_path: Path) -> None:
    data, _ = stored(tmp_path, (2, 3, 8, 8))
    copy = ScratchCopy(PlaneStack(data))
    inside = part if isinstance(part, tuple) else (part,)
    np.testing.assert_array_equal(copy[(1, 2, *inside)], (DATA[1, 2] + np.uint16(1))[inside])


def test_a_channel_that_is_fixed_is_copied_alone(tmp_path: Path) -> None:
    data, store = stored(tmp_path, (9, 1, 20, 30))
    stack = read_once(PlaneStack(data, fixed={1: 2}), 1)
    np.testing.assert_array_equal(stack.plane((3,)), DATA[3, 2] + 1)
    assert list(store.read) == ["c/0/2/0/0"]


def test_colours_and_pages_of_files() -> None:
    colours = np.random.default_rng(0).integers(0, 200, (8, 9, 10, 3)).astype(np.uint8)
    reads: list[tuple[int, ...]] = []

    class Planes:
        shape, dtype = colours.shape, colours.dtype

        def __getitem__(self, index: tuple[int, ...]) -> Any:
            reads.append(index)
            return colours[index]

    stack = read_once(PlaneStack(in_order(Pages(Planes(), 3), (1, 0, 2, 3)), rgb=True), 1)
    for row in range(9):
        np.testing.assert_array_equal(stack.plane((row,)), colours[:, row])
    assert sorted(reads) == [(page,) for page in range(8)]


class Damaged:
    """Of which one chunk cannot be read."""

    shape, dtype, chunks = DATA.shape, DATA.dtype, (1, 8, 10, 15)

    def __init__(self) -> None:
        self.asked = 0

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        self.asked += 1
        if index[0] == slice(1, 2) and index[2].start == 10 and index[3].start == 0:
            raise KeyError("no chunk")
        return DATA[index]


def test_a_damaged_chunk_is_said_where_it_matters() -> None:
    data = Damaged()
    stack = read_once(PlaneStack(data), 1)
    np.testing.assert_array_equal(stack.plane((0, 3)), DATA[0, 3])
    for _ in range(2):
        with pytest.raises(KeyError, match="no chunk"):
            stack.plane((1, 3))
    np.testing.assert_array_equal(stack.part((1, 5), slice(2, 10)), DATA[1, 5, 2:10])
    np.testing.assert_array_equal(stack.part((1, 5), slice(2, 20), slice(15, 30)), DATA[1, 5, 2:, 15:])
    assert data.asked == 8


def test_on_a_full_disk_planes_come_from_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def close(self) -> None: ...

        def seek(self, _: int) -> None: ...

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", Full)
    stack = read_once(PlaneStack(da.from_array(DATA, chunks=(1, 8, 20, 30))), 1)
    for index in itertools.product(range(9), range(8)):
        np.testing.assert_array_equal(stack.plane(index), DATA[index])
    np.testing.assert_array_equal(stack.part((1, 5), slice(2, 10), slice(3, 5)), DATA[1, 5, 2:10, 3:5])


def test_files_are_opened_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=DATA, chunks=(1, 8, 20, 30), dimension_names=["t", "z", "y", "x"])
    for held, is_copied in ((8 * 20 * 30 * 2, False), (100, True)):
        monkeypatch.setattr(read_once, "__defaults__", (held,))
        with open_image(tmp_path / "a.zarr", geometry=Geometry()) as source:
            assert isinstance(source.stack.data, ScratchCopy) == is_copied
            np.testing.assert_array_equal(source.stack.plane((3, 5)), DATA[3, 5])
