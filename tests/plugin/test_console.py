"""The package in napari's console, after the canvas was drawn: without triton_guard a segmentation fault."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

DRAW_THEN_LOAD = """
import time
import napari, numpy as np
from qtpy.QtWidgets import QApplication

viewer = napari.Viewer(show=True)
viewer.add_image(np.zeros((64, 64)), contrast_limits=(0, 1))
until = time.monotonic() + 1
while time.monotonic() < until:
    QApplication.processEvents()
viewer.screenshot(canvas_only=True, flash=False)  # drawn for certain
from napari_sam_amg import load_model
print(load_model(device="cpu").info.name)
viewer.close()
"""


def test_a_model_is_loaded_from_the_console() -> None:
    script = [sys.executable, "-W", "ignore", "-c", DRAW_THEN_LOAD]
    result = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip().splitlines()[-1] == "embedded"
