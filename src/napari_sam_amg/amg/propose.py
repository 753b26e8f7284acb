"""Phase 1: ask the model for candidates, one crop after another, one batch of points after another."""

from collections import deque
from collections.abc import Iterable, Iterator
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
from napari_sam_amg.sam.config import ModelInfo
from napari_sam_amg.sam.gpu_way import takes_gpu_way
from napari_sam_amg.sam.model import Decoded, DecodedMasks, ImageEmbedding, Keep, Points
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
    for crop in crops:
        embedding = embed_crop(model, image, crop)
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


def embed_crop(model: Model, image: NDArray[np.uint8], crop: CropBox) -> ImageEmbedding:
    """What the model knows of one crop of an (H, W, 3) image."""
    try:
        return model.embed(np.ascontiguousarray(image[crop.y0 : crop.y1, crop.x0 : crop.x1]))
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
    for points, decoded, measures in _measured(model, embedding, batches, params):
        found.append(_candidates(decoded, measures, points, crop, params))
        asked += len(points)
        # the last batch may be a smaller one
        complete = asked // params.points_per_batch
        done = count_point_batches(asked, params.points_per_batch) if asked == len(grid) else complete
        while given < done:
            yield concatenate([no_candidates(), *found])
            found, given = [], given + 1


def _measured(
    model: Model, embedding: ImageEmbedding, batches: Iterable[Points], params: AmgParameters
) -> Iterator[tuple[Points, DecodedMasks, Measures | DeviceMeasures]]:
    """What the model decodes, and measures of it, made where the logits are.

    A GPU has the next masks to decode when these are given: who waits for their measures does not idle it.
    """
    waiting: deque[tuple[Points, DecodedMasks, Measures | DeviceMeasures]] = deque()
    for points, decoded in model.decode_batches(embedding, batches, lambda iou: confident(iou, params)):
        logits = decoded.low_res_logits
        sizes = logits.shape[-1], embedding.img_size, embedding.input_size, embedding.original_size
        levels = model.mask_threshold, params.stability_score_offset
        if on_host(logits):
            yield points, decoded, upsampler(*sizes).measure(_to_numpy(logits), *levels)
            continue
        waiting.append((points, decoded, device_upsampler(*sizes, logits.device).measure(logits, *levels)))
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def on_host(logits: Tensor) -> bool:
    return not takes_gpu_way(logits.device)


def _candidates(
    decoded: DecodedMasks,
    measures: Measures | DeviceMeasures,
    points: NDArray[np.float64],
    crop: CropBox,
    params: AmgParameters,
) -> Candidates:
    """Stability score, box and pixels of the stable ones among decoded masks.

    An empty mask has the reference's box of zeros. It is one without a pixel above the threshold itself, whatever
    there is above the lower threshold that only stability asks for.
    """
    stability = stability_score(measures.larger, measures.smaller)
    kept = np.flatnonzero(stable(stability, params))
    shift = np.array([crop.x0, crop.y0])
    return Candidates(
        boxes=measures.boxes[kept] + np.tile(shift, 2),
        predicted_iou=_to_numpy(decoded.predicted_iou)[kept],
        stability_score=stability[kept],
        points=points[decoded.prompt_index.numpy()[kept]] + shift,
        crop_boxes=np.tile(np.array(crop.xyxy, np.int64), (len(kept), 1)),
        bits=measures.bits(kept),
    )


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.to(torch.float32).numpy()
    return values
