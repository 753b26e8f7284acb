"""The layer norm of the upscaling, which knows that the mean is 0."""

import pytest
import torch
from torch import nn

from napari_sam_amg.sam.layers import LayerNorm2d
from napari_sam_amg.sam.mask_upscaling import divided
from napari_sam_amg.sam.scratch import Scratch


@pytest.mark.parametrize("scratch", [None, Scratch()], ids=["new memory", "scratch"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)], ids=str
)
@torch.inference_mode()
def test_equals_layer_norm(dtype: torch.dtype, tolerance: float, scratch: Scratch | None) -> None:
    """Of numbers up to thousands too, whose squares float16 cannot hold."""
    torch.manual_seed(0)
    norm = LayerNorm2d(8)
    nn.init.uniform_(norm.weight, -2, 2)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 4, 8, 50) * torch.logspace(-1, 3.3, 50)
    x = (x - x.mean(2, keepdim=True)).to(dtype)
    wanted = torch.nn.functional.layer_norm(x.float().transpose(2, 3), (8,), norm.weight, norm.bias, norm.eps)
    found = divided(x.clone(), norm, scratch)
    torch.testing.assert_close(found.float(), wanted.transpose(2, 3), rtol=tolerance, atol=tolerance)
