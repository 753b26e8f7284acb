"""The blob model, which can be made to wait in the middle of a run."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from napari_sam_amg.sam.answers import DecodedMasks
from tests.disc_model import BlobModel

MICRO_BATCH = 4  # points decoded at once, as ``Sam`` does on a CPU


@dataclass
class HeldModel(BlobModel):
    hold_after: int | None = None  # batches; the next one waits for ``release``
    release: threading.Event = field(default_factory=threading.Event)
    batches: int = 0  # begun

    def decode(self, embedding: Any, points: np.ndarray, keep: Any) -> DecodedMasks:
        self.batches += 1
        if self.hold_after is not None and self.batches > self.hold_after:
            assert self.release.wait(timeout=60)
        starts = range(0, len(points), MICRO_BATCH)
        parts = [super(HeldModel, self).decode(embedding, points[i : i + MICRO_BATCH], keep) for i in starts]
        return DecodedMasks(
            torch.cat([part.prompt_index + start for part, start in zip(parts, starts, strict=True)]),
            torch.cat([part.predicted_iou for part in parts]),
            torch.cat([part.low_res_logits for part in parts]),
        )
