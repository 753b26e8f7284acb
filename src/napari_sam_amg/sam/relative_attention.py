"""Attention inside windows with decomposed relative positions: a score gains what row and column of the key add.

Source: ``segment_anything.modeling.image_encoder.add_decomposed_rel_pos``; same result. Shapes: n windows
of ``side`` x ``side`` tokens, h heads of d channels. r x c of the tokens ask, at the edge of an image
fewer than all; N = ``side``**2 are asked.

The additive mask of a whole block of vit_b would be 805 MB, so ``attend_in_pieces`` makes it for a few
queries at a time. ``attend_unmasked`` needs none, which lets a GPU use flash attention.
"""

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.sam.gpu_way import takes_cpu_way, takes_gpu_way
from napari_sam_amg.sam.looks import look
from napari_sam_amg.sam.scratch import Scratch, calls_are_cheap, out

#: Values of the mask made at once, on a CPU for every two threads: 1024 queries of a head of vit_b. torch gives
#: a thread 256 queries at a time, but of fewer than 768 only 64. Measured on 2 cores, vit_b: half of it takes
#: 7 % longer, twice and four times as much 1 % and 4 %. A GPU and a graph want few, large calls.
CPU_MASK_VALUES = 2**22
GPU_MASK_VALUES = 2**25


def attend(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scratch: Scratch | None = None) -> Tensor:
    """Queries (n, h, r, c, d), keys and values (n, h, side, side, d) -> (n, r, c, h * d).

    ``rows``, ``columns``: a vector for each distance (2 * side - 1, d), from -(side - 1) on.
    """
    by_row = _bias_along(q, 2, rows, scratch, "by row")
    by_column = _bias_along(q, 3, columns, scratch, "by column")
    k, v = k.flatten(2, 3), v.flatten(2, 3)
    if takes_gpu_way(q.device):
        return attend_unmasked(q, k, v, by_row, by_column)
    return attend_in_pieces(q, k, v, by_row, by_column, scratch)


def _bias_along(q: Tensor, axis: int, table: Tensor, scratch: Scratch | None, name: str) -> Tensor:
    """What the key's row (axis 2 of q) or column (axis 3) adds to a score: (n, h, r, c, side).

    float32 on a CPU, for halves too: torch reads such a mask faster there, and it is more precise.
    """
    table = table.float() if takes_cpu_way(q.device) else table
    asked = q.movedim(axis, 0)
    vectors = _by_distance(table)[: len(asked)]
    memory = out(scratch, "asked", tuple(asked.shape), table)
    asked = asked.to(table.dtype) if memory is None else memory.copy_(asked)
    shape = (len(asked), asked[0, ..., 0].numel(), vectors.shape[2])
    bias = torch.bmm(asked.flatten(1, -2), vectors, out=out(scratch, name, shape, table))
    return bias.unflatten(1, asked.shape[1:-1]).movedim(0, axis)


def _by_distance(table: Tensor) -> Tensor:
    """Vectors by distance (2 * side - 1, d) -> by query and key (side, d, side).

    Entry [q, :, k] is ``table[q - k + side - 1]``: a sliding window over the table, read backwards.
    """
    return table.unfold(0, len(table) // 2 + 1, 1).flip(-1)


def attend_in_pieces(
    q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, scratch: Scratch | None = None
) -> Tensor:
    """``attend`` with an additive mask, in a loop.

    Here keys and values are (n, h, N, d). ``by_row``, ``by_column``: what the key's row or column adds to a
    score, (n, h, r, c, side).
    """
    count, heads, height, width, _ = q.shape
    shape = (count, height, width, heads, q.shape[4])
    found = q.new_empty(shape) if scratch is None else scratch.take("found", shape, q)
    for window, head, row in _pieces((count, heads, height), _mask_values(q) // (width * k.shape[2])):
        look()
        part = q[window, head, row].flatten(2, 3)
        mask = _mask(by_row[window, head, row], by_column[window, head, row], scratch)
        part = F.scaled_dot_product_attention(part, k[window, head], v[window, head], attn_mask=mask)
        found[window, row, :, head] = part.unflatten(2, (-1, width)).permute(0, 2, 3, 1, 4)
    return found.flatten(3)


def _mask(by_row: Tensor, by_column: Tensor, scratch: Scratch | None) -> Tensor:
    """(n, h, r * c, N): the sum for every row and column of keys."""
    memory = out(scratch, "mask", (*by_row.shape, by_row.shape[-1]), by_row)
    return torch.add(by_row[..., None], by_column[..., None, :], out=memory).flatten(4).flatten(2, 3)


def _mask_values(x: Tensor) -> int:
    if not calls_are_cheap(x):
        return GPU_MASK_VALUES
    return min(CPU_MASK_VALUES * max(1, torch.get_num_threads() // 2), GPU_MASK_VALUES)


def _pieces(shape: tuple[int, ...], limit: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array into parts of at most ``limit`` entries, but at least one; the last axis is cut last."""
    cuts: list[list[slice]] = []
    for size in reversed(shape):
        step = min(size, max(1, limit))
        cuts.insert(0, [slice(start, start + step) for start in range(0, size, step)])
        limit //= size
    return product(*cuts)


def attend_unmasked(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """The same as ``attend_in_pieces`` without a mask: rows and columns are further channels.

    There, a query has what each row and each column of keys adds to its score, and a key has 1 for its own
    row and column, else 0. Flash attention wants all heads equally wide, a multiple of 8. On a CPU the
    wider products cost more than a mask.
    """
    side, depth = by_row.shape[-1], q.shape[-1]
    eye = torch.eye(side, dtype=k.dtype, device=k.device)
    place = torch.cat([eye.repeat_interleave(side, 0), eye.repeat(side, 1)], dim=-1)  # (N, 2 * side)
    asked = torch.cat([q * depth**-0.5, by_row, by_column], dim=-1).flatten(2, 3)
    keys = torch.cat([k, place.expand(*k.shape[:2], -1, -1)], dim=-1)
    width = -(-keys.shape[-1] // 8) * 8
    asked, keys, values = (F.pad(part, (0, width - part.shape[-1])) for part in (asked, keys, v))
    found = F.scaled_dot_product_attention(asked, keys, values, scale=1.0)[..., :depth]
    return found.transpose(1, 2).flatten(2).unflatten(1, q.shape[2:4])
