"""What a GPU computes for all points at once is what the product's decoder computes crop by crop."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.batches import Batch
from training.losses import batch_loss, judge_one_by_one, judge_together
from training.model import EmbeddedSam, build_model
from training.recipe import ModelConfig, Recipe

CONFIG = ModelConfig(
    img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), blocks=(0, 1, 1, 1, 1), mlp_dim=32, iou_head_hidden_dim=16
)


@pytest.fixture
def model() -> EmbeddedSam:
    """Weights large enough that every attention matters."""
    model = build_model(CONFIG, seed=3).eval()
    with torch.no_grad():
        for parameter in model.mask_decoder.parameters():
            parameter.mul_(1.5)
    return model


@pytest.fixture
def batch() -> Batch:
    """Three crops of 64 px at different places of the frame, with 3, 5 and 1 points on instances of 5."""
    random = torch.Generator().manual_seed(0)
    on = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]], dtype=torch.bool)
    return Batch(
        images=torch.randn(3, 3, 64, 64, generator=random),
        dense=torch.rand(3, 4, 32, 32, generator=random),
        origins=torch.tensor([[0, 0], [3, 7], [8, 1]]),
        labelled=torch.tensor([True, False, True]),
        points=torch.rand(3, 5, 2, generator=random) * 64,
        on=on,
        masks=(torch.randint(5, (9, 32, 32), generator=random) / 4).half(),
    )


def gradients(model: EmbeddedSam) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_both_ways_give_the_same_loss_and_gradients(
    model: EmbeddedSam, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(precision="float32")
    loss, figures = batch_loss(model, batch, recipe)
    loss.backward()
    expected = gradients(model)
    model.zero_grad()
    monkeypatch.setattr("training.losses.judge_one_by_one", judge_together)
    same_loss, same_figures = batch_loss(model, batch, recipe)
    same_loss.backward()
    torch.testing.assert_close(same_loss, loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(same_figures, figures, rtol=1e-4, atol=1e-5)
    found = gradients(model)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=2e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
    # a key's bias moves all scores of a row alike, which a softmax does not see: only rounding is left
    assert all(found[name].abs().max() < 1e-5 for name in found.keys() - expected.keys())


def test_every_figure_is_over_the_points_that_it_is_of(model: EmbeddedSam, batch: Batch) -> None:
    embeddings, _ = model.image_encoder.embed_with_maps(batch.images, batch.origins)
    (together,) = judge_together(model, embeddings, batch)
    one_by_one = judge_one_by_one(model, embeddings, batch)
    assert (together.on, together.off) == (9, 6)
    assert [(part.on, part.off) for part in one_by_one] == [(3, 2), (5, 0), (1, 4)]
    for name in ("mask", "iou", "best_iou", "chosen_iou", "off_iou"):
        parts = [getattr(part, name).item() for part in one_by_one]
        assert getattr(together, name).item() == pytest.approx(sum(parts), rel=1e-4)
        assert np.ptp(parts) > 0


def test_half_precision_is_close(model: EmbeddedSam, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, _ = batch_loss(model, batch, Recipe(precision="float32"))
    monkeypatch.setattr("training.losses.judge_one_by_one", judge_together)
    half, _ = batch_loss(model, batch, Recipe(precision="bfloat16"))
    assert half != exact
    torch.testing.assert_close(half, exact, rtol=0.02, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_loss_of_the_cpu(model: EmbeddedSam, batch: Batch) -> None:
    recipe = Recipe(precision="float32")
    loss, _ = batch_loss(model, batch, recipe)
    on_gpu, _ = batch_loss(model.cuda(), batch.to(torch.device("cuda")), recipe)
    torch.testing.assert_close(on_gpu.cpu(), loss, rtol=1e-2, atol=0)  # convolutions may use TF32
