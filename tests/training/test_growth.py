"""A smaller model's weights in a larger one."""

from dataclasses import replace

import pytest
import torch

from training.growth import grown
from training.model import EmbeddedSam, build_model
from training.recipe import ModelConfig

SMALL = ModelConfig(
    img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), blocks=(0, 1, 1, 1, 1), center_cells=1, mlp_dim=32,
    iou_head_hidden_dim=16,
)  # fmt: skip
LARGE = replace(SMALL, blocks=(1, 2, 3, 1, 1), center_cells=2)


def embed(model: EmbeddedSam, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval().image_encoder.extract_features(pixels)


@pytest.fixture(scope="module")
def small() -> EmbeddedSam:
    return build_model(SMALL, seed=0)


def test_more_blocks_compute_the_same(small: EmbeddedSam) -> None:
    large = build_model(LARGE, seed=1)
    large.load_state_dict(grown(small.state_dict(), large))
    pixels = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(embed(large, pixels), embed(small, pixels))


def test_more_centres_are_the_mean_where_all_are_equal(small: EmbeddedSam) -> None:
    large = build_model(LARGE, seed=1)
    large.load_state_dict(grown(small.state_dict(), large))
    encoding = torch.randn(1, 4, 4, 32)
    parts = encoding.repeat_interleave(2, 1).repeat_interleave(2, 2)
    with torch.no_grad():
        found = large.image_encoder.center_projection(large.image_encoder._by_cell(parts))
        torch.testing.assert_close(found, small.image_encoder.center_projection(encoding))


def test_the_new_blocks_learn(small: EmbeddedSam) -> None:
    large = build_model(LARGE, seed=1).train()
    large.load_state_dict(grown(small.state_dict(), large))
    large.image_encoder(torch.randn(2, 3, 128, 128)).square().mean().backward()
    assert large.image_encoder.stages[0][2].second[1].weight.grad.abs().max() > 0


def test_half_precision_weights_grow(small: EmbeddedSam) -> None:
    halves = {name: one.half() if one.is_floating_point() else one for name, one in small.state_dict().items()}
    large, rounded = build_model(LARGE, seed=1), build_model(SMALL, seed=1)
    large.load_state_dict(grown(halves, large))
    rounded.load_state_dict(halves)
    pixels = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(embed(large, pixels), embed(rounded, pixels))


@pytest.mark.parametrize(
    ("config", "message"),
    [(replace(SMALL, blocks=(0, 1, 0, 1, 1)), "no place for"), (replace(SMALL, mlp_dim=64), "has shape")],
)
def test_what_does_not_fit_is_named(small: EmbeddedSam, config: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grown(small.state_dict(), build_model(config, seed=0))
