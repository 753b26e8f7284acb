"""Random weights with which parity means something."""

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def randomized(module: Module) -> Module:
    """Fill every parameter and buffer of a module, always with the same numbers, and set it to eval mode.

    Nothing is left at its initial zero or one (the reference starts relative positions at zero), so
    that parity means something.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            _fill(name, tensor, generator)
    return module.requires_grad_(False).eval()


def _fill(name: str, tensor: torch.Tensor, generator: torch.Generator) -> None:
    noise = torch.randn(tensor.shape, generator=generator)
    if tensor.dtype == torch.int64:
        tensor.fill_(1)
    elif name.endswith("running_var"):
        tensor.copy_(1 + 0.2 * noise.abs())
    elif name.endswith("weight") and tensor.ndim == 1:  # a norm's
        tensor.copy_(1 + 0.1 * noise)
    elif "pos" in name or "embed" in name or "biases" in name or tensor.ndim == 1:
        tensor.copy_(0.2 * noise)
    else:
        tensor.copy_(noise / tensor[0].numel() ** 0.5)
