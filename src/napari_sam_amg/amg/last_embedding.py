"""A model that need not embed twice what it has just embedded."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.propose import Model
from napari_sam_amg.sam.answers import Decoded, ImageEmbedding, Keep, Points


class LastEmbedding:
    """A ``Model`` that does what ``model`` does, and keeps its last embedding.

    The look at a whole image that tells the crop layer is the run's own look at it if that layer is the first. An image
    is known by where its pixels lie; nobody else can lie there while it is kept.
    """

    def __init__(self, model: Model) -> None:
        self.mask_threshold, self.info = model.mask_threshold, model.info
        self.sees_objects = getattr(model, "sees_objects", False)
        self._model = model
        self._last: tuple[NDArray[np.uint8], ImageEmbedding] | None = None

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        if self._last is None or not _is_same(image, self._last[0]):
            self._last = None  # two embeddings need not be kept at once
            self._last = image, self._model.embed(image)
        return self._last[1]

    @property
    def images_at_once(self) -> int:
        return getattr(self._model, "images_at_once", 1)

    def embed_all(self, images: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """None of them is kept: of crops that are embedded together none is the whole image."""
        return self._model.embed_all(images)  # type: ignore[attr-defined]

    def decode_batches(self, embedding: ImageEmbedding, batches: Iterable[Points], keep: Keep) -> Iterator[Decoded]:
        return self._model.decode_batches(embedding, batches, keep)


def _is_same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    places = [(image.__array_interface__["data"], image.shape, image.strides) for image in (one, other)]
    return places[0] == places[1]
