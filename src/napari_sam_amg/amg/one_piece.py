"""Masks in several pieces, of which a label shows the largest: so that alone is what competes with others."""

from dataclasses import replace

import numpy as np

from napari_sam_amg.amg.bits import pack
from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.fragments import large_pieces
from napari_sam_amg.amg.masks import Candidates


def in_one_piece(candidates: Candidates) -> Candidates:
    """Each mask as its largest 4-connected piece, of several the first, with its own box; the scores stay.

    A model answers for two objects of a kind at once when it is asked for one, or for an object far away when it is
    asked in the background. With a box around both such a mask is nobody's double, and takes the place of the other.
    """
    boxes, bits = candidates.boxes.copy(), list(candidates.bits)
    for row in range(len(candidates)):
        cutout = candidates.cutout(row)
        piece = large_pieces(cutout, np.inf)
        if piece is cutout:
            continue
        x0, y0, x1, y1 = box_of(piece) or (0, 0, 0, 0)
        left, top = candidates.boxes[row, :2].tolist()
        boxes[row] = left + x0, top + y0, left + x1, top + y1
        bits[row] = pack(piece[y0 : y1 + 1, x0 : x1 + 1], left + x0 - int(candidates.crop_boxes[row, 0]))
    return replace(candidates, boxes=boxes, bits=bits)
