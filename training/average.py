"""Average checkpoints of the same model that one run led to another: ``python -m training.average A B --output C``.

Runs that start from each other's weights end in the same basin, and the mean of their weights often generalises
better than either (Wortsman et al. 2022, "Model soups", ICML; batch-norm statistics are averaged likewise). One that
is named twice counts twice. The defaults that travel with the mean are those of export.py.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.compact import save_compactly, to_half
from training.export import AMG_DEFAULTS


def mean(values: Sequence[Tensor]) -> Tensor:
    """In float32; whole numbers, which are counters, are those of the last."""
    if not values[-1].is_floating_point():
        return values[-1]
    return torch.stack([value.float() for value in values]).mean(0)


def average(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A checkpoint with the mean of the weights of several; all else is the last one's."""
    last = contents[-1]
    for content in contents:
        if content["config"] != last["config"]:
            raise ValueError(f"the checkpoints are of different models: {content['config']} and {last['config']}")
    weights = {name: to_half(mean([content["model"][name] for content in contents])) for name in last["model"]}
    return {**last, "model": weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    contents = [torch.load(path, weights_only=True) for path in arguments.checkpoints]
    save_compactly({**average(contents), "amg": AMG_DEFAULTS}, arguments.output)


if __name__ == "__main__":
    main()
