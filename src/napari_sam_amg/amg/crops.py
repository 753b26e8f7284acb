"""Crop boxes: the image itself, then ever smaller overlapping crops of it."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from napari_sam_amg.params import AmgParameters


@dataclass(frozen=True, slots=True)
class CropBox:
    """A part of the image: columns x0 .. x1 - 1, rows y0 .. y1 - 1, and the layer that it is in."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def xyxy(self) -> tuple[int, int, int, int]:
        return self.x0, self.y0, self.x1, self.y1


def crop_boxes(size: tuple[int, int], params: AmgParameters) -> list[CropBox]:
    """The whole image of (height, width) ``size``, then 4 ** n crops for every layer n.

    Source: ``segment_anything.utils.amg.generate_crop_boxes``, the same boxes in the same order. Boxes
    without a pixel, which it makes of small images and fails with, are left out.
    With ``crop_layers="last"`` only those of the last layer.
    """
    first = params.crop_n_layers if params.crop_layers == "last" else 0
    layers = range(first, params.crop_n_layers + 1)
    return [box for layer in layers for box in layer_boxes(size, layer, params.crop_overlap_ratio)]


Part = tuple[float, float, float, float]  # x0, y0, x1, y1, px of the image


def layer_boxes(size: tuple[int, int], layer: int, overlap_ratio: float) -> list[CropBox]:
    """The crops of one layer, 4 ** layer if the image has pixels for as many; layer 0 is the image itself."""
    height, width = size
    count = 2**layer
    # of the shorter side in both directions, and cut off instead of rounded, as the reference has it
    overlap = int(overlap_ratio * min(size) * (2 / count)) if layer else 0
    columns, rows = _spans(width, count, overlap), _spans(height, count, overlap)
    return [CropBox(x0, y0, x1, y1, layer) for x0, x1 in columns for y0, y1 in rows]


def own_part(crop: CropBox, crops: Sequence[CropBox], margin: float) -> Part:
    """Of a crop among ``crops``, the part that no other of its layer holds better: (x0, y0, x1, y1), px of the image.

    Neighbours share what they have in common at its middle, and ``margin`` of its width beyond.
    """
    layer = [other for other in crops if other.layer == crop.layer]
    x0, x1 = _own_span((crop.x0, crop.x1), {(other.x0, other.x1) for other in layer}, margin)
    y0, y1 = _own_span((crop.y0, crop.y1), {(other.y0, other.y1) for other in layer}, margin)
    return x0, y0, x1, y1


def _own_span(span: tuple[int, int], spans: Collection[tuple[int, int]], margin: float) -> tuple[float, float]:
    ends = [end - (0.5 + margin) * (end - span[0]) for start, end in spans if start < span[0] < end]
    starts = [start + (0.5 + margin) * (span[1] - start) for start, end in spans if start < span[1] < end]
    return max([span[0], *ends]), min([span[1], *starts])


def _spans(length: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """At most ``count`` spans that cover ``length`` pixels, neighbours overlapping by ``overlap``.

    Rounded up, the spans may cover the pixels before all of them are used; the rest would begin beyond the end.
    """
    span = math.ceil((overlap * (count - 1) + length) / count)
    starts = [int((span - overlap) * index) for index in range(count)]
    return [(start, min(start + span, length)) for start in starts if start < length]
