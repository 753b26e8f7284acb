"""The mean of several checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch

from napari_sam_amg import load_model
from training.average import average, main
from training.export import AMG_DEFAULTS, export_model
from training.model import build_model
from training.recipe import ModelConfig

CONFIG = ModelConfig(img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), mlp_dim=32, iou_head_hidden_dim=16)


def checkpoint(*values: float, side: int = 512) -> dict[str, Any]:
    weights = {"matrix": torch.tensor([values]).half(), "vector": torch.tensor(values), "counter": torch.tensor(7)}
    return {"config": {"img_size": side}, "amg": {"pred_iou_thresh": values[0]}, "model": weights}


def test_weights_are_averaged_and_all_else_is_the_last_ones() -> None:
    found = average([checkpoint(1.0, 4.0), checkpoint(2.0, 8.0), checkpoint(6.0, 0.0)])
    assert found["model"]["matrix"].tolist() == [[3.0, 4.0]]
    assert found["model"]["matrix"].dtype == torch.float16
    assert found["model"]["vector"].tolist() == [3.0, 4.0]
    assert found["model"]["counter"].item() == 7
    assert found["amg"] == {"pred_iou_thresh": 6.0}


def test_different_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"different models.*512.*256"):
        average([checkpoint(1.0), checkpoint(1.0, side=256)])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{seed}.pt" for seed in range(2)]
    for seed, path in enumerate(paths):
        export_model(build_model(CONFIG, seed).eval(), path)
        torch.save(torch.load(path, weights_only=True) | {"amg": {"pred_iou_thresh": 0.1}}, path)  # an earlier choice
    monkeypatch.setattr("sys.argv", ["average", *map(str, paths), "--output", str(tmp_path / "mean.pt")])
    main()
    assert torch.load(tmp_path / "mean.pt", weights_only=True)["amg"] == AMG_DEFAULTS
    first, second, mean = (load_model(str(path), device="cpu").state_dict() for path in (*paths, tmp_path / "mean.pt"))
    for name in mean:
        expected = (first[name].float() + second[name].float()) / 2
        torch.testing.assert_close(mean[name].float(), expected, rtol=2**-8, atol=1e-6)
