"""A real network that is small, and two processes that have it."""

import os
from pathlib import Path

import dask
import pytest
import torch

from napari_sam_amg.jobs.dask_engine import local_cluster
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig
from tests.cli.conftest import TINY


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The checkpoint of a network with random weights, which finds something everywhere."""
    path = tmp_path_factory.mktemp("model") / "tiny.pt"
    encoder = {"channels": TINY["channels"], "blocks": TINY["blocks"]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_sam(SamConfig("unet", 64, 8, 32, 2, 4, 16, 16, 4, encoder))
    amg = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    torch.save({"format": "napari-sam-amg/1", "config": TINY, "amg": amg, "model": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def told_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("told")


@pytest.fixture(scope="module")
def client(told_folder):
    """Of two workers, which do as they are told, see ``preloaded``."""
    root = Path(__file__).parents[2]
    paths = [str(root / "src"), str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"NAPARI_SAM_AMG_TESTS_TOLD": str(told_folder), "PYTHONPATH": os.pathsep.join(paths)}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with (
            dask.config.set({"distributed.worker.preload": [str(Path(__file__).with_name("preloaded.py"))]}),
            local_cluster(2) as client,
        ):
            yield client
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def told(told_folder):
    """The folder, empty."""
    for path in told_folder.iterdir():
        path.unlink()
    return told_folder
