"""The button that writes labels in a folder anew, for the thresholds that are shown."""

from collections.abc import Iterator
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.choices.rows import wrapped_label
from napari_sam_amg.plugin.reviewing.layer_files import LayerFiles
from napari_sam_amg.plugin.reviewing.refilter import Refilter
from napari_sam_amg.plugin.reviewing.reviewed import ReviewedLayer
from napari_sam_amg.plugin.running.adding import not_while_adding
from napari_sam_amg.plugin.running.rewritten import rewritten

WRITE, CANCEL = "Write to the folder", "Cancel writing"
HELP = "Labels, tables and record in the folder become those that are shown. Until then they stay as they are."
_DONE = "done"


class _Order:
    """Of one writing, shared by both threads."""

    is_over = False  # nobody waits for it any more


class WriteRow(QWidget):
    """Follows the layer whose thresholds are shown; there is nothing to be seen where labels lie in memory."""

    busy = Signal(bool)
    failed = Signal(str)  # why, in words
    told = Signal(str)  # how it gets on

    def __init__(self) -> None:
        super().__init__()
        self.button, self.note = QPushButton(WRITE), wrapped_label()
        self.button.setToolTip(f"<qt>{HELP}</qt>")
        self.button.clicked.connect(self._click)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.note)
        column.addWidget(self.button)
        self._order: _Order | None = None
        self._review: ReviewedLayer | None = None
        self.setVisible(False)

    @property
    def is_writing(self) -> bool:
        return self._order is not None

    def show_state(self, review: ReviewedLayer | None) -> None:
        """Of this layer, or none. Who is written stays until that is over."""
        if self._order is not None:
            return
        self._review = review
        files, refilter = (None, None) if review is None else (review.files, review.refilter)
        self.setVisible(files is not None and refilter is not None)
        if files is None or refilter is None:
            return
        is_written = refilter.params == files.params
        self.button.setEnabled(not is_written and not refilter.waiting)
        self.note.setText(_note(files, is_written))

    def _click(self) -> None:
        review = self._review
        if self._order is not None:
            self._order.is_over = True
        elif review is not None and review.files is not None and review.refilter is not None:
            self._begin(review, review.files, review.refilter)

    def _begin(self, review: ReviewedLayer, files: LayerFiles, refilter: Refilter) -> None:
        params, self._order = refilter.params, _Order()
        self.button.setText(CANCEL)
        self.busy.emit(True)
        worker: FunctionWorker[Any] = create_worker(_written, files, review.kept, params, self._order)
        worker.yielded.connect(lambda item: self._take(item, review, files, params))
        worker.finished.connect(self._end)
        worker.start()

    def _take(self, item: Any, review: ReviewedLayer, files: LayerFiles, params: AmgParameters) -> None:
        if item == _DONE:
            if not review.is_gone:
                files.take_written(review.layer, params)
        elif isinstance(item, str):
            self.failed.emit(item)
        else:
            self.told.emit(f"Writing: {item[0]} of {item[1]} planes.")

    def _end(self) -> None:
        self._order = None
        self.button.setText(WRITE)
        self.busy.emit(False)


def _written(files: LayerFiles, kept: Any, params: AmgParameters, order: _Order) -> Iterator[Any]:
    """In the worker. Errors are yielded, since napari shows raised ones with their traceback."""
    steps = rewritten(files.files, kept, params, files.layout)
    try:
        while True:
            with not_while_adding():
                step = next(steps, None)
            if step is None:
                yield _DONE
                return
            if order.is_over:
                return
            yield step
    except Exception as error:
        yield f"Nothing was written: {explain_in_window(error)}"
    finally:
        steps.close()


def _note(files: LayerFiles, is_written: bool) -> str:
    """What the folder has, in words."""
    folder = files.files.candidates.name
    if not is_written:
        return f"The files in '{files.files.folder.name}' still have the thresholds of before."
    size = f"{files.size / 1e6:,.1f} MB" if files.size >= 1e6 else f"{files.size / 1e3:.0f} kB"
    return f"Candidates: {size} in '{folder}', which may be deleted when the thresholds shall stay."
