"""Outlines of pixels along their edges: what is inside of them is the pixels exactly."""

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]  # (n, 2) corners (x, y), in pixels from the image's upper left corner; not closed


def rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """The outlines of a mask (H, W): clockwise around its pieces, the other way round along its holes.

    Pieces are 4-connected: those that touch at a corner have an outline each. Pieces come first, each list from top
    to bottom. The rule of winding and the even-odd rule both give the mask again.
    """
    corners, across, down = _corners(mask)
    left = np.ones(len(corners), bool)
    pieces: list[Ring] = []
    holes: list[Ring] = []
    for start in range(len(corners)):
        if not left[start]:
            continue
        ring = _follow(start, across, down)
        left[ring] = False
        x, y = corners[start]  # the highest corner, and of these the one to the left
        (pieces if mask[y, x] else holes).append(corners[ring if mask[y, x] else ring[::-1]])
    return [*pieces, *holes]


def _corners(mask: NDArray[np.bool_]) -> tuple[Ring, NDArray[np.int64], NDArray[np.int64]]:
    """All corners, from the top row on, and for each the number of the next one along its row, and its column.

    An outline turns at every corner. So the corners in a row, from left to right, are the ends of its pieces of
    outline, two and two; those in a column likewise. Where two pixels touch at a corner only there are two corners.
    """
    padded = np.pad(mask, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    is_turn = upper_left ^ upper_right ^ lower_left ^ lower_right
    is_double = (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    y, x = np.nonzero(is_turn | is_double)
    times = 1 + is_double[y, x]
    y, x = np.repeat(y, times), np.repeat(x, times)
    # Of two corners in one place the first goes on to the left, the second to the right. Up or down goes whichever
    # stays with its pixel: the first one goes up along a pixel that is above, to its left.
    second = np.append(False, (np.diff(y) == 0) & (np.diff(x) == 0))[: len(y)]
    goes_up = np.where(upper_left[y, x], ~second, second)
    by_column = np.lexsort((~goes_up, y, x))
    return np.stack([x, y], axis=1), _partners(np.arange(len(y))), _partners(by_column)


def _partners(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of numbers in pairs, the other one of the pair for each."""
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners


def _follow(start: int, across: NDArray[np.int64], down: NDArray[np.int64]) -> list[int]:
    """Numbers of the corners of the ring that begins with one, to the right."""
    ring, at = [], start
    while True:
        after = int(across[at])
        ring += [at, after]
        at = int(down[after])
        if at == start:
            return ring
