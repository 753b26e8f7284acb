"""Phase 1: ask the model for candidates, one crop after another, one batch of points after another."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam_amg.amg.crops import CropBox, Part, crop_boxes
from napari_sam_amg.amg.filters import (
    confident,
    cut_by_crop,
    edge_tolerance,
    passing,
    stability_score,
    stable,
    undominated,
    weakest,
)
from napari_sam_amg.amg.guided import Search, count_batches_of_centres
from napari_sam_amg.amg.masks import Candidates, concatenate, no_candidates
from napari_sam_amg.amg.on_device import DeviceMeasures, device_upsampler
from napari_sam_amg.amg.one_piece import in_one_piece
from napari_sam_amg.amg.prompts import count_point_batches, point_batches, search_levels
from napari_sam_amg.amg.upsample import Measures, upsampler
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.sam.answers import Decoded, DecodedMasks, ImageEmbedding, Keep, Points
from napari_sam_amg.sam.config import ModelInfo
from napari_sam_amg.sam.gpu_way import takes_gpu_way
from napari_sam_amg.sam.scratch import keeps_scratch


class Model(Protocol):
    """What automatic mask generation needs of a model."""

    mask_threshold: float
    info: ModelInfo

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding: ...

    def decode_batches(self, embedding: ImageEmbedding, batches: Iterable[Points], keep: Keep) -> Iterator[Decoded]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Proposed:
    """What became of one batch of points."""

    crop: CropBox
    candidates: Candidates
    cut: Candidates  # by an edge of the crop; kept with ``crop_layers="last"`` alone, which has no layer above
    asked: NDArray[np.float32]  # (n, 2) the points (x, y), px of the image; they may have given nothing


def count_batches(size: tuple[int, int], params: AmgParameters) -> int:
    """How many batches of points an image of (height, width) ``size`` takes, those included that a search may save."""
    per_layer = [
        sum(count_point_batches(len(part), params.points_per_batch) for part in parts)
        + count_batches_of_centres(params)
        for parts in search_levels(params)
    ]
    return sum(per_layer[crop.layer] for crop in crop_boxes(size, params))


@keeps_scratch
def propose(
    image: NDArray[np.uint8], model: Model, params: AmgParameters, core: Part | None = None
) -> Iterator[Proposed]:
    """The candidates of every batch of points, after the two thresholds.

    ``image``: (H, W, 3) uint8 RGB. Yields ``count_batches`` times, crops in the order of ``crop_boxes``; a batch
    that is saved, since the masks found so far cover its points, brings none at once. ``core``: of a tile, what no
    other one holds; what lies around it a guided search leaves to its neighbours.
    """
    levels = search_levels(params)
    # points must not depend on the thresholds of the run, or stored candidates would allow no others
    own = merged(model.info.amg_defaults)
    drawn = weakest(params, own) if params.approximate else params
    size = (image.shape[0], image.shape[1])
    crops = crop_boxes(size, params)
    for crop, embedding in _embedded(model, image, crops):
        maps = embedding.maps if params.point_search == "guided" else None
        search = Search(crop, crops, maps, levels[crop.layer], params, own, core)
        for points, saved in search.parts():
            # progress counts on every batch that there might be, also on those that need not be asked
            for _ in range(saved):
                yield Proposed(crop, no_candidates(), no_candidates(), np.empty((0, 2), np.float32))
            # A model may take batches ahead of those that it gives. So it gets a part at a time: which points of the
            # next one are asked is decided when all masks of this one are known, whatever the device.
            batches = point_batches(crop, points, params.points_per_batch)
            for batch, candidates in zip(batches, _ask(model, embedding, crop, points, drawn), strict=True):
                if params.point_search == "guided":  # the others are the reference's, whose masks are as they are
                    candidates = in_one_piece(candidates)
                cut = cut_by_crop(candidates.boxes, crop, size, edge_tolerance(crop, params.crop_layers))
                whole = candidates.select(~cut)
                search.learn(whole)
                lost = candidates.select(cut) if params.crop_layers == "last" else no_candidates()
                asked = (batch + np.array([crop.x0, crop.y0])).astype(np.float32)
                yield Proposed(crop, passing(whole, params), undominated(passing(lost, params)), asked)


def _embedded(model: Model, image: NDArray[np.uint8], crops: list[CropBox]) -> Iterator[tuple[CropBox, ImageEmbedding]]:
    """Each crop when it is wanted; as many together as suit the model, if there are as many."""
    at_once = getattr(model, "images_at_once", 1)
    for start in range(0, len(crops), at_once):
        some = crops[start : start + at_once]
        if 1 < len(some) == at_once:
            views = [_pixels(image, crop) for crop in some]
            with _named_layer(some[-1]):
                embeddings = model.embed_all(views)  # type: ignore[attr-defined]
            yield from zip(some, embeddings, strict=True)
        else:
            yield from ((crop, embed_crop(model, image, crop)) for crop in some)


def embed_crop(model: Model, image: NDArray[np.uint8], crop: CropBox) -> ImageEmbedding:
    """What the model knows of one crop of an (H, W, 3) image."""
    with _named_layer(crop):
        return model.embed(_pixels(image, crop))


def _pixels(image: NDArray[np.uint8], crop: CropBox) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[crop.y0 : crop.y1, crop.x0 : crop.x1])


@contextmanager
def _named_layer(crop: CropBox) -> Iterator[None]:
    """What is wrong with a crop is said to be so of its layer."""
    try:
        yield
    except ValueError as error:
        if crop.layer == 0:
            raise
        raise ValueError(f"in crop layer {crop.layer} {error}; choose a smaller crop_n_layers") from error


def _ask(
    model: Model, embedding: ImageEmbedding, crop: CropBox, grid: NDArray[np.float64], params: AmgParameters
) -> Iterator[Candidates]:
    """Candidates for the points (n, 2), (x, y) in 0..1 of the crop, as often as there are batches of points.

    A model may decode several batches at once, or a part of one; those that it has not come to bring none.
    """
    batches = point_batches(crop, grid, params.points_per_batch)
    found: list[Candidates] = []
    asked = given = 0
    for masks in _measured(model, embedding, batches, params):
        found.append(_candidates(masks, crop, params))
        asked += len(masks.asked)
        # the last batch may be a smaller one
        complete = asked // params.points_per_batch
        done = count_point_batches(asked, params.points_per_batch) if asked == len(grid) else complete
        while given < done:
            yield concatenate([no_candidates(), *found])
            found, given = [], given + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Masks that a model has decoded; without their logits, so that nobody holds these longer than they are needed."""

    asked: NDArray[np.float64]  # (n, 2) the points, in pixels (x, y) of the crop
    points: NDArray[np.float64]  # (M, 2) those of the masks
    predicted_iou: NDArray[np.float32]  # (M,)
    measures: Measures | DeviceMeasures


