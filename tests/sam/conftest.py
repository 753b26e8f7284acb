"""Weights for the tests: random ones, and hollow ones that take no room on disk."""

import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from napari_sam_amg.sam.checkpoint import build_sam
from napari_sam_amg.sam.config import SamConfig

Module = TypeVar("Module", bound=nn.Module)


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


@pytest.fixture
def randomize() -> Callable[[Module], Module]:
    """Fill every parameter and buffer of a module, always with the same numbers, and set it to eval mode.

    Nothing is left at its initial zero or one (the reference starts relative positions at zero), so
    that parity means something.
    """

    def fill(module: Module) -> Module:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                _fill(name, tensor, generator)
        return module.requires_grad_(False).eval()

    return fill


def hollow(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same keys and shapes with one zero behind each, so that the file of a vit_h has a few kB."""
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in state.items()}


@pytest.fixture(scope="session")
def hollow_vit_t() -> dict[str, Tensor]:
    """The state dict of a MobileSAM, hollow."""
    return hollow(build_sam(SamConfig("vit_t")).state_dict())


@pytest.fixture(scope="session")
def mobile_sam() -> ModuleType:
    """The reference of vit_t; its imports from timm warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mobile_sam
    return mobile_sam
