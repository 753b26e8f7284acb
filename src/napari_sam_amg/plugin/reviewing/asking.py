"""One question to the model beside runs: it waits for its turn as they do, and can be cancelled."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.reviewed import Index
from napari_sam_amg.plugin.reviewing.seen_image import Seen
from napari_sam_amg.plugin.running import work
from napari_sam_amg.plugin.running.collector import collector
from napari_sam_amg.plugin.running.interruptible import Interrupted, InterruptibleModel, Reins
from napari_sam_amg.plugin.running.live import PAINTED
from napari_sam_amg.plugin.running.runner import _running

if TYPE_CHECKING:
    from napari_sam_amg.amg.masks import Masks


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is there, at a pixel of a plane?"""

    seen: Seen
    params: AmgParameters  # of the run, which say in which tile and crop it is asked
    model: tuple[str, str, str]  # name or path, device, precision
    index: Index
    y: int
    x: int


def answer(question: Question, reins: Reins) -> "Masks | str | None":
    """In the worker: one mask at most, in the frame of the plane; what went wrong, in words; None if stopped."""
    try:
        with reins.computing():
            return _answer(question, reins)
    except Interrupted:
        return None
    except Exception as error:
        return explain_in_window(error)


def _answer(question: Question, reins: Reins) -> "Masks":
    images = question.seen.images()  # which loads torch
    from napari_sam_amg.amg.region import whole_plane
    from napari_sam_amg.amg.tiling import tiles
    from napari_sam_amg.review.ask import ask_point, in_image

    params, size = question.params, question.seen.source.stack.plane_size
    model = InterruptibleModel(work.loaded_model(*question.model), reins)
    grid = tiles(question.index, size, params) if params.tile_size else [[whole_plane(question.index, size)]]
    y, x = question.y, question.x
    region = next(tile for row in grid for tile in row if tile.holds(y, x))
    rows, columns = region.window
    image, _ = images.image(question.index, region.window)
    masks = ask_point(image, model, y - rows.start, x - columns.start, params)
    return in_image(masks, (columns.start, rows.start), size)


class Asking(QObject):
    """Ask it once. ``done`` comes once, whatever happens: masks, words, or None if it was cancelled."""

    done = Signal(object)

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._reins, self._begun = Reins(), False
        self._answer: Any = None
        self._worker = create_worker(answer, question, self._reins)
        self._worker.returned.connect(self._take)
        self._worker.finished.connect(self._end)
        self._reins.stop_if(lambda: bool(self._worker.abort_requested))

    def start(self) -> None:
        """After the runs, and questions, that were there before."""
        _running.append(self)
        if _running[0] is self:
            QTimer.singleShot(0, self._begin)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            collector().begin_run(self)
            self._worker.start()

    def cancel(self) -> None:
        self._reins.stop()
        if not self._begun:
            self._begun = True
            QTimer.singleShot(0, self._end)

    def _take(self, answer: Any) -> None:
        self._answer = answer

    def _end(self) -> None:
        collector().end_run(self)
        _running.remove(self)
        if _running:
            QTimer.singleShot(PAINTED, _running[0]._begin)
        self.done.emit(self._answer)
