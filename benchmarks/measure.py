"""One measurement in a process of its own: ``python -m benchmarks.measure`` with a request on standard input.

The request is JSON with "case", "engine", "threads" and "masks" (a file for the records); the
answer, a line of JSON on standard output, is the measurement.
"""

import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import machine
from benchmarks.cases import Case
from benchmarks.engines import Loaded, load


class EncoderClock:
    """Adds up the time that a module runs."""

    def __init__(self, module: nn.Module) -> None:
        self.seconds = 0.0
        module.register_forward_pre_hook(self._start)
        module.register_forward_hook(self._stop)

    def _start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._started


class PromptCount:
    """Counts the prompts whose predicted IoU was computed, and those with a mask above the threshold."""

    def __init__(self, iou_head: nn.Module, threshold: float) -> None:
        self.prompts = self.survivors = 0
        self.threshold = threshold
        iou_head.register_forward_hook(self._count)

    def _count(self, _module: nn.Module, _inputs: Any, predicted_iou: Tensor) -> None:
        multimask = predicted_iou[:, 1:]  # mask 0 is not used
        self.prompts += len(multimask)
        self.survivors += int((multimask > self.threshold).any(1).sum())


def run(loaded: Loaded) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Time the job and watch it: the figures, and the masks it found."""
    clock = EncoderClock(loaded.encoder) if loaded.encoder is not None else None
    count = PromptCount(loaded.iou_head, loaded.pred_iou_thresh) if loaded.iou_head is not None else None
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))  # starts the threads
    load_before = machine.load_average()
    machine.reset_peak_memory()
    memory = machine.peak_memory()
    before = machine.CpuTime.now()
    started = time.perf_counter()
    records = loaded.job()
    seconds = time.perf_counter() - started
    others = before.others_since()
    figures = {
        "seconds": seconds,
        "encoder_seconds": clock.seconds if clock is not None else 0.0,
        "peak_bytes": machine.peak_memory() - memory,
        "masks": len(records),
        "prompts": count.prompts if count is not None else 0,
        "survivors": count.survivors if count is not None else 0,
        "load": [load_before, machine.load_average()],
        "others": others,
    }
    return figures, records


def main() -> None:
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    case = Case(**{**request["case"], "engines": tuple(request["case"]["engines"])})
    figures, records = run(load(case, request["engine"]))
    with gzip.open(Path(request["masks"]), "wt") as file:
        json.dump(records, file)
    print(json.dumps({**figures, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
