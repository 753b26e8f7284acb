"""Square windows of an image's tokens, for the encoders that attend inside windows."""

import torch.nn.functional as F
from torch import Tensor


def split_windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, side, side, C), zero-padded at the bottom and right."""
    rows, columns = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -columns % side, 0, -rows % side))
    x = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # (B, window rows, side, window columns, side, C)
    return x.transpose(2, 3).flatten(0, 2)


def join_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse for ``size`` = (H, W): (B * windows, side, side, C) -> (B, H, W, C)."""
    rows, columns = size
    side = windows.shape[1]
    grid = (-1, -(-rows // side), -(-columns // side))
    x: Tensor = windows.unflatten(0, grid).transpose(2, 3)  # (B, window rows, side, window columns, side, C)
    return x.flatten(3, 4).flatten(1, 2)[:, :rows, :columns]
