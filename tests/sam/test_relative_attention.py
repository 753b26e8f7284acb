"""Attention with relative positions against the reference's formula, written out."""

from typing import Any

import pytest
import torch
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor

from napari_sam_amg.sam import relative_attention
from napari_sam_amg.sam.relative_attention import attend, attend_in_pieces, attend_unmasked
from napari_sam_amg.sam.scratch import Scratch

SIDE, DEPTH = 5, 12
ALL = (3, 2, SIDE, SIDE, DEPTH)  # windows, heads, rows, columns, channels
CUT_OFF = (3, 2, 2, 4, DEPTH)


def some(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values, and what distances in rows and in columns are worth."""
    torch.manual_seed(0)
    whole, table = (*shape[:2], SIDE, SIDE, DEPTH), (2 * SIDE - 1, DEPTH)
    return torch.randn(shape), torch.randn(whole), torch.randn(whole), torch.randn(table), torch.randn(table)


def slowly(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """One score at a time is too slow, but one query's row and column at a time is not."""
    count, heads, height, width, depth = q.shape
    found = torch.empty(count, height, width, heads, depth)
    by_row, by_column = (get_rel_pos(SIDE, SIDE, table) for table in (rows, columns))  # (query, key, d)
    for r in range(height):
        for c in range(width):
            query = q[:, :, r, c, None, None]
            scores = (query * k).sum(-1) / depth**0.5
            scores += (query * by_row[r, :, None]).sum(-1) + (query * by_column[c]).sum(-1)
            weights = scores.flatten(2).softmax(-1).view_as(scores)[..., None]
            found[:, r, c] = (weights * v).sum((2, 3))
    return found.flatten(3)


@pytest.mark.parametrize("shape", [ALL, CUT_OFF], ids=["all", "cut off"])
@pytest.mark.parametrize("scratch", [None, Scratch()], ids=["new memory", "memory used again"])
@pytest.mark.parametrize("values", [1, 4 * SIDE**2, SIDE**4, 3 * SIDE**4, 10**9])
def test_equals_the_formula(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], scratch: Scratch | None, values: int
) -> None:
    monkeypatch.setattr(relative_attention, "CPU_MASK_VALUES", values)
    found = attend(*some(shape), scratch)
    torch.testing.assert_close(found, slowly(*some(shape)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [ALL, CUT_OFF], ids=["all", "cut off"])
def test_without_a_mask_it_is_the_same(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    """What a GPU runs, here on the CPU."""

    def instead(*arguments: Any) -> Tensor:
        return attend_unmasked(*arguments[:-1])

    monkeypatch.setattr(relative_attention, attend_in_pieces.__name__, instead)
    torch.testing.assert_close(attend(*some(shape)), slowly(*some(shape)), rtol=1e-5, atol=1e-6)


def test_without_a_mask_heads_are_as_flash_attention_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(*arguments: Tensor, **keywords: float) -> Tensor:
        seen.append(([part.shape[-1] for part in arguments], list(keywords)))
        return torch.nn.functional.softmax(arguments[0] @ arguments[1].mT, -1) @ arguments[2]

    monkeypatch.setattr(relative_attention.F, "scaled_dot_product_attention", watched)
    q, k, v, *_ = some(ALL)
    by_row = torch.randn(*ALL[:4], SIDE)
    attend_unmasked(q, k.flatten(2, 3), v.flatten(2, 3), by_row, by_row)
    assert seen == [([24, 24, 24], ["scale"])]  # 12 + 2 * 5, padded


def test_halves_are_multiplied_and_the_rest_is_exact() -> None:
    exact = some(ALL)
    halves = [part.bfloat16() for part in exact]
    found = attend(*halves)  # type: ignore[arg-type]
    assert found.dtype == torch.bfloat16
    assert relative_attention._bias_along(halves[0], 2, halves[3], None, "").dtype == torch.float32
    torch.testing.assert_close(found.float(), attend(*(part.float() for part in halves)), rtol=2e-2, atol=1e-2)
