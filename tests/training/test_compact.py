"""Checkpoint files that are small, and load as any other."""

from pathlib import Path

import pytest
import torch

from napari_sam_amg import load_model
from training.compact import save_compactly, to_half
from training.export import export_model
from training.model import build_model
from training.recipe import ModelConfig
from training.state import save_atomically

CONFIG = ModelConfig(img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), mlp_dim=32, iou_head_hidden_dim=16)


def test_weights_keep_8_significant_bits() -> None:
    torch.manual_seed(0)
    values = torch.randn(200, 50) * torch.logspace(-4, 2, 200)[:, None]
    half = to_half(values)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), values.bfloat16().float(), rtol=0, atol=3e-8)  # float16 ends at 6e-8
    assert not (half.view(torch.int16)[values.abs() > 1e-3] & 0b111).any()


def test_what_is_rounded_already_stays() -> None:
    half = to_half(torch.randn(40, 40))
    assert torch.equal(to_half(half), half)


def test_vectors_and_whole_numbers_stay() -> None:
    for values in (torch.randn(9), torch.arange(9)[None]):
        assert torch.equal(to_half(values), values)


def test_a_compact_file_is_smaller_and_says_the_same(tmp_path: Path) -> None:
    content = {"model": {"a": to_half(torch.randn(300, 300)), "b": torch.randn(7)}, "step": 3}
    save_atomically(content, tmp_path / "plain.pt")
    save_compactly(content, tmp_path / "compact.pt")
    assert (tmp_path / "compact.pt").stat().st_size < 0.85 * (tmp_path / "plain.pt").stat().st_size
    found = torch.load(tmp_path / "compact.pt", weights_only=True)
    assert found["step"] == 3
    for name, value in content["model"].items():
        assert torch.equal(found["model"][name], value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compact.pt", "plain.pt"]


def test_the_product_loads_it(tmp_path: Path) -> None:
    model = build_model(CONFIG, seed=0).eval()
    export_model(model, tmp_path / "own.pt")
    loaded = load_model(str(tmp_path / "own.pt"), device="cpu")
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, to_half(model.state_dict()[name]).to(value.dtype), rtol=0, atol=0)


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "compact.pt"
    save_compactly({"step": 1}, path)
    monkeypatch.setattr("training.compact.compress", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_compactly({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
