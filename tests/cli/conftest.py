"""A terminal with a model that finds blobs."""

from pathlib import Path

import pytest

from napari_sam_amg.models import checkpoint
from tests.cli.terminal import Terminal
from tests.disc_model import BlobModel


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
