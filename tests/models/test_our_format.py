"""Checkpoints of this project's training: what in them is not allowed, or not known yet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_sam_amg.models.checkpoint import CheckpointError, load_model

CONFIG: dict[str, Any] = {
    "architecture": "unet", "img_size": 64, "embed_dim": 32, "channels": [8] * 5, "blocks": [0, 1, 1, 1, 1],
    "depth": 2, "num_heads": 4, "mlp_dim": 16, "iou_head_hidden_dim": 16, "num_multimask_outputs": 3,
    "mask_in_chans": 4,
}  # fmt: skip
NEWER = "it was made by a newer version of this program, which is needed to read it"
SIZES = ("img_size", "embed_dim", "depth", "num_heads", "mlp_dim", "iou_head_hidden_dim", "mask_in_chans")
NO_SIZES = (0, -1, 10**9, 10**30, 64.0, "64", True, None, [64], float("nan"))
FILES: dict[str, tuple[dict[str, Any], str]] = {
    "newer format": ({"format": "napari-sam-amg/2"}, f"has format 'napari-sam-amg/2', known is .*: {NEWER}"),
    "format without a number": ({"format": "napari-sam-amg/"}, f"has format 'napari-sam-amg/', known is .*: {NEWER}"),
    "newer entry": ({"prompts": {}}, f"has the unknown entry prompts: {NEWER}"),
    "newer size": ({"config": CONFIG | {"registers": 4}}, f"has the unknown entry registers in its config: {NEWER}"),
    "newer encoder": ({"config": CONFIG | {"architecture": "vit_x"}}, "has architecture='vit_x' in its config, known"),
    "no config": ({"config": None}, "has config=None, which must be a mapping"),
    "no weights": ({"model": [1]}, "has model=a list, which must be a mapping"),
    "no thresholds": ({"amg": 3}, "has amg=3, which must be a mapping"),
    "four stages": ({"config": CONFIG | {"channels": [8] * 4}}, "channels=a list in its config: it must be 5 whole"),
    "text for stages": ({"config": CONFIG | {"blocks": "11111"}}, "blocks='11111' in its config: it must be 5 whole"),
    "absurd stage": ({"config": CONFIG | {"channels": [8, 8, 8, 8, 10**9]}}, r"channels\[4\]=1000000000 in its config"),
    "fraction of a block": ({"config": CONFIG | {"blocks": [0, 1, 1, 1, 0.5]}}, r"blocks\[4\]=0.5 in its config"),
    "three centres": ({"config": CONFIG | {"center_cells": 3}}, "config of which no model can be made .center_cells=3"),
    "odd side": ({"config": CONFIG | {"img_size": 65}}, "has img_size=65 in its config: it must be a multiple of 32"),
    "odd width": ({"config": CONFIG | {"embed_dim": 36}}, "has embed_dim=36 in its config: it must be a multiple of 8"),
    "as large as allowed": (
        {"config": CONFIG | {"embed_dim": 4096, "depth": 64, "mlp_dim": 65_536}},
        "looks like unet but lacks",
    ),
} | {
    f"{name}={value!r:.12}": ({"config": CONFIG | {name: value}}, f"has {name}=.* in its config: it must be a whole")
    for name in SIZES
    for value in NO_SIZES
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FILES.values(), ids=FILES)
def test_what_is_not_allowed_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = {"format": "napari-sam-amg/1", "config": CONFIG, "amg": {}, "model": {"w": torch.ones(1)}} | change
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path / "a.pt", "cpu")
    assert len(str(caught.value).splitlines()) == 1


AMG = {
    "newer parameter": ({"smallest_ring": 3}, "smallest_ring=3 is unknown: allowed are points_per_side"),
    "out of range": ({"pred_iou_thresh": 7.0}, "pred_iou_thresh=7.0 is out of range: allowed is 0 to 1"),
    "text": ({"points_per_side": "many"}, "points_per_side='many' is not allowed: it must be a whole number"),
    "none": ({"points_per_side": None}, "points_per_side=NoneType is not allowed: it must be a number or a word"),
    "NaN": ({"box_nms_thresh": float("nan")}, "box_nms_thresh=nan is not allowed"),
    "word": ({"overlap": "big"}, "overlap='big' is not allowed: choose one of score, small, large"),
    "nested": ({"overlap": {"a": 1}}, "overlap=dict is not allowed: it must be a number or a word"),
    "NumPy's": (
        {"pred_iou_thresh": np.float64(0.3)},
        r"pred_iou_thresh is a numpy\..*scalar: save a plain number, float\(...\)",
    ),
    "no name": ({3: 4}, "3=4 is unknown"),
}


@pytest.mark.parametrize(("amg", "message"), AMG.values(), ids=AMG)
def test_parameters_that_are_not_allowed_are_named(
    tiny_file: dict[str, Any], amg: dict[Any, Any], message: str, tmp_path: Path
) -> None:
    torch.save(tiny_file | {"amg": amg}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=f"a.pt: its AMG parameters: {message}"):
        load_model(tmp_path / "a.pt", "cpu")


def test_a_claim_of_size_takes_no_memory(hollow_vit_b: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """A ViT for images of 4096 px would have 2 MB of positions; one for a million px 50 GB, all of one stored zero."""
    key = "image_encoder.pos_embed"
    for side, message in ((62_500, "holds a ViT for images of 1000000 px"), (0, "holds a ViT for images of 0 px")):
        torch.save(hollow_vit_b | {key: torch.zeros(()).expand(1, side, side, 768)}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "a.pt", "cpu")
