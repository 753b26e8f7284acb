"""Several processes train one model: each computes the gradients of its share of every batch.

On a CPU that is faster than one process with as many threads: the operations of this model are small, and threads
that wait for each other lose what they win. Processes meet once a step.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

RANK = "NAPARI_SAM_AMG_TRAINING_RANK"
MEETING = "NAPARI_SAM_AMG_TRAINING_MEETING"


def rank() -> int:
    """Of this process: 0 is the one that logs and saves."""
    return int(os.environ.get(RANK, "0"))


def start_workers(count: int, meeting: Path) -> None:
    """In the first process: start the others with its own command line. Then all of them join."""
    if count == 1:
        return
    if rank() == 0:
        meeting.parent.mkdir(parents=True, exist_ok=True)
        meeting.unlink(missing_ok=True)
        for number in range(1, count):
            command = [sys.executable, "-m", "training.train", *sys.argv[1:]]
            subprocess.Popen(command, env={**os.environ, RANK: str(number), MEETING: str(meeting.absolute())})
    join(count, os.environ.get(MEETING, str(meeting.absolute())))


def join(count: int, address: str) -> None:
    """Wait at the file ``address`` until all are there."""
    dist.init_process_group("gloo", init_method=f"file://{address}", rank=rank(), world_size=count)


def share() -> slice:
    """What this process takes of every batch."""
    return slice(rank(), None, dist.get_world_size() if dist.is_initialized() else 1)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Over all processes, in place."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts: tuple[Tensor, ...] = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def any_process(condition: bool) -> bool:
    """Whether it holds in any of the processes, which all have to ask."""
    if not dist.is_initialized():
        return condition
    flag = torch.tensor(float(condition))
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())
