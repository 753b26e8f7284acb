"""Between a GPU and the host without waiting: what is copied, and work on the next batch meanwhile.

A GPU computes what it is told in order, and whoever asks for a result waits for everything before it. So results
are asked for when the next batch is already told: the GPU is never without work, and the host measures masks
while it computes. Copies go through pinned memory, which the GPU reads and writes by itself.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from napari_sam_amg.sam.gpu_way import stand_in

Item = TypeVar("Item")
Begun = TypeVar("Begun")


class Handover:
    """A tensor on its way to the host. On devices other than CUDA it has arrived at once."""

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if tensor.device.type != "cuda":
            present = stand_in()
            self._host = tensor.cpu() if present is None else present.to_host(tensor)
            return
        self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._host.copy_(tensor, non_blocking=True)
        # on the stream of the copy, which need not be that of the thread which waits
        self._arrived = torch.cuda.Event()
        self._arrived.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        """The tensor on the host; waits for it, and not for what the GPU was told afterwards."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device, without waiting for what the device was told before."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    present = stand_in()
    return tensor.to(device) if present is None else present.to_device(tensor)


def one_ahead(items: Iterable[Item], begin: Callable[[Item], Begun]) -> Iterator[tuple[Item, Begun]]:
    """Each item with what was begun for it, in order, when the next one was begun too."""
    waiting: deque[tuple[Item, Begun]] = deque()
    for item in items:
        waiting.append((item, begin(item)))
        if len(waiting) > 1:  # the device has the next one to do: who waits for this one does not idle it
            yield waiting.popleft()
    yield from waiting
