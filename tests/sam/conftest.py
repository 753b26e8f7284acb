"""Weights for the tests: random ones, and hollow ones that take no room on disk."""

import warnings
from collections.abc import Callable, Mapping
from types import ModuleType

import pytest
import torch
from torch import Tensor

from napari_sam_amg.sam.checkpoint import build_sam
from napari_sam_amg.sam.config import SamConfig
from tests.random_weights import Module, randomized


@pytest.fixture
def randomize() -> Callable[[Module], Module]:
    """Fills a module with random weights, always the same."""
    return randomized


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
