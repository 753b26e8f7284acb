"""Many images to files: the third tab of the dock widget."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import FunctionWorker, create_worker
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtGui import QEnterEvent, QKeyEvent
from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.io.discover import find_inputs
from napari_sam_amg.plugin.batch.batch_choices import BatchChoices
from napari_sam_amg.plugin.batch.batch_run import BatchRun
from napari_sam_amg.plugin.batch.batch_work import FAILED, PARTLY, SKIPPED, BatchJob, Ended, Listed, Progress
from napari_sam_amg.plugin.batch.image_states import ImageStates
from napari_sam_amg.plugin.choices.field_scroll import FieldScroll
from napari_sam_amg.plugin.choices.folders import show_folder
from napari_sam_amg.plugin.choices.problems import RED, Problem, mark
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.keys import run_or_cancel, turn
from napari_sam_amg.plugin.preferences import preferences

if TYPE_CHECKING:
    from napari_sam_amg.plugin.panel import SegmentPanel

LIST_DELAY = 300  # ms after the last key: a folder is not searched at every letter of its name
PARTS = 1000  # steps of the progress bar an image


class BatchTab(QWidget):
    """Segments images with the model and the settings that are chosen under Segment."""

    def __init__(self, viewer: Viewer, panel: "SegmentPanel") -> None:
        super().__init__()
        self._viewer, self._panel = viewer, panel
        self.run_of: BatchRun | None = None  # while it runs
        self._asked = 0  # for how many lists; an answer to an older question is none
        self._looking: FunctionWorker[Any] | None = None
        self.choices = BatchChoices(viewer)
        self.settings = wrapped_label()
        self.images = ImageStates()
        self.run_button, self.cancel_button = QPushButton("Run batch"), QPushButton("Cancel")
        self.folder_button = QPushButton("Open folder of results")
        self.bar = QProgressBar()
        self.status, self.message = wrapped_label(), wrapped_label()
        self.message.setStyleSheet(f"color: {RED};")
        self._marked: list[QWidget] = []
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(LIST_DELAY)
        self._arrange()
        self._connect()
        self.choices.output.setText(preferences().results_folder)
        self._check()

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(FieldScroll(self.settings, self.choices, self.images), stretch=1)
        layout.addWidget(self.message)
        layout.addLayout(buttons)
        for part in (self.bar, self.status, self.folder_button):
            layout.addWidget(part)

    def _connect(self) -> None:
        self.choices.changed.connect(self._check)
        self.choices.changed.connect(self._look_soon)
        self._wait.timeout.connect(self._look)
        for box in (self._panel.model_box, self._panel.form):
            box.changed.connect(self._check)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.folder_button.clicked.connect(self._show_folder)
        self.run_button.setToolTip("Segment all these images, one after another, into files.")
        self.cancel_button.setToolTip("Stop at once. Images that are done stay, and the next batch goes on from there.")

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """Images that were missing may be there by now."""
        super().enterEvent(event)
        if self.run_of is None and self.choices.lacks_images:
            self.choices.say_no_images("")
            self._wait.start()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is None or not run_or_cancel(event, self.run_button, self.cancel_button):
            super().keyPressEvent(event)

    def problems(self) -> list[Problem]:
        """What keeps the batch from running; what is wrong under Segment is said there, too."""
        return [*self.choices.problems(), *self._panel.chosen.settings_problems()]

    def _check(self) -> None:
        problems = self.problems()
        wrong = [problem for problem in problems if not problem.is_open]
        bad = [problem.control for problem in wrong if self.isAncestorOf(problem.control)]
        for control in {*self._marked, *bad}:
            mark(control, control in bad)
        self._marked = bad
        self.message.setText("\n".join(problem.message for problem in problems))
        self.message.setStyleSheet(f"color: {RED};" if wrong else "")
        self.message.setVisible(bool(problems))
        turn(self.run_button, not problems and self.run_of is None, self)
        turn(self.cancel_button, self.run_of is not None and not self.run_of.is_cancelled, self)
        self.folder_button.setEnabled(self.choices.folder is not None and self.choices.folder.is_dir())
        self.settings.setText(f"With the model and settings under Segment: {self._panel.model_box.words}.")

    def _look_soon(self) -> None:
        """What is looked for now is not what is chosen any more."""
        self._asked += 1
        self._wait.start()

    def _look(self) -> None:
        """List the images that there are, found in the background: folders may be large and far away."""
        if self.run_of is not None:
            return
        self._asked += 1
        if self.choices.of_layers:
            self._show_names([layer.name for layer in reversed(self.choices.image_layers)])
            return
        paths, output = self.choices.chosen_paths, self.choices.folder
        if not paths or output is None or self.choices.problems():
            self._show_names([])
            return
        self._looking = create_worker(_found, self._asked, paths, output, self.choices.recursive.isChecked())
        self._looking.returned.connect(self._take_found)
        self._looking.start()

    def _take_found(self, found: tuple[int, list[str], str]) -> None:
        asked, names, reason = found
        if asked == self._asked:
            self._show_names(names)
            self.choices.say_no_images(reason)
            self._check()

    def _show_names(self, names: Sequence[str]) -> None:
        """Of other images than those of the last batch nothing is known."""
        if names != self.images.names:
            self.images.show_names(names)
            self.bar.reset()
            self.status.clear()

    def job(self) -> BatchJob:
        panel, choices = self._panel, self.choices
        assert choices.folder is not None
        return BatchJob(
            output=choices.folder,
            params=panel.form.parameters(),
            model=panel.model_box.chosen,
            device=panel.model_box.device.currentText(),
            precision=panel.model_box.precision.currentText(),
            options=choices.options(),
            paths=() if choices.of_layers else choices.chosen_paths,
            recursive=choices.recursive.isChecked(),
            layers=tuple(choices.layers()) if choices.of_layers else (),
            use_contrast_limits=panel.image_box.chosen_intensities == "contrast limits",
            merge_tables=choices.tables.isChecked(),
        )

    def run(self) -> None:
        if self.run_of is not None or self.problems():
            return
        try:
            self.run_of = BatchRun(self._viewer, self.job())
        except Exception as error:
            show_error(explain_in_window(error))
            return
        self.run_of.told.connect(self._take)
        self.run_of.finished.connect(self._show_end)
        self._asked += 1
        self.bar.setRange(0, 0)
        self.status.setText("Waiting for another run..." if self.run_of.start() else "Starting...")
        self._check()

    def cancel(self) -> None:
        if self.run_of is not None:
            self.run_of.cancel()
            turn(self.cancel_button, False, self)
            self.status.setText("Cancelling...")

    def _take(self, item: Any) -> None:
        handle: dict[type, Callable[[Any], None]] = {
            Listed: self._take_list,
            Progress: self._take_progress,
            Ended: self._take_end,
        }
        handle[type(item)](item)

    def _take_list(self, item: Listed) -> None:
        if self.run_of is not None:
            self.run_of.names = item.names
        self.images.show_names(item.names)
        self.bar.setRange(0, PARTS * len(item.names))
        self.bar.setValue(0)

    def _take_progress(self, item: Progress) -> None:
        share = item.done / item.total if item.total else 0.0
        self.bar.setValue(int(PARTS * (item.place + share)))
        self.images.show_share(item.place, share if item.total else None)
        if self.run_of is not None and self.cancel_button.isEnabled():
            self.status.setText(f"Image {item.place + 1} of {len(self.run_of.names)}: {self.run_of.names[item.place]}")

    def _take_end(self, item: Ended) -> None:
        self.bar.setValue(PARTS * (item.place + 1))
        prefix = {SKIPPED: item.state, PARTLY: "in part: "}.get(item.state, "")
        self.images.say(item.place, f"{prefix}{item.words}", is_bad=item.state == FAILED)

    def _show_end(self, words: str) -> None:
        self.run_of = None
        self._panel.model_box.update_devices()  # the batch has imported torch
        if self.bar.maximum() == 0:  # a range of 0 to 0 would go on moving
            self.bar.setRange(0, 1)
        self.images.end()
        self.status.setText(words)
        self._check()

    def _show_folder(self) -> None:
        if self.choices.folder is not None:
            show_folder(self.choices.folder, "the results are")


def _found(asked: int, paths: Sequence[Path], output: Path, recursive: bool) -> tuple[int, list[str], str]:
    """In a worker: the names of the images, and why there are none; what else is wrong the run will say."""
    try:
        files, bad = find_inputs(paths, output, recursive)
    except (OSError, ValueError):
        return asked, [], ""
    names = [file.path.name for file in files]
    return asked, names, "" if names or not bad else f"{bad[0].path}: {bad[0].reason.partition(':')[0]}."
