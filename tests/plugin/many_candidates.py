"""Thousands of candidates without a network: discs in three sizes at every place of a grid."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_sam_amg.amg.masks import Candidates
from napari_sam_amg.amg.region import Region, RegionCandidates
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.params import AmgParameters

SIZES = (1.0, 1.15, 0.6)  # of the candidates of one place


def disc(radius: int) -> np.ndarray:
    down, right = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return down**2 + right**2 <= radius**2


def candidates(size: tuple[int, int], count: int, seed: int) -> Candidates:
    """``count`` of them: scores are random, and neighbours overlap a little."""
    random = np.random.default_rng(seed)
    places = -(-count // len(SIZES))
    step = int(np.sqrt(size[0] * size[1] / places))
    grid = [(y, x) for y in range(step // 2, size[0], step) for x in range(step // 2, size[1], step)]
    boxes, bits, points = [], [], []
    for y, x in (grid * 2)[:places]:
        for share in SIZES:
            mask = disc(max(2, int(share * step * random.uniform(0.35, 0.6))))
            radius = len(mask) // 2
            top, left = max(0, y - radius), max(0, x - radius)
            cut = mask[top - (y - radius) :, left - (x - radius) :][: size[0] - top, : size[1] - left]
            boxes.append((left, top, left + cut.shape[1] - 1, top + cut.shape[0] - 1))
            bits.append(np.packbits(np.pad(cut, ((0, 0), (left % 8, 0))), axis=1))
            points.append((x, y))
    boxes, bits, points = boxes[:count], bits[:count], points[:count]
    scores = random.uniform(0.3, 1, (2, count)).astype(np.float32)
    crop = np.tile([0, 0, size[1], size[0]], (count, 1))
    return Candidates(np.array(boxes, np.int64), *scores, np.array(points, np.float64), crop, bits)


class ManyWork:
    """Proposes them in place of a model."""

    count = 2000

    def __init__(self, model: Any) -> None: ...

    def decide(self, images: Any, params: AmgParameters) -> AmgParameters:
        return params

    def propose(self, regions: Any, images: Any, params: AmgParameters) -> Iterator[RegionCandidates]:
        for region in regions:
            yield self.of(region, params)

    def of(self, region: Region, params: AmgParameters) -> RegionCandidates:
        found = candidates(region.size, self.count, sum(region.index))
        lower = (found.predicted_iou > params.pred_iou_thresh) & (
            found.stability_score >= params.stability_score_thresh
        )
        found = found.select(lower)
        return RegionCandidates(region, StoredCandidates(params, region.size, (found,)))
