"""Whole models against the reference packages: their files load, and give the same numbers."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import segment_anything
import torch
from torch import Tensor, nn

from napari_sam_amg.models.archive import open_archive
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.state_dict import recognise
from napari_sam_amg.sam.build import build_sam


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in module.state_dict().items()}


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_keys_and_shapes_are_the_references(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        theirs = segment_anything.sam_model_registry[name]()
    path = tmp_path / "misleading_vit_t.pt"
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes(theirs).items()}, path)
    with open_archive(path) as archive:
        config = recognise(archive.content).config
    assert (config.architecture, config.img_size, config.grid_side) == (name, 1024, 64)
    assert shapes(build_sam(config)) == shapes(theirs)


def test_full_size_vit_b_equals_reference(randomize: Any, tmp_path: Path) -> None:
    theirs = randomize(segment_anything.sam_model_registry["vit_b"]())
    path = tmp_path / "sam_vit_h_4b8939.pth"  # a name that lies
    torch.save(theirs.state_dict(), path)
    ours = load_model(path, "cpu")
    assert ours.info.architecture == "vit_b"
    assert ours.info.name == "sam_vit_h_4b8939"
    image = torch.randn(1, 3, 1024, 1024)
    with torch.inference_mode():
        torch.testing.assert_close(ours.image_encoder(image), theirs.image_encoder(image), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)


def test_vit_t_equals_reference(mobile_sam: ModuleType, randomize: Any, image: np.ndarray, tmp_path: Path) -> None:
    theirs = randomize(mobile_sam.sam_model_registry["vit_t"]())
    theirs.train().eval()  # it caches the attention biases here
    torch.save(theirs.state_dict(), tmp_path / "anything.pt")
    ours = load_model(tmp_path / "anything.pt", "cpu")
    points = np.array([[0.0, 0.0], [50.5, 20.0], [99.0, 59.0]])
    embedding = ours.embed(image)
    found = ours.decode(embedding, points, keep=lambda iou: torch.ones_like(iou, dtype=torch.bool))
    wanted_iou, wanted_logits = _predict(mobile_sam, theirs, image, points)
    torch.testing.assert_close(found.predicted_iou, wanted_iou.flatten(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.low_res_logits, wanted_logits.flatten(0, 1), rtol=1e-4, atol=1e-4)
    assert ours.info.architecture == "vit_t"
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def _predict(package: ModuleType, model: nn.Module, image: np.ndarray, points: np.ndarray) -> tuple[Tensor, Tensor]:
    """Predicted IoU (P, 3) and low-resolution logits (P, 3, 256, 256) by the reference's predictor."""
    predictor = package.SamPredictor(model)
    predictor.set_image(image)
    coordinates = torch.as_tensor(predictor.transform.apply_coords(points, image.shape[:2]), dtype=torch.float32)
    _, iou, logits = predictor.predict_torch(coordinates[:, None], torch.ones(len(points), 1), multimask_output=True)
    return iou, logits
