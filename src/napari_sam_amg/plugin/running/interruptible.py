"""A model that can be stopped in the middle of an image, since on a CPU a batch of points takes seconds.

It computes what the model computes; all that is added is a look at the reins, before every layer of
the image encoder (a minute for ViT-H) and between the few points that the decoder takes at once.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.sam.looks import watched_by

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam_amg.amg.propose import Model
    from napari_sam_amg.sam.answers import Decoded, ImageEmbedding, Keep, Points


GLANCE = 0.05  # s, between two looks of a worker that is held at whether it is still wanted


class Interrupted(Exception):
    """The run was stopped."""


class Reins:
    """What the main thread and the worker of one run tell each other.

    The main thread asks the worker to stop, or to stand still for a moment. ``hold`` is a question:
    the worker ``stands`` once it has answered, and then computes nothing before ``let_go``. It
    answers at its next look, so the main thread asks again in a later turn of its event loop.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopped = self._held = self._computing = False
        self._is_unwanted: Callable[[], bool] = bool  # False

    def stop_if(self, is_unwanted: Callable[[], bool]) -> None:
        """Stop also when this says so; it is called in the worker, again and again."""
        self._is_unwanted = is_unwanted

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def hold(self) -> None:
        with self._changed:
            # nobody is woken: a worker that waits goes on waiting, and one that computes looks by itself
            self._held = True

    def let_go(self) -> None:
        with self._changed:
            self._held = False
            self._changed.notify_all()

    @property
    def stands(self) -> bool:
        """Whether the worker computes nothing, and will not until it is let go."""
        with self._changed:
            return self._held and not self._computing

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Around all that the worker does. Waits while held; raises ``Interrupted`` after ``stop``."""
        with self._changed:
            self._computing = True
        try:
            self.look()  # as one who computes, so that who asks from here on is answered by the next look
            with watched_by(self.look):
                yield
        finally:
            with self._changed:
                self._computing = False

    def look(self) -> None:
        """In the worker: wait while held. Raises ``Interrupted`` after ``stop``."""
        with self._changed:
            computing, self._computing = self._computing, False
            while self._held and not self._must_stop():
                # with a time, since nobody notifies when napari quits
                self._changed.wait(GLANCE)
            self._computing = computing
            if self._must_stop():
                raise Interrupted

    def _must_stop(self) -> bool:
        self._stopped = self._stopped or self._is_unwanted()
        return self._stopped


class InterruptibleModel:
    """A ``Model`` of ``amg.propose`` that does what ``model`` does, on reins."""

    def __init__(self, model: "Model", reins: Reins) -> None:
        self.mask_threshold, self.info = model.mask_threshold, model.info
        self.sees_objects = getattr(model, "sees_objects", False)
        self._model, self._reins = model, reins
        encoder = getattr(model, "image_encoder", None)  # of a model that is no network there is none
        self._layers = [] if encoder is None else list(encoder.modules())

    @property
    def images_at_once(self) -> int:
        return getattr(self._model, "images_at_once", 1)

    def embed(self, image: NDArray[np.uint8]) -> "ImageEmbedding":
        return self._reined(lambda: [self._model.embed(image)])[0]

    def embed_all(self, images: "Sequence[NDArray[np.uint8]]") -> "list[ImageEmbedding]":
        return self._reined(lambda: self._model.embed_all(images))  # type: ignore[attr-defined]

    def _reined(self, embed: "Callable[[], list[ImageEmbedding]]") -> "list[ImageEmbedding]":
        thread = threading.get_ident()

        def look(*_: Any) -> None:
            """The layers belong to whoever uses the model meanwhile, too: these reins are for this thread alone."""
            if threading.get_ident() == thread:
                self._reins.look()

        self._reins.look()
        hooks = [layer.register_forward_pre_hook(look) for layer in self._layers]
        try:
            return [self._on_reins(embedding) for embedding in embed()]
        finally:
            for hook in hooks:
                hook.remove()

    def _on_reins(self, embedding: "ImageEmbedding") -> "ImageEmbedding":
        """Maps are made when they are read, by a decoder that takes as long as the image encoder."""
        from napari_sam_amg.sam.distance_maps import DistanceMaps  # which imports torch

        maps = getattr(embedding, "maps", None)
        if not isinstance(maps, DistanceMaps):
            return embedding
        return replace(embedding, maps=replace(maps, look=self._reins.look))

    def decode_batches(
        self, embedding: "ImageEmbedding", batches: "Iterable[Points]", keep: "Keep"
    ) -> "Iterator[Decoded]":
        def look_and_keep(predicted_iou: "Tensor", /) -> "Tensor":
            self._reins.look()
            return keep(predicted_iou)

        self._reins.look()
        return self._model.decode_batches(embedding, batches, look_and_keep)
