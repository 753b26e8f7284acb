"""Make the pictures of the README: ``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/make_screenshot.py``.

Opens a sample image, runs the embedded model through the widget's own controls, opens napari's
features table, and saves the whole window. With ``--sample KEY`` any of the plugin's samples, with
``--all-planes`` every plane of a stack, with ``--output`` another file.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtWidgets import QApplication

PLUGIN = "napari-sam-amg"
WIDGET = "Segment everything"
WINDOW = (1500, 920)  # px
TIMEOUT = 900  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", default="nuclei")
    parser.add_argument("--all-planes", action="store_true")
    parser.add_argument("--points", type=int, default=32, help="points per side")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "screenshot.png")
    arguments = parser.parse_args()
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(*WINDOW)
    viewer.open_sample(PLUGIN, arguments.sample)
    _, docked = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget = docked.panel
    segment(widget, arguments.all_planes, arguments.points)
    show_results(viewer, widget)
    viewer.screenshot(str(arguments.output), canvas_only=False, flash=False)
    print(arguments.output, "-", widget.status.text())
    viewer.close()


def segment(widget: Any, all_planes: bool, points: int) -> None:
    """As a user does it."""
    if all_planes:
        widget.image_box.planes.setCurrentText("All planes")
    widget.form.fields["points_per_side"].control.setValue(points)
    widget.run_button.click()
    wait(lambda: widget.runner is None)


def show_results(viewer: Any, widget: Any) -> None:
    """The table, below; one label chosen in it."""
    widget.table_button.click()
    viewer.layers.selection.active.selected_label = 5
    viewer.reset_view()
    deadline = time.monotonic() + 2
    wait(lambda: time.monotonic() > deadline)


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not until() and time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.005)


if __name__ == "__main__":
    main()
