"""Download a model from the widget: the worker, and the row with its button, progress and Cancel."""

from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.models.download import download
from napari_sam_amg.models.registry import KnownModel, size_in_words
from napari_sam_amg.models.transfer import Progress
from napari_sam_amg.plugin.choices.problems import RED
from napari_sam_amg.plugin.choices.rows import wrapped_label

_KB = 1000  # bytes; a progress bar counts up to 2 ** 31, which is less than a large model has

#: Downloads outlive the widget that started them until their worker has stopped.
_running: "set[Download]" = set()


class _Cancelled(Exception):
    """What ends a download that is not wanted any more."""


class Download(QObject):
    """Start it once. Signals and slots are on the main thread."""

    progressed = Signal(object)  # Progress
    finished = Signal(str)  # what went wrong, in words; empty if nothing did, or it was cancelled

    def __init__(self, model: KnownModel) -> None:
        super().__init__()
        self.model = model
        self._failure = ""
        self._worker: Any = create_worker(self._work)
        self._worker.finished.connect(self._end)

    def start(self) -> None:
        _running.add(self)
        self._worker.start()

    @property
    def is_cancelled(self) -> bool:
        return bool(self._worker.abort_requested)

    def cancel(self) -> None:
        """Stop with the next piece that arrives; what has arrived is kept. napari does the same when it is closed."""
        self._worker.quit()

    def _work(self) -> None:
        """In the worker thread. Errors are words, since napari shows a raised one with its traceback."""
        try:
            for file in self.model.files:
                download(file, self._report)
        except _Cancelled:
            pass
        except Exception as error:
            self._failure = explain_in_window(error)

    def _report(self, progress: Progress) -> None:
        if self._worker.abort_requested:
            raise _Cancelled
        self.progressed.emit(progress)

    def _end(self) -> None:
        _running.discard(self)
        self.finished.emit(self._failure)


class DownloadBox(QWidget):
    """A button for the model that is chosen and not there; progress and Cancel while one is downloaded."""

    changed = Signal()  # a download began or ended

    def __init__(self) -> None:
        super().__init__()
        self.download: Download | None = None  # while it runs
        self._offered: KnownModel | None = None
        self.button = QPushButton()
        self.bar = QProgressBar()
        self.cancel_button = QPushButton("Cancel")
        self.message = wrapped_label()
        self.message.setStyleSheet(f"color: {RED};")
        self._arrange()
        self._show()

    def _arrange(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.bar, stretch=1)
        row.addWidget(self.cancel_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addLayout(row)
        column.addWidget(self.message)
        self.button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to see."""
        return self.download is not None or self._offered is not None

    def is_downloading(self, name: str) -> bool:
        return self.download is not None and self.download.model.name == name

    def offer(self, model: KnownModel | None) -> None:
        """Have this model downloaded if the button is pressed; None: nothing is missing."""
        if model != self._offered:
            self.message.clear()
        self._offered = model
        self._show()

    def start(self) -> None:
        """Download what is offered; another model may be chosen meanwhile."""
        assert self._offered is not None
        self.download = Download(self._offered)
        self.download.progressed.connect(self._show_progress)
        self.download.finished.connect(self._end)
        self.message.clear()
        self._show_progress(Progress("Connecting"))
        self.download.start()
        self._show()
        self.changed.emit()

    def cancel(self) -> None:
        if self.download is not None:
            self.download.cancel()
            self._show()

    def _show(self) -> None:
        running = self.download is not None
        size = None if self._offered is None else self._offered.size
        # of micro-sam's models, whose SAM may be there without it
        what = " decoder" if self._offered is not None and self._offered.name.endswith("_decoder") else ""
        self.button.setText(f"Download{what}" + ("" if size is None else f" ({size_in_words(size)})"))
        self.button.setVisible(self._offered is not None and not running)
        self.bar.setVisible(running)
        self.cancel_button.setVisible(running)
        self.cancel_button.setEnabled(self.download is not None and not self.download.is_cancelled)
        self.message.setVisible(bool(self.message.text()))

    def _show_progress(self, progress: Progress) -> None:
        # a report that was on its way when the download ended
        if self.download is None:
            return
        self.bar.setRange(0, (progress.total or 0) // _KB)  # 0 to 0: it moves to and fro
        self.bar.setValue(progress.done // _KB)
        of = "" if progress.total is None else f" of {size_in_words(progress.total)}"
        words = f"{size_in_words(progress.done)}{of}" if progress.stage == "Downloading" else progress.stage
        self.bar.setFormat(words)
        self.bar.setToolTip(f"{self.download.model.name}: {words}")

    def _end(self, failure: str) -> None:
        is_of_chosen = self.download is not None and self.download.model == self._offered
        self.download = None
        self.message.setText(failure if is_of_chosen else "")
        if failure:
            show_error(failure)
        self._show()
        self.changed.emit()
