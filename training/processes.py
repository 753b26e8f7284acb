"""One item after another through a model, in several processes with a thread each: images are many, and small."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

import cv2
import torch

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.model import Sam

Item = TypeVar("Item")
Result = TypeVar("Result")

# a forked process has its parent's images at once; others are sent them, one process after another
START = "fork" if sys.platform == "linux" else "spawn"

_kept: dict[str, Any] = {}  # in a process of its own: the model, and what is done with it


def _begin(checkpoint: str, task: Callable[[Sam, Any], Any]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _kept.update(model=load_model(checkpoint, device="cpu"), task=task)


def _call(item: Any) -> Any:
    return _kept["task"](_kept["model"], item)


def through_model(
    task: Callable[[Sam, Item], Result], items: Iterable[Item], checkpoint: str, processes: int
) -> Iterator[Result]:
    """``task(model, item)`` of every item, in order. Processes get the pickled task once."""
    if processes == 1:
        model = load_model(checkpoint, device="cpu")
        yield from (task(model, item) for item in items)
        return
    with ProcessPoolExecutor(processes, get_context(START), _begin, (checkpoint, task)) as pool:
        futures = [pool.submit(_call, item) for item in items]
        yield from (future.result() for future in futures)
