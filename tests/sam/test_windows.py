import pytest
import torch

from napari_sam_amg.sam import windows
from napari_sam_amg.sam.windows import join_windows, map_windows, pad_windows, split_windows


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (8, 3), (1, 9)])
def test_join_undoes_split(size: tuple[int, int]) -> None:
    x = torch.randn(2, *size, 3)
    assert torch.equal(join_windows(split_windows(x, 4), size), x)


def test_windows_are_row_by_row_and_zero_padded() -> None:
    x = torch.arange(1.0, 16).view(1, 3, 5, 1)
    found = split_windows(x, 2)[..., 0]
    assert found.shape == (6, 2, 2)
    assert found[0].tolist() == [[1, 2], [6, 7]]
    assert found[2].tolist() == [[5, 0], [10, 0]]
    assert found[5].tolist() == [[15, 0], [0, 0]]


@pytest.mark.parametrize("size", [(4, 4), (3, 2), (8, 12), (5, 7), (8, 3), (3, 8), (1, 9)])
@pytest.mark.parametrize("one_by_one", [True, False])
def test_map_gives_every_window_what_belongs_to_it(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], one_by_one: bool
) -> None:
    """Cut off or padded, a token plus the sum over its window, with a five for each missing one."""
    monkeypatch.setattr(windows, "calls_are_cheap", lambda _: one_by_one)
    seen = []

    def add_sum(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.shape[1:3])
        part = part + 5  # as a projection's bias, which padding has too
        return part + pad_windows(part, 4, torch.full((3,), 5.0)).sum((1, 2), keepdim=True)

    x = torch.randint(9, (2, *size, 3)).float()
    expected = torch.empty_like(x)
    for row in range(0, size[0], 4):
        for column in range(0, size[1], 4):
            part = x[:, row : row + 4, column : column + 4]
            expected[:, row : row + 4, column : column + 4] = part + 5 + part.sum((1, 2), keepdim=True) + 16 * 5
    assert torch.equal(map_windows(x, 4, add_sum), expected)
    assert len(seen) == len(set(seen))  # windows of one shape come together
    assert one_by_one or seen == [(4, 4)]
