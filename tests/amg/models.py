"""Models without a network that say what they were asked, see objects before, or find those of some sizes only."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from napari_sam_amg.sam.handover import one_ahead
from napari_sam_amg.sam.object_maps import SeenObjects
from tests.disc_model import BLOB_IOU, EMPTY_IOU, BlobModel, keep_all

#: Of the masks with a predicted IoU of .95 a model with these thresholds is sure, of those with .7 it is not.
OWN = {"pred_iou_thresh": 0.65, "stability_score_thresh": 0.4}
GOOD_DIAMETERS = (50, 75)  # px of the model's input


class ListeningModel(BlobModel):
    """Keeps the points that it was asked: of each crop, batch by batch. Its own thresholds decide which these are."""

    def __init__(self, **own: float) -> None:
        super().__init__()
        self.info = replace(self.info, amg_defaults={**self.info.amg_defaults, **OWN, **own})
        self.crops: list[list[np.ndarray]] = []

    def embed(self, image):
        self.crops.append([])
        return super().embed(image)

    def decode(self, embedding, points, keep):
        self.crops[-1].append(points)
        return super().decode(embedding, points, keep)

    @property
    def batches(self) -> list[np.ndarray]:
        return [batch for crop in self.crops for batch in crop]


class AheadModel(ListeningModel):
    """Decodes a batch when the next one was taken, as a GPU does."""

    def decode_batches(self, embedding, batches, keep):
        for points, _ in one_ahead(batches, lambda points: None):
            yield points, self.decode(embedding, points, keep)


@dataclass(frozen=True, eq=False)
class GivenMaps:
    seen: SeenObjects

    def objects(self):
        return self.seen


class SeeingModel(ListeningModel):
    """Sees all blobs before it is asked but the grey ones, and background where there is neither."""

    sees_objects = True

    def embed(self, image):
        embedding = super().embed(image)
        _, _, boxes, centres = cv2.connectedComponentsWithStats((image[..., 0] > 180).astype(np.uint8))[0:4]
        areas = boxes[1:, cv2.CC_STAT_AREA].astype(float)
        seen = SeenObjects(centres[1:] + 0.5, areas, 1.1 * areas**0.5, self.background(image))
        object.__setattr__(embedding, "maps", GivenMaps(seen))
        return embedding

    def background(self, image):
        return image[..., 0] < 100


class SizedModel(BlobModel):
    """Finds objects of some sizes only, as a trained model does."""

    def decode(self, embedding, points, keep):
        found = super().decode(embedding, points, keep_all)
        column, row = np.floor(points).astype(int).T
        regions = embedding.regions[row, column]
        scale = embedding.input_size[0] / embedding.original_size[0]
        widths = np.array([np.ptp(np.nonzero(embedding.regions == r)[1]) if r else 0 for r in regions]) * scale
        good = (widths >= GOOD_DIAMETERS[0]) & (widths <= GOOD_DIAMETERS[1])
        iou = torch.where(torch.as_tensor(good)[:, None], torch.tensor(BLOB_IOU), EMPTY_IOU).float()
        keeps = keep(iou)
        chosen = keeps[found.prompt_index, torch.arange(len(found.prompt_index)) % 3]
        prompt, mask = torch.nonzero(keeps, as_tuple=True)
        return type(found)(prompt, iou[prompt, mask], found.low_res_logits[chosen])


def field_of_discs(diameter: int, spacing: int, side: int = 256) -> np.ndarray:
    places = range(spacing // 2, side, spacing)
    image = np.zeros((side, side), np.uint8)
    for y in places:
        for x in places:
            cv2.circle(image, (x, y), diameter // 2, 200, -1)
    return np.repeat(image[..., None], 3, axis=2)
