"""Image tokens in pieces, and the mean over all of them from those over the pieces."""

import pytest
import torch

from napari_sam_amg.sam.pieces import cut, join_means
from napari_sam_amg.sam.scratch import Scratch

LIKE = torch.empty(0)


@pytest.mark.parametrize("count", [1, 63, 64, 1000, 4096])
@pytest.mark.parametrize("rows", [1, 28, 900, 10_000_000])
def test_pieces_follow_each_other_to_the_end(count: int, rows: int) -> None:
    pieces = cut(count, rows, LIKE, Scratch(), at_once=100_000)
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == count
    lengths = [piece.stop - piece.start for piece in pieces]
    assert min(lengths) > 0
    assert all(length % 64 == 0 and length == lengths[0] for length in lengths[:-1])
    assert max(lengths) * rows <= 100_000 + 64 * rows


def test_multiple_of_the_columns_of_a_grid() -> None:
    assert cut(5 * 7, 10, LIKE, Scratch(), multiple=7, at_once=200) == [slice(0, 21), slice(21, 35)]


@pytest.mark.parametrize(("like", "scratch"), [(LIKE, None), (LIKE.bfloat16(), Scratch()), (LIKE.half(), Scratch())])
def test_one_piece_without_scratch_or_of_16_bit_floats(like: torch.Tensor, scratch: Scratch | None) -> None:
    assert cut(4096, 10**6, like, scratch) == [slice(0, 4096)]


def test_means_of_pieces_join_to_that_of_all() -> None:
    """Scores so far apart that all that counts lies in one piece for some rows, and in the other for others."""
    torch.manual_seed(0)
    scores, values = 60 * torch.randn(6, 100, dtype=torch.float64), torch.randn(100, 3, dtype=torch.float64)
    means, log_sums = [], []
    for some in (slice(0, 40), slice(40, 41), slice(41, 100)):
        means.append(scores[:, some].softmax(1) @ values[some])
        log_sums.append(scores[:, some].logsumexp(1, keepdim=True))
    torch.testing.assert_close(join_means(means, log_sums), scores.softmax(1) @ values)
    assert join_means(means[:1], []) is means[0]
