"""Two processes that share each batch."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from training.batches import make_batch
from training.recipe import Recipe
from training.train import RUNS
from training.workers import RANK, any_process, average_gradients, rank, share

TWO = """
import sys, torch
from torch import nn
from training.workers import any_process, average_gradients, join, rank, share
join(2, sys.argv[1])
layer = nn.Linear(2, 1, bias=False)
layer.weight.grad = torch.tensor([[1.0 + rank(), 10.0]])
average_gradients(layer.parameters())
print(rank(), layer.weight.grad.tolist(), list(range(5))[share()], any_process(rank() == 1), any_process(False))
"""


def test_one_process_is_alone() -> None:
    layer = torch.nn.Linear(2, 1)
    layer.weight.grad = torch.ones(1, 2)
    average_gradients(layer.parameters())
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    assert (rank(), list(range(3))[share()], any_process(False), any_process(True)) == (0, [0, 1, 2], False, True)


def test_two_processes_average_and_agree(tmp_path: Path) -> None:
    """What the command line starts, without the training."""
    root = str(RUNS.parents[1])
    command = [sys.executable, "-c", TWO, str(tmp_path / "meeting")]
    environments = [{**os.environ, "PYTHONPATH": root, RANK: number} for number in "01"]
    processes = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, cwd=root) for env in environments
    ]
    lines = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert lines == ["0 [[1.5, 10.0]] [0, 2, 4] True False", "1 [[1.5, 10.0]] [1, 3] True False"]


def test_parts_of_a_batch_are_those_of_the_whole() -> None:
    recipe = Recipe(batch=4, crop=64, points=4, synthetic=1.0)
    whole, part = make_batch([], recipe, 128, 3), make_batch([], recipe, 128, 3, slice(1, None, 2))
    for one, other in zip(whole[1::2], part, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.points, other.points)
