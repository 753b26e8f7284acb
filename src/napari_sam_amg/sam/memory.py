"""What does not fit a GPU's memory at once is computed in parts."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class MemoryWarning(UserWarning):
    """The device's memory is too small for what was begun at once; it goes on with less, and takes longer."""


def in_halves(compute: Callable[[Tensor], Result], rows: Tensor, at_once: int) -> list[Result]:
    """``compute`` of ``at_once`` rows after another, of none once; half as many where the device's memory does not do.

    Raises ``torch.OutOfMemoryError`` if a single row is too much.
    """
    results: list[Result] = []
    start = 0
    while start < len(rows) or not results:
        some = rows[start : start + at_once]
        try:
            results.append(compute(some))
        except torch.OutOfMemoryError:
            if len(some) <= 1:
                raise
            at_once = -(-len(some) // 2)
            torch.cuda.empty_cache()  # what is cached in pieces too small; without a GPU it does nothing
            warnings.warn(
                "the GPU's memory is nearly full: computing in smaller parts, which takes longer",
                MemoryWarning,
                stacklevel=2,
            )
            continue
        start += len(some)
    return results


def concatenated(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """One after another; a single part as it is, since logits are too large to copy for nothing."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
