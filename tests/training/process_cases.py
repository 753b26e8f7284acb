"""What forks, run by tests in a process of its own, as people run it: a test's process has threads, whose locks a child
would wait for for ever. ``python -m tests.training.process_cases NAME``.
"""

import sys

import numpy as np
import pytest
import torch

from napari_sam_amg.sam.model import Sam
from tests.training.test_batches import make_example
from training.batches import Source, stream_batches, stream_from_processes
from training.processes import through_model
from training.recipe import Recipe


def threads_and_channels(model: Sam, item: int) -> tuple[int, int, int]:
    return item, torch.get_num_threads(), model.config.embed_dim


def fail(model: Sam, item: int) -> None:
    raise ValueError(f"item {item}")


def items_in_order() -> None:
    assert list(through_model(threads_and_channels, range(3), "embedded", 2)) == [(i, 1, 128) for i in range(3)]


def an_error() -> None:
    with pytest.raises(ValueError, match="item 5"):
        list(through_model(fail, [5], "embedded", 2))


def batches() -> None:
    recipe = Recipe(batch=2, crop=64, points=5, steps=5)
    source = Source([make_example()], recipe, 128)
    by_thread, by_processes = stream_batches(source, 2), stream_from_processes(source, 2, 2, pin_memory=False)
    pairs = list(zip(by_thread, by_processes, strict=True))
    assert len(pairs) == 3
    for first, second in pairs:
        for name in ("images", "masks", "points", "dense", "origins", "labelled", "on"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


if __name__ == "__main__":
    {"items_in_order": items_in_order, "an_error": an_error, "batches": batches}[sys.argv[1]]()
