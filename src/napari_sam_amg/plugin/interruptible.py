"""A model that can be stopped in the middle of an image, since on a CPU a batch of points takes seconds.

It computes what the model computes; all that is added is a look at the reins, before every layer of
the image encoder (a minute for ViT-H) and between the few points that the decoder takes at once.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam_amg.amg.propose import Model
    from napari_sam_amg.sam.model import Decoded, ImageEmbedding, Keep, Points


LONGEST_WAIT = 2.0  # s; a main thread that forgets to let go must not stop a run


class Interrupted(Exception):
    """The run was stopped."""


class Reins:
    """What the main thread tells the worker: to stop, or to stand aside for a moment.

    Python runs one thread at a time, so a worker that goes on makes what the main thread does take
    twice as long.
    """

    def __init__(self) -> None:
        self._stopped, self._free = threading.Event(), threading.Event()
        self._free.set()

    def stop(self) -> None:
        self._stopped.set()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    def look(self) -> None:
        """In the worker: wait while held. Raises ``Interrupted`` after ``stop``."""
        self._free.wait(LONGEST_WAIT)
        if self._stopped.is_set():
            raise Interrupted


class InterruptibleModel:
    """A ``Model`` of ``amg.propose`` that does what ``model`` does, on reins."""

    def __init__(self, model: "Model", reins: Reins) -> None:
        self.mask_threshold, self.info = model.mask_threshold, model.info
        self._model, self._reins = model, reins
        encoder = getattr(model, "image_encoder", None)  # of a model that is no network there is none
        self._layers = [] if encoder is None else list(encoder.modules())

    def embed(self, image: NDArray[np.uint8]) -> "ImageEmbedding":
        self._look()
        hooks = [layer.register_forward_pre_hook(self._look) for layer in self._layers]
        try:
            return self._model.embed(image)
        finally:
            for hook in hooks:
                hook.remove()

    def decode_batches(
        self, embedding: "ImageEmbedding", batches: "Iterable[Points]", keep: "Keep"
    ) -> "Iterator[Decoded]":
        def look_and_keep(predicted_iou: "Tensor", /) -> "Tensor":
            self._look()
            return keep(predicted_iou)

        self._look()
        return self._model.decode_batches(embedding, batches, look_and_keep)

    def _look(self, *_: Any) -> None:
        """As a hook it is given the layer and what goes into it."""
        self._reins.look()
