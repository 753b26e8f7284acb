"""The vision transformer against ``segment_anything``'s, with the same random weights."""

from functools import partial
from typing import Any

import pytest
import segment_anything.modeling
import torch
from torch import nn

from napari_sam_amg.sam import image_encoder
from napari_sam_amg.sam.image_encoder import ImageEncoderViT

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
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [1, 14**4, 21**3 * 5, 10**9])
def test_piece_size_changes_nothing(randomize: Any, monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    ours, theirs = both(randomize, **SMALL)
    monkeypatch.setattr(image_encoder, "CPU_BIAS_VALUES", values)
    image = torch.randn(1, 3, 336, 336)
    torch.testing.assert_close(ours(image), theirs(image), rtol=1e-4, atol=1e-5)


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
    monkeypatch.setattr(image_encoder, "CPU_BIAS_VALUES", 1)
    attention = image_encoder.Attention(8, 2, 4).eval().requires_grad_(False)
    graph = torch.export.export(attention, (torch.randn(1, 4, 4, 8),), strict=False).graph
    assert len([node for node in graph.nodes if "scaled_dot_product" in node.name]) == 1
