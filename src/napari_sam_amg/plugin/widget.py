"""The dock widget: tabs to segment, to work with results, and for batches."""

from typing import Any

from magicgui.widgets import Container
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QWidget,
)

from napari_sam_amg.plugin.batch.batch_tab import BatchTab
from napari_sam_amg.plugin.panel import SegmentPanel
from napari_sam_amg.plugin.reviewing.objects_box import ObjectsBox
from napari_sam_amg.plugin.reviewing.results_tab import ResultsTab
from napari_sam_amg.plugin.reviewing.thresholds_box import ThresholdsBox
from napari_sam_amg.plugin.reviewing.why_box import WhyBox
from napari_sam_amg.plugin.running.collector import collector
from napari_sam_amg.plugin.shortcuts import offer_keys
from napari_sam_amg.plugin.window import without_proxy


class SegmentWidget(Container[Any]):
    """The dock widget as magicgui has it: a container around its tabs."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
        self.viewer = without_proxy(napari_viewer)
        self.panel = SegmentPanel(napari_viewer)
        self.results_tab = ResultsTab(napari_viewer)
        self.thresholds_box = ThresholdsBox(napari_viewer, self.results_tab)
        self.results_tab.add(self.thresholds_box)
        self.objects_box = ObjectsBox(napari_viewer, self.results_tab)
        self.results_tab.add(self.objects_box)
        self.why_box = WhyBox(napari_viewer, self.results_tab)
        self.results_tab.add(self.why_box)
        self.thresholds_box.taken.connect(self.panel.form.take)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.panel, "Segment")
        self.tabs.addTab(self.results_tab, "Results")
        self.batch_tab = BatchTab(napari_viewer, self.panel)
        self.tabs.addTab(self.batch_tab, "Batch")
        layout = self.native.layout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        # napari puts empty space below a widget that does not ask for the whole height
        self.native.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.native_parent_changed.connect(self._leave)
        offer_keys(self)
        collector().follow(self.viewer)

    @property
    def _runs_batch(self) -> bool:
        return self.tabs.currentWidget() is self.batch_tab

    @property
    def run_button(self) -> QPushButton:
        """That of the tab in sight."""
        return self.batch_tab.run_button if self._runs_batch else self.panel.run_button

    @property
    def reason(self) -> str:
        """Why it is off."""
        return (self.batch_tab if self._runs_batch else self.panel).message.text()

    def cancel(self) -> None:
        """Whatever runs."""
        self.panel.cancel()
        self.batch_tab.cancel()

    def _leave(self, parent: QWidget | None) -> None:
        """A widget whose dock was closed has no Cancel buttons any more: stop the run and the download."""
        if parent is None:
            self.cancel()
            self.panel.model_box.download_box.cancel()
