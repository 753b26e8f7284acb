"""Settings for all tests, weights, random or hollow, and a server for downloads."""

# ruff: noqa: E402
import os

from napari_sam_amg.openmp import bound_spinning

# Before torch is imported: tests run beside other programs, and as several processes, each with a thread of its own.
bound_spinning()
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from napari_sam_amg.models import registry
from napari_sam_amg.models.registry import FOLDER_VARIABLE, OFFLINE_VARIABLE, KnownModel, find_known
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig
from tests.loopback import Loopback
from tests.random_weights import Module, randomized
from tests.tiny_network import write_checkpoint

# The machines that run tests are slow and busy: a deadline would test them, not us.
settings.register_profile("napari-sam-amg", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("napari-sam-amg")


_died: set[str] = set()  # tests whose process did


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport, sched: Any) -> None:
    """A test that draws gets a second process if its first one died, and says so.

    Mesa's software renderer was seen to end one with a segmentation fault now and then, while the worker stood still;
    whether ours crash it is for tests in processes of their own, whose end they check.
    """
    if crashitem.startswith("tests/plugin/") and crashitem not in _died:
        _died.add(crashitem)
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks anything of the internet."""
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Loopback]:
    """The only server that this test can reach; the models folder is ``tmp_path / "models"``."""
    monkeypatch.delenv(OFFLINE_VARIABLE)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in registry._DOWNLOADABLE:
        monkeypatch.setitem(registry._DOWNLOADABLE, name, unreachable(registry._DOWNLOADABLE[name]))
    with Loopback() as server:
        yield server


def unreachable(model: KnownModel) -> KnownModel:
    decoder = None if model.decoder is None else unreachable(model.decoder)
    return dataclasses.replace(model, url="http://127.0.0.1:9/none", decoder=decoder)


@pytest.fixture
def publish(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Callable[..., KnownModel]:
    """Put a file on the server as the checkpoint of a known model: ``publish(name, content, digest=right one)``.

    ``decoder``: the same file as its segmentation decoder, too; else it has none.
    """

    def put(name: str, content: bytes, digest: str | None = None, decoder: bool = False) -> KnownModel:
        known = find_known(name)
        assert known is not None
        server.content = content
        digest = digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
        there = {"url": f"{server.url}/{name}.pt", "digest": digest, "size": len(content)}
        beside = dataclasses.replace(known.decoder, **there) if decoder and known.decoder else None
        model = dataclasses.replace(known, **there, decoder=beside)
        monkeypatch.setitem(registry._DOWNLOADABLE, name, model)
        return model

    return put


@pytest.fixture
def randomize() -> Callable[[Module], Module]:
    """Fills a module with random weights, always the same."""
    return randomized


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a real network with random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny.pt")


def hollow(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same keys and shapes with one zero behind each, so that the file of a vit_h has a few kB."""
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in state.items()}


@pytest.fixture(scope="session")
def hollow_vit_t() -> dict[str, Tensor]:
    """The state dict of a MobileSAM, hollow."""
    return hollow(build_sam(SamConfig("vit_t")).state_dict())


@pytest.fixture(scope="session")
def mobile_sam() -> ModuleType:
    """The reference of vit_t; its imports from timm warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mobile_sam
    return mobile_sam
