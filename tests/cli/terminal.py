"""The command in a folder of its own, with what it prints and writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam_amg.cli.main import main
from napari_sam_amg.sam.config import ModelInfo
from tests.disc_model import BlobModel, blobs

STACK = np.stack([blobs(), np.zeros((96, 128), np.uint8), blobs(discs=((40, 40, 10), (100, 70, 15)))])
DEFAULTS = {"points_per_side": 16, "pred_iou_thresh": 0.9, "stability_score_thresh": 0.5}
INFO = ModelInfo("blobs", "none", "blobs.pt", "0" * 64, DEFAULTS)


class Terminal:
    """A folder to work in, and the command with its output captured."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capture = folder, capture
        self.out = folder / "out"
        self.loaded: list[Any] = []  # what was asked of load_model
        self.model = BlobModel(info=INFO)

    def segment(self, *arguments: object) -> int:
        return main(["segment", *map(str, arguments), "--output", str(self.out)])

    def lines(self) -> tuple[list[str], list[str]]:
        """What was printed since the last call, to stdout and stderr."""
        captured = self.capture.readouterr()
        return captured.out.splitlines(), captured.err.splitlines()

    def written(self) -> list[str]:
        return sorted(path.name for path in self.out.iterdir()) if self.out.exists() else []

    def png(self, name: str = "a.png", image: Any = None) -> Path:
        Image.fromarray(blobs() if image is None else image).save(self.folder / name)
        return self.folder / name

    def stack(self, name: str = "s.tif", **options: Any) -> Path:
        tifffile.imwrite(self.folder / name, STACK, photometric="minisblack", **options)
        return self.folder / name
