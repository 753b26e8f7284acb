"""Each chunk is computed as seldom as memory allows, and planes are those of the stack."""

from collections import Counter

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam_amg.amg.plane_reader import PlaneReader
from napari_sam_amg.amg.planes import PlaneStack

SHAPE = (4, 2, 6, 10, 12)
DATA = np.arange(np.prod(SHAPE)).reshape(SHAPE)


def counted(data, chunks, reads, broken=()):
    """A dask array that counts how often each chunk is computed; of the broken ones none can be."""

    def note(block, block_info=None):
        place = block_info[0]["chunk-location"]
        reads[place] += 1
        if place in broken:
            raise KeyError("a chunk is lost")
        return block

    return da.from_array(data, chunks=chunks).map_blocks(note, dtype=data.dtype, meta=np.empty((0,) * data.ndim))


class WithChunkLengths:
    """Says its chunks as zarr does, and counts those that are touched."""

    def __init__(self, data, chunks, reads):
        self.data, self.chunks, self.reads, self.shape, self.dtype = data, chunks, reads, data.shape, data.dtype

    def __getitem__(self, where):
        places = np.stack(np.indices(self.shape), axis=-1)[where].reshape(-1, len(self.shape)) // self.chunks
        self.reads.update(map(tuple, np.unique(places, axis=0).tolist()))
        return self.data[where]


@pytest.mark.parametrize("fixed", [{}, {1: 1}, {0: 2, 1: 0}, {0: 1, 1: 1, 2: 3}])
@pytest.mark.parametrize(
    "chunks", [(1, 1, 1, 10, 12), (4, 2, 6, 10, 12), (1, 1, 4, 5, 5), (3, 2, 1, 10, 12), (2, 1, 6, 4, 12)]
)
@pytest.mark.parametrize("kind", [counted, WithChunkLengths])
def test_planes_are_those_of_the_stack_and_each_chunk_is_read_once(fixed, chunks, kind):
    reads = Counter()
    stack, whole = PlaneStack(kind(DATA, chunks, reads), fixed=fixed), PlaneStack(DATA, fixed=fixed)
    for order in (stack.indices, PlaneReader(stack).in_storage_order()):
        reads.clear()
        reader = PlaneReader(stack)
        assert sorted(order) == stack.indices
        for index in order:
            np.testing.assert_array_equal(reader.plane(index), whole.plane(index))
        assert set(reads.values()) <= {1}


def test_planes_that_share_a_chunk_come_one_after_another():
    stack = PlaneStack(da.zeros((4, 4, 8, 8), chunks=(2, 2, 8, 8)))
    assert PlaneReader(stack).in_storage_order()[:5] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]


@pytest.mark.parametrize(("planes_held", "times"), [(0, 6), (1, 6), (2, 3), (3, 2), (4, 2), (6, 1)])
def test_no_more_is_held_than_allowed(planes_held, times):
    reads = Counter()
    stack = PlaneStack(counted(DATA[0, 0], (6, 10, 12), reads))
    reader = PlaneReader(stack, held_bytes=planes_held * 10 * 12 * 8)
    for index in stack.indices:
        np.testing.assert_array_equal(reader.plane(index), DATA[0, 0][index])
        assert reader._held() <= max(planes_held, 1) * 10 * 12 * 8
    assert set(reads.values()) == {times}


@pytest.mark.parametrize("planes_held", [1, 4, 6, 7, 12])
def test_no_more_is_held_than_allowed_of_chunks_along_two_axes(planes_held):
    stack = PlaneStack(da.from_array(DATA[:, 0], chunks=(4, 6, 10, 12)))
    reader = PlaneReader(stack, held_bytes=planes_held * 10 * 12 * 8)
    for index in stack.indices:
        np.testing.assert_array_equal(reader.plane(index), DATA[:, 0][index])
        assert reader._held() <= planes_held * 10 * 12 * 8


def test_blocks_that_are_passed_make_room():
    reads = Counter()
    stack = PlaneStack(counted(DATA[0, 0], (2, 10, 12), reads))
    reader = PlaneReader(stack, held_bytes=4 * 10 * 12 * 8)
    for index in [*stack.indices, (4,), (5,), (2,), (0,)]:
        reader.plane(index)
    assert reads == {(0, 0, 0): 2, (1, 0, 0): 1, (2, 0, 0): 1}


def test_a_chunk_that_is_lost_costs_its_own_planes():
    stack = PlaneStack(counted(DATA[0, 0], (3, 10, 12), Counter(), broken=[(1, 0, 0)]))
    reader = PlaneReader(stack)
    for at in range(6):
        if at < 3:
            np.testing.assert_array_equal(reader.plane((at,)), DATA[0, 0, at])
        else:
            with pytest.raises(KeyError, match="a chunk is lost"):
                reader.plane((at,))


class OnePlaneIsLost:
    """Says that it has chunks of three planes; one plane of them cannot be read."""

    chunks, shape, dtype = (3, 10, 12), (6, 10, 12), DATA.dtype

    def __getitem__(self, where):
        if 4 in np.arange(6)[where[0]].ravel():
            raise ValueError("bad block")
        return DATA[0, 0][where]


def test_a_plane_that_is_lost_does_not_cost_those_of_its_chunk():
    reader = PlaneReader(PlaneStack(OnePlaneIsLost()))
    for at in (0, 1, 2, 3, 5):
        np.testing.assert_array_equal(reader.plane((at,)), DATA[0, 0, at])
    with pytest.raises(ValueError, match="bad block"):
        reader.plane((4,))
    np.testing.assert_array_equal(reader.plane((5,)), DATA[0, 0, 5])


def test_colour_and_alpha():
    data = da.from_array(np.arange(3 * 8 * 9 * 4).reshape(3, 8, 9, 4), chunks=(3, 8, 9, 2))
    stack = PlaneStack(data, rgb=True)
    np.testing.assert_array_equal(PlaneReader(stack).plane((1,)), data[1, ..., :3].compute())


def test_zarr_s_own_arrays():
    stack = PlaneStack(zarr.array(DATA, chunks=(2, 2, 4, 10, 12), store=zarr.storage.MemoryStore()), fixed={1: 1})
    reader = PlaneReader(stack)
    for index in stack.indices:
        np.testing.assert_array_equal(reader.plane(index), DATA[index[0], 1, index[1]])
    assert len(reader._blocks) == 4
