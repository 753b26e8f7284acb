"""Square windows of an image's tokens, for the encoders that attend inside windows."""

from collections.abc import Callable, Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam_amg.sam.scratch import calls_are_cheap


def map_windows(x: Tensor, side: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """``function`` of every window, put together again: (B, H, W, C) -> (B, H, W, C).

    It is given n windows at a time, (n, r, c, C), and returns as many tokens. On a CPU a window over the
    bottom or right edge is cut off there, r and c <= ``side``, so that nothing is computed for what
    is thrown away. Elsewhere all windows come at once, r = c = ``side``, padded with zeros.
    """
    rows, columns = x.shape[1:3]
    if not calls_are_cheap(x):
        return join_windows(function(split_windows(x, side)), (rows, columns))
    if max(rows, columns) <= side:
        return function(x)
    out = torch.empty_like(x)
    for (place, height), (across, width) in product(_stretches(rows, side), _stretches(columns, side)):
        windows, target = (_tiles(grid[:, place, across], height, width) for grid in (x, out))
        target.copy_(function(windows.flatten(0, 2)).unflatten(0, windows.shape[:3]))
    return out


def pad_windows(windows: Tensor, side: int, token: Tensor) -> Tensor:
    """Windows that were cut off, padded with a token (C,): (n, r, c, C) -> (n, side, side, C)."""
    count, rows, columns, _ = windows.shape
    if rows == columns == side:
        return windows
    padded = token.repeat(count, side, side, 1)
    padded[:, :rows, :columns] = windows
    return padded


def _stretches(length: int, side: int) -> Iterator[tuple[slice, int]]:
    """Where whole windows lie along an axis, and where the one that is cut off; and how long each is there."""
    rest = length % side
    if length > rest:
        yield slice(0, length - rest), side
    if rest:
        yield slice(length - rest, length), rest


def _tiles(x: Tensor, height: int, width: int) -> Tensor:
    """A view of (B, H, W, C) as (B, H / height, W / width, height, width, C)."""
    return x.unflatten(2, (-1, width)).unflatten(1, (-1, height)).transpose(2, 3)


def split_windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, side, side, C), zero-padded at the bottom and right."""
    rows, columns = x.shape[1:3]
    return _tiles(F.pad(x, (0, 0, 0, -columns % side, 0, -rows % side)), side, side).flatten(0, 2)


def join_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse for ``size`` = (H, W): (B * windows, side, side, C) -> (B, H, W, C)."""
    rows, columns = size
    side = windows.shape[1]
    grid = (-1, -(-rows // side), -(-columns // side))
    x: Tensor = windows.unflatten(0, grid).transpose(2, 3)  # (B, window rows, side, window columns, side, C)
    return x.flatten(3, 4).flatten(1, 2)[:, :rows, :columns]
