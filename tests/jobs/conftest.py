"""Two processes that have a model."""

import os
from pathlib import Path

import dask
import pytest

from napari_sam_amg.jobs.dask_engine import local_cluster


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
