"""Real runs in processes of their own, with a real network and real drawing: none may crash or hang.

Asked for by ``NAPARI_SAM_AMG_STRESS=5``, the number of processes; each takes about half a minute. What
they must not do is held in seconds by ``test_runs.py`` and ``test_interruptible.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TIMES = int(os.environ.get("NAPARI_SAM_AMG_STRESS", "0"))
pytestmark = pytest.mark.skipif(not TIMES, reason="NAPARI_SAM_AMG_STRESS is not set")

SCRIPT = """
import sys
import napari
from qtpy.QtCore import QTimer
from napari_sam_amg.plugin import sample_data
from napari_sam_amg.plugin.widget import SegmentWidget

quits = sys.argv[1] == "quit in the middle"
panels = []
for _ in range(2):  # viewers, whose runs are started together
    viewer = napari.Viewer(show=True)
    for data, options, _ in sample_data.electron_microscopy_stack():
        viewer.add_image(data[:6], **options)
    docked = SegmentWidget(viewer)
    viewer.window.add_dock_widget(docked)
    panel = docked.panel
    panel.image_box.planes.setCurrentText("All planes")
    for name, value in {"points_per_side": 3, "pred_iou_thresh": 0, "stability_score_thresh": 0}.items():
        panel.form.fields[name].control.setValue(value)
    panels.append((viewer, panel))

def look():
    begun = len(panels[0][0].layers) > 1
    ended = all(panel.runner is None for _, panel in panels)
    if ended or (quits and begun):
        print("|".join(panel.status.text() for _, panel in panels), flush=True)
        for viewer, _ in panels:
            viewer.close()

clock = QTimer()
clock.timeout.connect(look)
QTimer.singleShot(1000, lambda: ([panel.run() for _, panel in panels], clock.start(20)))
napari.run()
print("out of the event loop", flush=True)
"""


@pytest.mark.parametrize("end", ["to the end", "quit in the middle"])
@pytest.mark.parametrize("time", range(TIMES))
def test_two_viewers(time: int, end: str) -> None:
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", SCRIPT, end]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "out of the event loop"
    if end == "to the end":
        assert all("masks found" in words for words in result.stdout.splitlines()[0].split("|")), result.stdout
