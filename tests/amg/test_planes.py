import dask.array as da
import numpy as np
import pytest

from napari_sam_amg.amg.planes import PlaneStack


@pytest.mark.parametrize(
    ("shape", "rgb", "fixed", "stack_shape", "plane_shape"),
    [
        ((20, 30), False, {}, (), (20, 30)),
        ((20, 30, 3), True, {}, (), (20, 30, 3)),
        ((20, 30, 4), True, {}, (), (20, 30, 3)),
        ((5, 20, 30), False, {}, (5,), (20, 30)),
        ((5, 20, 30), False, {0: 2}, (), (20, 30)),
        ((4, 2, 5, 20, 30), False, {1: 1}, (4, 5), (20, 30)),
        ((4, 20, 30, 3), True, {}, (4,), (20, 30, 3)),
    ],
)
def test_axes(shape, rgb, fixed, stack_shape, plane_shape):
    stack = PlaneStack(np.zeros(shape), rgb, fixed)
    assert stack.stack_shape == stack_shape
    assert stack.plane_size == (20, 30)
    assert len(stack.indices) == np.prod(stack_shape, dtype=int)
    assert all(stack.plane(index).shape == plane_shape for index in stack.indices)


def test_the_right_plane_comes():
    data = np.arange(4 * 2 * 5 * 8 * 9).reshape(4, 2, 5, 8, 9)
    np.testing.assert_array_equal(PlaneStack(data, fixed={1: 1}).plane((3, 2)), data[3, 1, 2])


def test_a_lazy_stack_is_read_one_plane_at_a_time():
    read = []

    def plane(block, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return block

    lazy = da.zeros((6, 10, 12), chunks=(1, 10, 12)).map_blocks(plane, dtype=float, meta=np.empty((0, 0, 0)))
    stack = PlaneStack(lazy)
    assert read == []
    stack.plane((4,))
    assert read == [4]


@pytest.mark.parametrize(
    ("data", "rgb", "fixed", "message"),
    [
        (np.zeros((20, 30), complex), False, {}, "complex128 cannot be segmented"),
        (np.zeros((20, 30), "U1"), False, {}, "cannot be segmented"),
        (np.zeros(30), False, {}, r"shape \(30,\) is not allowed"),
        (np.zeros((20, 30, 5)), True, {}, r"shape \(20, 30, 5\) is not allowed"),
        (np.zeros((1, 1)), False, {}, "1 x 1 pixels: each side must have at least 8"),
        (np.zeros((3, 20000)), False, {}, "3 x 20000 pixels"),
        (np.zeros((0, 20, 30)), False, {}, "has no pixels"),
        (np.zeros((2, 20, 30)), False, {0: 2}, "position 2 of axis 0"),
    ],
)
def test_what_cannot_be_segmented(data, rgb, fixed, message):
    with pytest.raises(ValueError, match=message):
        PlaneStack(data, rgb, fixed)
