"""What a model says: of an image, and of points in it."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam_amg.sam.handover import Handover
from napari_sam_amg.sam.mask_decoder import DecoderSide, Reading
from napari_sam_amg.sam.memory import concatenated
from napari_sam_amg.sam.object_maps import ObjectMaps


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """What the model knows of one image; a value, so that no "set image first" state exists."""

    side: DecoderSide  # image side of the decoder
    input_size: tuple[int, int]  # (h, w) of the image resized for the model, before padding
    original_size: tuple[int, int]  # (H, W) of the image
    img_size: int  # side of the padded input
    maps: ObjectMaps | None = None  # of objects that the model sees before it is asked, if it has such maps

    def image_rows(self, grid_side: int) -> int:
        """Of as many rows of image tokens those whose logits, four rows each, say anything of the image."""
        per_pixel = 4 * grid_side / self.img_size
        last = math.floor((self.input_size[0] - 0.5) * per_pixel - 0.5) + 1  # as bilinear interpolation looks at them
        return min(grid_side, last // 4 + 1)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedMasks:
    """M masks that survived the predicted-IoU filter, in prompt order."""

    prompt_index: Tensor  # (M,) int64, row of the points that were decoded; on the host
    predicted_iou: Tensor  # (M,); on the host
    #: (M, s, s), over the padded square input, or its first rows, without the padding below the image; on the GPU if it
    #: is CUDA's, else on the host.
    low_res_logits: Tensor


Points = NDArray[np.float64]
Keep = Callable[[Tensor], Tensor]
Decoded = tuple[Points, DecodedMasks]  # a batch of points, and what was found there


@dataclass(slots=True, eq=False)
class Read:
    """A micro-batch that was read; its predicted IoUs are on their way to the host."""

    reading: Reading | None
    predicted_iou: Handover  # (P, 3)

    def take(self) -> Reading:
        """What was read, once: whoever draws it knows when it need not be held any more."""
        reading, self.reading = self.reading, None
        assert reading is not None
        return reading


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A micro-batch whose masks were drawn."""

    prompts: int
    prompt_index: Tensor  # (M,) within the micro-batch
    predicted_iou: Tensor  # (M,)
    low_res_logits: Tensor  # as of DecodedMasks


def all_drawn(drawn: list[Drawn], logits: Tensor | None = None) -> DecodedMasks:
    """Of micro-batches, one after another. ``logits``: of all, if they follow each other in memory already."""
    starts = np.cumsum([0, *(one.prompts for one in drawn)]).tolist()
    return DecodedMasks(
        prompt_index=torch.cat([one.prompt_index + start for one, start in zip(drawn, starts[:-1], strict=True)]),
        predicted_iou=torch.cat([one.predicted_iou for one in drawn]),
        low_res_logits=concatenated([one.low_res_logits for one in drawn]) if logits is None else logits,
    )


def regrouped(batches: Iterable[Points], at_once: int) -> Iterator[Points]:
    """Batches of points, one after another: ``at_once`` points together, fewer at the end, whatever the batches."""
    waiting: list[Points] = []
    for batch in batches:
        waiting.append(batch)
        while sum(map(len, waiting)) >= at_once:
            every = np.concatenate(waiting)
            waiting = [every[at_once:]]
            yield every[:at_once]
    if waiting and len(rest := np.concatenate(waiting)):
        yield rest


def one_by_one(
    decode: Callable[[Any, Points, Keep], DecodedMasks], embedding: Any, batches: Iterable[Points], keep: Keep
) -> Iterator[Decoded]:
    """``decode_batches`` of a model whose ``decode`` leaves nothing to wait for."""
    for points in batches:
        yield points, decode(embedding, points, keep)
