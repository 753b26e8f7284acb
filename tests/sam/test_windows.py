import pytest
import torch

from napari_sam_amg.sam.windows import join_windows, split_windows


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (8, 3), (1, 9)])
def test_join_undoes_split(size: tuple[int, int]) -> None:
    x = torch.randn(2, *size, 3)
    assert torch.equal(join_windows(split_windows(x, 4), size), x)


def test_windows_are_row_by_row_and_zero_padded() -> None:
    x = torch.arange(1.0, 16).view(1, 3, 5, 1)
    windows = split_windows(x, 2)[..., 0]
    assert windows.shape == (6, 2, 2)
    assert windows[0].tolist() == [[1, 2], [6, 7]]
    assert windows[2].tolist() == [[5, 0], [10, 0]]
    assert windows[5].tolist() == [[15, 0], [0, 0]]
