"""The vision transformer against ``segment_anything``'s, with the same random weights."""

from functools import partial
from typing import Any

import pytest
import segment_anything.modeling
import torch
from torch import nn

from napari_sam_amg.sam import image_encoder, relative_attention
from napari_sam_amg.sam.image_encoder import ImageEncoderViT
from napari_sam_amg.sam.precision import convert

SMALL = {"img_size": 336, "embed_dim": 32, "depth": 3, "num_heads": 2, "out_chans": 8, "global_attn_indexes": (1,)}


def reference(**arguments: Any) -> nn.Module:
    norm = partial(nn.LayerNorm, eps=1e-6)
    defaults = {"window_size": 14, "use_rel_pos": True, "norm_layer": norm}
    return segment_anything.modeling.ImageEncoderViT(**(defaults | arguments))


def both(randomize: Any, **arguments: Any) -> tuple[nn.Module, nn.Module]:
    theirs = randomize(reference(**arguments))
    ours = ImageEncoderViT(**arguments).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="windows padded from 21 to 28"),
        pytest.param({"img_size": 224}, id="grid as large as a window"),
        pytest.param({"img_size": 112}, id="grid smaller than a window"),
        pytest.param({"global_attn_indexes": ()}, id="windows only"),
        pytest.param({"img_size": 240, "embed_dim": 1024, "depth": 2, "num_heads": 16}, id="two blocks of vit_l"),
        pytest.param({"img_size": 240, "embed_dim": 1280, "depth": 2, "num_heads": 16}, id="two blocks of vit_h"),
    ],
)
def test_equals_reference(randomize: Any, changes: dict[str, Any]) -> None:
    arguments = SMALL | changes
    ours, theirs = both(randomize, **arguments)
    image = torch.randn(2, 3, arguments["img_size"], arguments["img_size"])
    expected = theirs(image)
    torch.testing.assert_close(ours(image), expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():  # in memory that is used again
        torch.testing.assert_close(ours(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [1, 10**9])
def test_piece_size_changes_nothing(randomize: Any, monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    ours, theirs = both(randomize, **SMALL)
    monkeypatch.setattr(relative_attention, "CPU_MASK_VALUES", values)
    image = torch.randn(1, 3, 336, 336)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_an_embedding_outlives_the_next_image(randomize: Any) -> None:
    ours, theirs = both(randomize, **SMALL)
    images = torch.randn(2, 1, 3, 336, 336)
    first, second = ours(images[0]), ours(images[1])
    torch.testing.assert_close(first, theirs(images[0]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, theirs(images[1]), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_nothing_is_remembered_of_other_weights(randomize: Any) -> None:
    ours, theirs = both(randomize, **SMALL)
    image = torch.randn(1, 3, 336, 336)
    ours(image)
    with torch.no_grad():
        for value in theirs.parameters():
            value.mul_(1.5)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)
    convert(ours, torch.bfloat16, keep=())
    found = ours(image.bfloat16()).float()
    assert torch.corrcoef(torch.stack([found.flatten(), theirs(image).flatten()]))[0, 1] > 0.99
    convert(ours, torch.float32, keep=())
    assert ours(image).dtype == torch.float32


def test_gradients_are_the_references(randomize: Any) -> None:
    ours, theirs = both(randomize, **SMALL)
    image = torch.randn(1, 3, 336, 336)
    for model in (ours, theirs):
        model.requires_grad_(True)
        model(image).square().mean().backward()
    expected = dict(theirs.named_parameters())
    for name, value in ours.named_parameters():
        torch.testing.assert_close(value.grad, expected[name].grad, rtol=1e-3, atol=1e-5, msg=name)


def test_relative_positions_matter(randomize: Any) -> None:
    """The reference starts them at zero, where parity would prove nothing."""
    ours, _ = both(randomize, **SMALL)
    image = torch.randn(1, 3, 336, 336)
    before = ours(image)
    for name, value in ours.named_parameters():
        if "rel_pos" in name:
            value.zero_()
    assert (ours(image) - before).abs().max() > 0.01


def test_an_exported_graph_has_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relative_attention, "CPU_MASK_VALUES", 1)
    attention = image_encoder.Attention(8, 2, 4).eval().requires_grad_(False)
    graph = torch.export.export(attention, (torch.randn(1, 4, 4, 8),), strict=False).graph
    assert len([node for node in graph.nodes if "scaled_dot_product" in node.name]) == 1
