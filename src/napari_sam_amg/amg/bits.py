"""Masks as bits: the rows of a mask's box, eight pixels a byte, the leftmost pixel in the highest bit.

The bytes are those of whole rows of the crop, so that a box is cut out of them byte by byte: in front of its first
column there may be up to seven pixels, and behind its last, which are no part of the mask and so are zero.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]  # (height, bytes)
BYTE = 8  # pixels


def unpack(bits: Bits, first: int, width: int) -> NDArray[np.bool_]:
    """The (height, width) pixels of a box that begins with column ``first`` of its crop."""
    lead = first % BYTE
    return np.unpackbits(bits, axis=1)[:, lead : lead + width].view(np.bool_)


def pack(pixels: NDArray[np.bool_], first: int) -> Bits:
    """The bits of a box (height, width) that begins with column ``first`` of its crop: what ``unpack`` undoes."""
    lead = first % BYTE
    whole = np.zeros((pixels.shape[0], lead + pixels.shape[1]), np.bool_)
    whole[:, lead:] = pixels
    return np.packbits(whole, axis=1)


def cut_out(rows: Bits, x0: int, y0: int, x1: int, y1: int) -> Bits:
    """Of packed rows the bytes that hold a box, its last column and row included, in memory of their own."""
    return rows[y0 : y1 + 1, x0 // BYTE : x1 // BYTE + 1].copy()


def count_pixels(masks: Sequence[Bits]) -> NDArray[np.int64]:
    """(M,) the true pixels of each of M masks."""
    sizes = np.array([bits.size for bits in masks], np.int64)
    filled = np.flatnonzero(sizes)
    counts = np.zeros(len(masks), np.int64)
    if len(filled):
        ones = np.bitwise_count(np.concatenate(masks, axis=None))
        starts = np.concatenate([[0], np.cumsum(sizes[filled])[:-1]])
        counts[filled] = np.add.reduceat(ones, starts, dtype=np.int64)
    return counts
