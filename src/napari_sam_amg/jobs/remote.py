"""What the process that has a run and those that have the model say to each other. Free of dask."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.jobs.journal import Entry
from napari_sam_amg.sam.answers import Decoded, ImageEmbedding, Keep, Points
from napari_sam_amg.sam.config import ModelInfo


class UnfitWorker(ValueError):
    """A worker cannot do what others can: it sees other files, or has another model. That is no unit's failure."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model by its name or path, and how it computes."""

    name: str
    device: str = "auto"
    precision: str = "exact"
    offline: bool = False  # never download it

    @property
    def plugin(self) -> str:
        """The name under which workers have it."""
        return f"napari-sam-amg {self.name} {self.device} {self.precision}"


@dataclass(slots=True)
class ModelFacts:
    """What is known of a model that others have: a ``Model`` where it is described, and none where it is asked."""

    info: ModelInfo
    precision: str
    device: str
    sees_objects: bool
    mask_threshold: float
    threads: int  # with which a worker computes

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        raise TypeError(f"the model {self.info.name} is in other processes: it cannot be asked here")

    def decode_batches(self, embedding: ImageEmbedding, batches: Iterable[Points], keep: Keep) -> Iterator[Decoded]:
        raise TypeError(f"the model {self.info.name} is in other processes: it cannot be asked here")


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What became of a unit: one of the two."""

    entry: Entry | None = None  # of the journal
    failure: str = ""  # why it has no candidates
