"""A real network that is small: random weights, which find something everywhere."""

from pathlib import Path

import torch

from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig

TINY = {
    "architecture": "unet", "img_size": 64, "embed_dim": 32, "channels": [8] * 5, "blocks": [0, 1, 1, 1, 1],
    "depth": 2, "num_heads": 4, "mlp_dim": 16, "iou_head_hidden_dim": 16, "num_multimask_outputs": 3,
    "mask_in_chans": 4,
}  # fmt: skip


def write_checkpoint(path: Path) -> Path:
    """Its checkpoint, the same in every process."""
    encoder = {"channels": TINY["channels"], "blocks": TINY["blocks"]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_sam(SamConfig("unet", 64, 8, 32, 2, 4, 16, 16, 4, encoder))
    amg = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    torch.save({"format": "napari-sam-amg/1", "config": TINY, "amg": amg, "model": model.state_dict()}, path)
    return path
