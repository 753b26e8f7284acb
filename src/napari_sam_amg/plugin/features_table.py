"""napari's own features table, where it belongs and as fast as it can be."""

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow, QTableView, QWidget

PLUGIN, WIDGET = "napari", "Features table widget"
HEIGHT = 220  # px


def open_table(viewer: Viewer) -> None:
    """Below the image: it has a dozen columns."""
    dock, _ = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    window = dock.parent()
    if isinstance(window, QMainWindow) and window.dockWidgetArea(dock) != Qt.DockWidgetArea.BottomDockWidgetArea:
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
        window.resizeDocks([dock], [HEIGHT], Qt.Orientation.Vertical)
    dock.show()
    measure_what_is_seen(viewer)


def measure_what_is_seen(viewer: Viewer) -> None:
    """Let an open table fit its columns to the rows in sight.

    By default Qt looks at a thousand rows, each of whose cells napari looks up in Python, whenever
    the features or the selected layer change: 0.3 s for 300 rows, 1 s from 1000 rows on. Measured
    with this setting: 0.01 s.
    """
    for name, widget in viewer.window.dock_widgets.items():
        if name.startswith(WIDGET) and isinstance(widget, QWidget):
            for table in widget.findChildren(QTableView):
                if (header := table.horizontalHeader()) is not None:
                    header.setResizeContentsPrecision(0)
