"""Parts of MobileSAM's encoder whose order and layout are easy to get wrong; parity is in test_reference_models."""

from itertools import product
from typing import Any

import pytest
import torch

from napari_sam_amg.sam.tiny_vit import Attention, ConvNorm


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (3, 1, 4)])
def test_conv_norm_equals_convolution_then_norm(randomize: Any, kernel: int, stride: int, groups: int) -> None:
    layer = randomize(ConvNorm(4, 8, kernel, stride, groups))
    image = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(layer(image), layer.bn(layer.c(image)), rtol=1e-4, atol=1e-6)


def test_bias_depends_on_distance_only(randomize: Any) -> None:
    attention = randomize(Attention(dim=8, num_heads=2, side=3))
    places = list(product(range(3), range(3)))
    for (a, (y, x)), (b, (v, u)) in product(enumerate(places), enumerate(places)):
        expected = attention.attention_biases[:, abs(y - v) * 3 + abs(x - u)]
        assert torch.equal(attention._bias()[0, :, a, b], expected)
