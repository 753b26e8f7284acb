"""A terminal with a model that finds blobs, and a checkpoint of a real network."""

from pathlib import Path

import pytest
import torch

from napari_sam_amg.models import checkpoint
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig
from tests.cli.terminal import Terminal
from tests.disc_model import BlobModel

TINY = {
    "architecture": "unet", "img_size": 64, "embed_dim": 32, "channels": [8] * 5, "blocks": [0, 1, 1, 1, 1],
    "depth": 2, "num_heads": 4, "mlp_dim": 16, "iou_head_hidden_dim": 16, "num_multimask_outputs": 3,
    "mask_in_chans": 4,
}  # fmt: skip


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """With a model that finds blobs in the place of every other."""
    terminal = Terminal(tmp_path, capsys)

    def load(
        name_or_path: object = "embedded", device: str = "auto", *, precision: str = "exact", **_downloading: bool
    ) -> BlobModel:
        terminal.loaded.append(name_or_path)
        terminal.model.precision = precision
        return terminal.model

    monkeypatch.setattr(checkpoint, "load_model", load)
    return terminal


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network with random weights."""
    path = tmp_path_factory.mktemp("model") / "tiny.pt"
    encoder = {"channels": TINY["channels"], "blocks": TINY["blocks"]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_sam(SamConfig("unet", 64, 8, 32, 2, 4, 16, 16, 4, encoder))
    amg = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    torch.save({"format": "napari-sam-amg/1", "config": TINY, "amg": amg, "model": model.state_dict()}, path)
    return path
