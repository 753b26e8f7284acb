"""The dock widget: choices on top, Run and Cancel, progress, and what is wrong."""

from dataclasses import replace
from typing import Any
from weakref import ref

from magicgui.widgets import Container
from napari.layers import Image
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QTableView,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.models.defaults import no_decoder_reason
from napari_sam_amg.objects.axes import through_axis
from napari_sam_amg.params import AmgParameters, needs_decoder
from napari_sam_amg.plugin.batch.batch_tab import BatchTab
from napari_sam_amg.plugin.choices.again_box import AgainBox
from napari_sam_amg.plugin.choices.field_scroll import FieldScroll
from napari_sam_amg.plugin.choices.first_steps import FirstSteps
from napari_sam_amg.plugin.choices.form import ParameterForm
from napari_sam_amg.plugin.choices.image_box import ALL_PLANES, ImageBox
from napari_sam_amg.plugin.choices.model_box import ModelBox
from napari_sam_amg.plugin.choices.presets_box import PresetsBox
from napari_sam_amg.plugin.choices.problems import RED, Problem, mark
from napari_sam_amg.plugin.choices.results_box import ResultsBox
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.choices.settings_of_layer import take_settings
from napari_sam_amg.plugin.keys import run_or_cancel
from napari_sam_amg.plugin.preferences import preferences
from napari_sam_amg.plugin.reviewing.features_table import open_table, prepare_tables
from napari_sam_amg.plugin.reviewing.objects_box import ObjectsBox
from napari_sam_amg.plugin.reviewing.results import is_result, newest_result, result_in_focus
from napari_sam_amg.plugin.reviewing.results_tab import ResultsTab
from napari_sam_amg.plugin.reviewing.thresholds_box import ThresholdsBox
from napari_sam_amg.plugin.reviewing.why_box import WhyBox
from napari_sam_amg.plugin.running.earlier import Landing, Settings, has_results, landing_of
from napari_sam_amg.plugin.running.on_disk import ResultFiles, why_not
from napari_sam_amg.plugin.running.own_ids import OwnIds
from napari_sam_amg.plugin.running.run_status import RunStatus
from napari_sam_amg.plugin.running.runner import Runner
from napari_sam_amg.plugin.running.work import Job
from napari_sam_amg.plugin.shortcuts import offer_keys
from napari_sam_amg.plugin.window import is_open, without_proxy

TABLE_HELP = "napari's features table of the results: one row for each mask. A click on a row goes to the object."
SETTINGS_HELP = "Choose the model and the settings that the selected results, or the newest ones, were made with."
NO_TABLE = "There are no results yet."


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


