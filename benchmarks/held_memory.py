"""What live tensors take, followed from one operation to the next: the peak of a GPU's memory, told without one."""

import weakref

from torch import Tensor

ROUNDED_TO = 512  # bytes, by torch's allocator of CUDA


class HeldMemory:
    """Bytes of the storages that were shown to it and still live; ``peak``: the most so far, and ``then`` where."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.then: str | None = None
        self._known: set[int] = set()

    def hold(self, tensor: Tensor, where: str | None) -> None:
        """A storage counts once, however many tensors look at it, until the last one of them is gone."""
        storage = tensor.untyped_storage()
        if not storage.nbytes() or id(storage) in self._known:
            return
        held = -(-storage.nbytes() // ROUNDED_TO) * ROUNDED_TO
        self._known.add(id(storage))
        weakref.finalize(storage, self._let_go, id(storage), held)
        self.now += held
        if self.now > self.peak:
            self.peak, self.then = self.now, where

    def _let_go(self, storage: int, held: int) -> None:
        self._known.discard(storage)
        self.now -= held
