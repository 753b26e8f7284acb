"""The window stays alive while a real network computes in the worker thread."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QTimer

from napari_sam_amg.plugin import sample_data
from napari_sam_amg.plugin.widget import SegmentPanel, SegmentWidget
from napari_sam_amg.sam.registry import embedded_path

LONGEST_GAP = 0.100  # s
ATTEMPTS = 4  # other programs on the machine can only lengthen a gap, so the best attempt counts
BUSY = 1.5  # load average per core, above which nothing can be concluded from a long gap


LONGEST_FIRST_GAP = 0.200  # s, of a run that has to import torch first

FIRST_RUN = """
import sys, time
sys.path.insert(0, ".")
import napari
from qtpy.QtWidgets import QApplication
from napari_sam_amg.plugin import sample_data
from napari_sam_amg.plugin.widget import SegmentWidget
from tests.plugin.test_responsive import Gaps

viewer = napari.Viewer(show=True)
for data, options, _ in sample_data.nuclei():
    viewer.add_image(data, **options)
docked = SegmentWidget(viewer)
viewer.window.add_dock_widget(docked)
widget = docked.panel
widget.form.fields["points_per_side"].control.setValue(2)
until = time.monotonic() + 1
while time.monotonic() < until:  # the canvas is drawn: Mesa is loaded
    QApplication.processEvents()
widget.run_button.click()
gaps, after = Gaps(), 0
while after < 100:  # turns of the event loop
    after += widget.runner is None
    QApplication.processEvents()
    time.sleep(0.001)
print(gaps.stop(), widget.status.text())
viewer.close()
"""


class Gaps:
    """The longest time for which the main thread did not run its event loop."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(10)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now

    def stop(self) -> float:
        self._timer.stop()
        return self.longest


@pytest.mark.skipif(not embedded_path().exists(), reason="the embedded weights are not there")
def test_no_gap_over_100_ms_while_a_real_model_runs(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    for data, options, _ in sample_data.nuclei():
        viewer.add_image(data, **options)
    docked = SegmentWidget(viewer)
    viewer.window.add_dock_widget(docked)
    widget = docked.panel
    widget.form.fields["points_per_side"].control.setValue(4)
    widget.form.fields["points_per_batch"].control.setValue(4)
    gaps = [_longest_gap(widget, qtbot)]
    while min(gaps) > LONGEST_GAP and len(gaps) < ATTEMPTS:
        gaps.append(_longest_gap(widget, qtbot))
    print(f"longest gaps of the main thread: {[f'{1000 * gap:.0f} ms' for gap in gaps]}")
    if min(gaps) > LONGEST_GAP and os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
        pytest.skip("other programs use the processor")
    assert min(gaps) <= LONGEST_GAP


def _longest_gap(widget: SegmentPanel, qtbot: Any) -> float:
    """Of a run, its end included, but not of the click, in which napari makes the labels layer."""
    widget.run_button.click()
    gaps = Gaps()
    qtbot.waitUntil(lambda: widget.runner is None, timeout=120_000)
    qtbot.wait(300)
    return gaps.stop()


@pytest.mark.skipif(not embedded_path().exists(), reason="the embedded weights are not there")
def test_the_first_run_imports_torch_without_a_freeze_or_a_crash(qtbot: Any) -> None:
    """In a fresh process, since triton beside Mesa can end it, and torch is imported once only."""
    script = [sys.executable, "-W", "ignore", "-c", FIRST_RUN]
    result = subprocess.run(script, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr
    gap, words = result.stdout.strip().splitlines()[-1].split(" ", 1)
    print(f"longest gap of the main thread during the first run: {1000 * float(gap):.0f} ms; {words}")
    if float(gap) > LONGEST_FIRST_GAP and os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
        pytest.skip("other programs use the processor")
    assert float(gap) <= LONGEST_FIRST_GAP