def _measured(
    model: Model, embedding: ImageEmbedding, batches: Iterable[Points], params: AmgParameters
) -> Iterator[_Measured]:
    """What the model decodes, and measures of it, made where the logits are.

    A GPU has the next masks to decode when these are given: who waits for their measures does not idle it.
    """

    def measured(points: Points, decoded: DecodedMasks) -> _Measured:
        logits = decoded.low_res_logits
        sizes = logits.shape[-1], embedding.img_size, embedding.input_size, embedding.original_size
        levels = model.mask_threshold, params.stability_score_offset
        measures = (
            upsampler(*sizes).measure(_to_numpy(logits), *levels)
            if on_host(logits)
            else device_upsampler(*sizes, logits.device).measure(logits, *levels)
        )
        return _Measured(points, points[decoded.prompt_index.numpy()], _to_numpy(decoded.predicted_iou), measures)

    waiting: deque[_Measured] = deque()
    for points, decoded in model.decode_batches(embedding, batches, lambda iou: confident(iou, params)):
        ahead = int(not on_host(decoded.low_res_logits))
        waiting.append(measured(points, decoded))
        del decoded
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def on_host(logits: Tensor) -> bool:
    return not takes_gpu_way(logits.device)


def _candidates(masks: _Measured, crop: CropBox, params: AmgParameters) -> Candidates:
    """Stability score, box and pixels of the stable ones among measured masks.

    An empty mask has the reference's box of zeros. It is one without a pixel above the threshold itself, whatever
    there is above the lower threshold that only stability asks for.
    """
    stability = stability_score(masks.measures.larger, masks.measures.smaller)
    kept = np.flatnonzero(stable(stability, params))
    shift = np.array([crop.x0, crop.y0])
    return Candidates(
        boxes=masks.measures.boxes[kept] + np.tile(shift, 2),
        predicted_iou=masks.predicted_iou[kept],
        stability_score=stability[kept],
        points=masks.points[kept] + shift,
        crop_boxes=np.tile(np.array(crop.xyxy, np.int64), (len(kept), 1)),
        bits=masks.measures.bits(kept),
    )


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.to(torch.float32).numpy()
    return values
