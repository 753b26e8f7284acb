"""Parts of MobileSAM's encoder whose order and layout are easy to get wrong; parity is in test_reference_models."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from napari_sam_amg.sam import tiny_vit, windows
from napari_sam_amg.sam.precision import convert
from napari_sam_amg.sam.tiny_vit import Attention, ConvNorm, MBConv, PatchMerging, TinyViT

#: Windows are padded from 24 to 28 and from 12 to 14, 15 and 14.
SMALL: dict[str, Any] = {
    "img_size": 192, "embed_dims": (8, 16, 16, 32), "num_heads": (1, 2, 2, 4), "window_sizes": (7, 7, 5, 7),
    "depths": (1, 1, 1, 1), "out_chans": 8,
}  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (3, 1, 4)])
def test_conv_norm_equals_convolution_then_norm(randomize: Any, kernel: int, stride: int, groups: int) -> None:
    layer = randomize(ConvNorm(4, 8, kernel, stride, groups))
    image = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(layer(image), layer.bn(layer.c(image)), rtol=1e-4, atol=1e-6)


def test_bias_depends_on_distance_only(randomize: Any) -> None:
    attention = randomize(Attention(dim=8, num_heads=2, side=3))
    places = list(product(range(3), range(3)))
    bias = attention._bias()
    for (y, x), (b, (v, u)) in product(places, enumerate(places)):
        expected = attention.attention_biases[:, abs(y - v) * 3 + abs(x - u)]
        assert torch.equal(bias[:, y, x, b], expected)


@pytest.mark.parametrize("rows", [1, 4, 5, 9, 17, 18, 40])
@pytest.mark.parametrize("height", [17, 18])
@pytest.mark.parametrize(
    "layer", [MBConv(4, 2), PatchMerging(4, 8, 2), PatchMerging(4, 8, 1)], ids=["MBConv", "merge to half", "merge"]
)
def test_strips_change_nothing(
    randomize: Any, monkeypatch: pytest.MonkeyPatch, layer: nn.Module, height: int, rows: int
) -> None:
    layer = randomize(layer)
    image = torch.randn(2, 4, height, 6).contiguous(memory_format=torch.channels_last)
    expected = layer._convolve(image)
    monkeypatch.setattr(tiny_vit, "STRIP_BYTES", rows * 6 * 8 * 4)
    torch.testing.assert_close(layer(image), expected, rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_a_cpu_skips_what_padding_costs_and_changes_nothing(randomize: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows cut off, strips and memory used again, against all windows padded; the reference does the latter."""
    model = randomize(TinyViT(**SMALL))
    image = torch.randn(2, 3, 192, 192)
    monkeypatch.setattr(tiny_vit, "STRIP_BYTES", 1)
    found = model(image)
    model(torch.randn(2, 3, 192, 192))
    monkeypatch.setattr(windows, "calls_are_cheap", lambda _: False)
    monkeypatch.setattr(tiny_vit, "calls_are_cheap", lambda _: False)
    monkeypatch.setattr(tiny_vit, "scratch_for", lambda _: None)
    torch.testing.assert_close(found, model(image), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_nothing_is_remembered_of_other_weights(randomize: Any) -> None:
    model, other, image = randomize(TinyViT(**SMALL)), randomize(TinyViT(**SMALL)), torch.randn(1, 3, 192, 192)
    model(image)
    with torch.no_grad():
        for value in [*other.parameters(), *other.buffers()]:
            value.mul_(2)
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(image), other(image))
    convert(model, torch.bfloat16, keep=(nn.BatchNorm2d,))
    found = model(image.bfloat16()).float()
    assert torch.corrcoef(torch.stack([found.flatten(), other(image).flatten()]))[0, 1] > 0.99