class SegmentPanel(QWidget):
    """Segment everything in an image layer."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.runner: Runner | None = None  # while it runs
        self._viewer = napari_viewer
        preferred = preferences()
        self.first_steps = FirstSteps(napari_viewer)
        self.image_box = ImageBox(napari_viewer)
        self.model_box = ModelBox(preferred)
        self.form = ParameterForm()
        self.presets_box = PresetsBox(self.model_box, self.form)
        self.results_box = ResultsBox(preferred.results_folder, preferred.memory_bytes)
        self.again_box = AgainBox()
        self.run_button = QPushButton("Run")
        self.cancel_button = QPushButton("Cancel")
        self.table_button = QPushButton("Show table of results")
        self.settings_button = QPushButton("Settings of these results")
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
        fields = QWidget()
        column = QVBoxLayout(fields)
        column.setContentsMargins(0, 0, 0, 0)
        results = (self.results_box, self.again_box)
        boxes = (self.first_steps, self.image_box, *results, self.model_box, self.presets_box, self.form)
        for box in boxes:
            column.addWidget(box)
        # fields stay together at the top of a high window
        column.addStretch()
        scroll = FieldScroll()
        scroll.setWidget(fields)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(scroll, stretch=1)
        layout.addWidget(self.message)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.table_button)
        layout.addWidget(self.settings_button)

    def _connect(self) -> None:
        for box in (self.image_box, self.results_box, self.again_box, self.model_box, self.form):
            box.changed.connect(self._check)
        self.model_box.suited.connect(self.form.apply_model)
        self.model_box.suited.connect(self.presets_box.take_suited)  # when the form has them
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

    def problems(self) -> list[Problem]:
        """What keeps Run from working, empty if nothing does."""
        of_model = self.model_box.problems()
        mode = [] if of_model else self.mode_problems()
        of_image = self.image_box.problems() or self.results_box.problems() or self._folder_problems()
        return [*of_image, *of_model, *self.form.problems(), *mode, *self._link_problems()]

    def _folder_problems(self) -> list[Problem]:
        axes = self.image_box.axes
        reason = "" if self.results_box.chosen is None or axes is None else why_not(axes)
        return [Problem(self.results_box.where, reason)] if reason else []

    def _link_problems(self) -> list[Problem]:
        link, box = self.form.fields["link"], self.image_box
        if link.value() == "none" or not box.is_stack:
            return []
        if box.takes_one:
            return [Problem(link.control, f"Objects {link.widget.current_choice} need {ALL_PLANES.lower()}.")]
        try:
            through_axis(replace(AmgParameters(), link=link.value()), box.stack_names)
        except ValueError as error:
            return [Problem(link.control, f"{str(error).replace('link=', 'Objects: ')}. Name the layer's axes.")]
        return []

    def mode_problems(self) -> list[Problem]:
        """Of how objects are found, with this model."""
        mode, model = self.form.fields["mode"], self.model_box.chosen
        reason = no_decoder_reason(model) if mode.value() == "ais" else ""
        return [Problem(mode.control, needs_decoder(model, reason).replace("mode=", "Mode: ", 1))] if reason else []

    def _check(self) -> None:
        """Mark what is bad, say why, and let nothing run until it is good."""
        self.form.show_field("link", self.image_box.is_stack)
        self.results_box.suit(*self.image_box.extent())
        problems = self.problems()
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
        self.run_button.setEnabled(not problems and self.runner is None)
        self.cancel_button.setEnabled(self.runner is not None)
        self._show_landing(bool(problems))

    def _show_landing(self, is_bad: bool) -> None:
        """Where a run would go, if there could be one now."""
        image = self.image_box.layer
        landing = None
        if image is not None and not is_bad and has_results(self._viewer, image):
            landing = self._landing(image, self._settings())
        self.again_box.show_landing(landing)
        goes_on = landing is not None and landing.kind == "continue"
        self.run_button.setText("Continue" if goes_on else "Run")

    def _show_first_steps(self, problems: int) -> None:
        """In an empty viewer; of what is not there nothing is shown, and that there is no image is no mistake."""
        empty = self.image_box.layer is None
        self.first_steps.setVisible(empty)
        for part in (self.image_box, self.bar, self.table_button, self.settings_button):
            part.setVisible(not empty)
        self.message.setVisible(problems > empty)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Those that no field has used."""
        if event is None or not run_or_cancel(event, self.run_button, self.cancel_button):
            super().keyPressEvent(event)

    def run(self) -> None:
        """Segment what is chosen now; changes made while it runs are for the next run."""
        if self.runner is not None:
            return
        try:
            self.runner = Runner(self._viewer, self._job())
        except Exception as error:  # memory for the labels, an image that changed since it was checked, and the like
            show_error(explain_in_window(error))
            return
        self.run_status.begin(self.image_box.layer)
        self.runner.progressed.connect(self._show_progress)
        self.runner.finished.connect(self._show_end)
        self._check()
        self.runner.start()

    def _job(self) -> Job:
        settings, image, folder = self._settings(), self.image_box.layer, self.results_box.chosen
        assert image is not None
        landing, source = self._landing(image, settings), settings.source
        return Job(
            source=source.without(landing.done),
            params=settings.params,
            model=settings.model,
            device=self.model_box.device.currentText(),
            precision=settings.precision,
            use_contrast_limits=settings.use_contrast_limits,
            files=None if folder is None else ResultFiles.of(folder, source.name),
            memory=preferences().candidate_bytes,
            image=ref(image),
            asked=settings,
            landing=landing,
            ids=OwnIds() if landing.kind in ("fill", "continue") else None,
        )

    def _settings(self) -> Settings:
        return Settings(
            source=self.image_box.source(),
            params=self._parameters(),
            model=self.model_box.chosen,
            precision=self.model_box.precision.currentText(),
            use_contrast_limits=self.image_box.chosen_intensities == "contrast limits",
            is_on_disk=self.results_box.chosen is not None,
        )

    def _landing(self, image: Image, settings: Settings) -> Landing:
        return landing_of(self._viewer, image, settings, self.again_box.chosen)

    def _parameters(self) -> AmgParameters:
        """What is chosen, but for what is hidden since there is no stack."""
        params = self.form.parameters()
        return params if self.image_box.is_stack else replace(params, link="none")

    def cancel(self) -> None:
        if self.runner is not None:
            self.runner.cancel()
            self.cancel_button.setEnabled(False)
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
