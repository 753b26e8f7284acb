"""The tab Segment: choices on top, Run and Cancel, progress, and what is wrong."""

from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtGui import QEnterEvent, QKeyEvent
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.choices.chosen import Chosen
from napari_sam_amg.plugin.choices.field_scroll import FieldScroll
from napari_sam_amg.plugin.choices.first_steps import FirstSteps
from napari_sam_amg.plugin.choices.problems import RED, mark
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.choices.settings_of_layer import take_settings
from napari_sam_amg.plugin.keys import run_or_cancel, turn
from napari_sam_amg.plugin.reviewing.features_table import open_table, prepare_tables
from napari_sam_amg.plugin.reviewing.results import is_result, newest_result, result_in_focus
from napari_sam_amg.plugin.running.earlier import Landing
from napari_sam_amg.plugin.running.run_status import RunStatus
from napari_sam_amg.plugin.running.runner import Runner
from napari_sam_amg.plugin.window import is_open

TABLE_HELP = "napari's features table of the results: one row for each mask. A click on a row goes to the object."
SETTINGS_HELP = "Choose the model and the settings that the selected results, or the newest ones, were made with."
NO_TABLE = "There are no results yet."


class SegmentPanel(QWidget):
    """Segment everything in an image layer."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.runner: Runner | None = None  # while it runs
        self._viewer = napari_viewer
        self.first_steps = FirstSteps(napari_viewer)
        self.chosen = Chosen(napari_viewer)
        self.image_box, self.model_box, self.form = self.chosen.image_box, self.chosen.model_box, self.chosen.form
        self.presets_box, self.results_box = self.chosen.presets_box, self.chosen.results_box
        self.again_box = self.chosen.again_box
        self.run_button = QPushButton("Run")
        self.cancel_button = QPushButton("Cancel")
        self.table_button = QPushButton("Table of results")
        self.settings_button = QPushButton("Settings of results")
        self.run_status = RunStatus()
        self.bar, self.status = self.run_status.bar, self.run_status.label
        self.message = wrapped_label()
        self.message.setStyleSheet(f"color: {RED};")
        self._marked: list[QWidget] = []
        self._arrange()
        self._connect()
        self.model_box.find_defaults()
        self._check()

    def _arrange(self) -> None:
        """Fields scroll where the window is low; the buttons and the progress never do."""
        results = (self.results_box, self.again_box)
        boxes = (self.first_steps, self.image_box, *results, self.model_box, self.presets_box, self.form)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(FieldScroll(*boxes), stretch=1)
        layout.addWidget(self.message)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        of_results = QHBoxLayout()
        of_results.addWidget(self.table_button)
        of_results.addWidget(self.settings_button)
        layout.addLayout(of_results)

    def _connect(self) -> None:
        for box in (self.image_box, self.results_box, self.again_box, self.model_box, self.form):
            box.changed.connect(self._check)
        self.first_steps.wanted.connect(self.run_button.click)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.table_button.clicked.connect(self.show_table)
        self.settings_button.clicked.connect(self.take_settings)
        self.run_button.setToolTip("Segment the image with these settings.")
        self.cancel_button.setToolTip(
            "Stop at once, or as soon as a few points are done. Planes that are finished stay."
        )
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.connect(self._offer_table)
        self._offer_table()
        application = QApplication.instance()
        if isinstance(application, QApplication):  # a table may be opened from napari's menu, too
            application.focusChanged.connect(self._prepare_tables)

    def _check(self) -> None:
        """Mark what is bad, say why, and let nothing run until it is good."""
        self.form.show_field("link", self.image_box.is_stack)
        self.results_box.suit(*self.image_box.extent())
        problems = self.chosen.problems()
        bad = [problem.control for problem in problems]
        # first what was marked, so that what has become good is unmarked
        for control in self._marked:
            mark(control, control in bad)
        for control in bad:
            mark(control, True)
        self._marked = bad
        self.message.setText("\n".join(problem.message for problem in problems))
        self._show_first_steps(len(problems))
        self.run_status.show_image(self.image_box.layer)
        turn(self.run_button, not problems and self.runner is None, self)
        turn(self.cancel_button, self.runner is not None and not self.runner.is_cancelled, self)
        self._show_landing(None if problems else self.chosen.landing())

    def _show_landing(self, landing: Landing | None) -> None:
        """Where a run would go, if there could be one now."""
        self.again_box.show_landing(landing)
        self.run_button.setText("Continue" if landing is not None and landing.goes_on else "Run")

    def _show_first_steps(self, problems: int) -> None:
        """In an empty viewer; of what is not there nothing is shown, and that there is no image is no mistake."""
        empty = self.image_box.layer is None
        self.first_steps.setVisible(empty)
        for part in (self.image_box, self.bar, self.table_button, self.settings_button):
            part.setVisible(not empty)
        self.message.setVisible(problems > empty)

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """Sliders may have been moved since, and results edited or renamed."""
        super().enterEvent(event)
        self._check()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Those that no field has used."""
        if event is None or not run_or_cancel(event, self.run_button, self.cancel_button):
            super().keyPressEvent(event)

    def run(self) -> None:
        """Segment what is chosen now; changes made while it runs are for the next run."""
        self._check()  # files and the camera may have moved since
        if not self.run_button.isEnabled():
            return
        try:
            self.runner = Runner(self._viewer, self.chosen.job())
        except Exception as error:  # memory for the labels, an image that changed since it was checked, and the like
            show_error(explain_in_window(error))
            return
        self.run_status.begin(self.image_box.layer)
        self.runner.progressed.connect(self._show_progress)
        self.runner.finished.connect(self._show_end)
        self._check()
        self.runner.start()

    def cancel(self) -> None:
        if self.runner is not None:
            self.runner.cancel()
            turn(self.cancel_button, False, self)
            self.status.setText("Cancelling...")

    def _show_progress(self, done: int, total: int, words: str) -> None:
        """A slot of a widget, so that nothing comes once its window is gone."""
        self.run_status.show_progress(done, total, words)

    def _show_end(self, words: str) -> None:
        self.runner = None
        self.run_status.end(words)
        self.model_box.update_devices()  # the run has imported torch
        self._check()

    def show_table(self) -> None:
        open_table(self._viewer, newest_result(self._viewer))

    def take_settings(self) -> None:
        """Choose here what the selected results, or the newest ones, were made with."""
        layer = result_in_focus(self._viewer)
        if layer is not None:
            try:
                self.status.setText(take_settings(self, layer))
            except ValueError as error:
                show_error(explain_in_window(error))

    def _offer_table(self, event: object = None) -> None:
        there = any(is_result(layer) for layer in self._viewer.layers)
        self.settings_button.setEnabled(there)
        self.settings_button.setToolTip(SETTINGS_HELP if there else NO_TABLE)
        self.table_button.setEnabled(there)
        self.table_button.setToolTip(TABLE_HELP if there else NO_TABLE)

    def _prepare_tables(self, _: QWidget | None, focused: QWidget | None) -> None:
        if isinstance(focused, QTableView) and is_open(self._viewer):
            prepare_tables(self._viewer)
