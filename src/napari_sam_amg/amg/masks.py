"""Masks as columns: one row a mask, and each mask cut to its own box, never as a full frame.

Two stages share the scores. ``Candidates`` is what the model proposed, packed as bits, compact enough to keep
by the thousand. ``Masks`` is what survived, as pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam_amg.amg.bits import Bits, count_pixels, unpack

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]


def _take(column: Any, rows: NDArray[np.int64]) -> Any:
    if isinstance(column, np.ndarray):
        return column[rows]
    return [column[row] for row in rows] if isinstance(column, list) else column


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What candidates and masks have in common; M rows, all coordinates in the image's frame."""

    boxes: NDArray[np.int64]  # (M, 4) XYXY, last column and row included; zeros for an empty mask
    predicted_iou: NDArray[np.float32]  # (M,)
    stability_score: NDArray[np.float32]  # (M,)
    points: NDArray[np.float64]  # (M, 2) the prompt (x, y)
    crop_boxes: NDArray[np.int64]  # (M, 4) XYXY, last column and row not included

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: ArrayLike) -> Self:
        """The rows which ``keep`` names, by booleans or indices, in its order."""
        rows = np.arange(len(self))[np.asarray(keep)]
        columns = {spec.name: _take(getattr(self, spec.name), rows) for spec in dataclasses.fields(self)}
        return type(self)(**columns)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates(_Columns):
    """Masks that the model proposed, before duplicates are removed."""

    bits: list[Bits]  # M, each the pixels inside its box, see ``bits``

    @property
    def areas(self) -> NDArray[np.int64]:
        """(M,) pixels."""
        return count_pixels(self.bits)

    def cutout(self, row: int) -> NDArray[np.bool_]:
        """The pixels of one mask inside its box."""
        x0, _, x1, _ = self.boxes[row].tolist()
        return unpack(self.bits[row], x0 - int(self.crop_boxes[row, 0]), x1 + 1 - x0)


@dataclass(frozen=True, slots=True, eq=False)
class Masks(_Columns):
    """The result of automatic mask generation on one image."""

    cutouts: list[NDArray[np.bool_]]  # M, each the pixels inside its box
    size: tuple[int, int]  # (height, width) of the image

    @property
    def areas(self) -> NDArray[np.int64]:
        """(M,) pixels."""
        return count_pixels([cutout.view(np.uint8) for cutout in self.cutouts])

    @property
    def windows(self) -> list[tuple[slice, slice]]:
        """Where in the image the cutout of each mask lies."""
        return [(slice(y0, y1 + 1), slice(x0, x1 + 1)) for x0, y0, x1, y1 in self.boxes.tolist()]

    def window(self, row: int) -> tuple[slice, slice]:
        """Where in the image the cutout of one mask lies."""
        x0, y0, x1, y1 = (int(value) for value in self.boxes[row])
        return slice(y0, y1 + 1), slice(x0, x1 + 1)

    def frame(self, row: int) -> NDArray[np.bool_]:
        """One mask as a full (height, width) frame."""
        frame = np.zeros(self.size, dtype=bool)
        frame[self.window(row)] = self.cutouts[row]
        return frame

    def to_coco(self, output_mode: OutputMode = "coco_rle") -> list[dict[str, Any]]:
        """Records as ``segment_anything.SamAutomaticMaskGenerator.generate`` returns them.

        Keys: segmentation, area, bbox (XYWH), predicted_iou, point_coords, stability_score,
        crop_box (XYWH). ``output_mode`` is the form of the segmentation; the reference's own
        default is "binary_mask", which costs a full frame for each mask.
        """
        from napari_sam_amg.amg.coco import records

        return records(self, output_mode)


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """All rows of several tables of candidates, in order."""
    columns: dict[str, Any] = {}
    for spec in dataclasses.fields(Candidates):
        values = [getattr(part, spec.name) for part in parts]
        columns[spec.name] = list(chain(*values)) if isinstance(values[0], list) else np.concatenate(values)
    return Candidates(**columns)


def joined_masks(parts: Sequence[Masks]) -> Masks:
    """All rows of several tables of masks of one image, in order; there is one table at least."""
    columns = {
        spec.name: np.concatenate([getattr(part, spec.name) for part in parts]) for spec in dataclasses.fields(_Columns)
    }
    return Masks(**columns, cutouts=[cutout for part in parts for cutout in part.cutouts], size=parts[0].size)


def no_candidates() -> Candidates:
    empty = np.empty(0, np.float32)
    boxes = np.empty((0, 4), np.int64)
    return Candidates(boxes, empty, empty, np.empty((0, 2)), boxes, [])


def no_masks(size: tuple[int, int]) -> Masks:
    """Of an image of (height, width) ``size`` in which nothing was found."""
    none = no_candidates()
    return Masks(none.boxes, none.predicted_iou, none.stability_score, none.points, none.crop_boxes, [], size)
