"""How a run gets on, and how it ended: said of the image that is chosen, and of no other."""

from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image
from qtpy.QtWidgets import QProgressBar

from napari_sam_amg.plugin.choices.rows import wrapped_label


class RunStatus:
    """The progress bar and the sentence below it."""

    def __init__(self) -> None:
        self.bar, self.label = QProgressBar(), wrapped_label()
        self._ended: WeakKeyDictionary[Image, str] = WeakKeyDictionary()  # by image, how its last run ended
        self._chosen: Image | None = None
        self._run_on: Any = None  # the image of the run, while it runs

    def begin(self, image: Image | None) -> None:
        self._run_on = image

    def show_image(self, image: Image | None) -> None:
        """How the last run on an image ended, if it was not the chosen one before."""
        if image is self._chosen:
            return
        self._chosen = image
        if self._run_on is None:
            self.label.setText("" if image is None else self._ended.get(image, ""))
            # Qt repaints the window at once, which is not ready for it while napari adds a layer
            self.bar.setUpdatesEnabled(False)
            self.bar.reset()
            self.bar.setUpdatesEnabled(True)

    def show_progress(self, done: int, total: int, words: str) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.label.setText(self._named(words))

    def end(self, words: str) -> None:
        if self.bar.maximum() == 0:  # a range of 0 to 0 would go on moving
            self.bar.setRange(0, 1)
        self.label.setText(self._named(words))
        if self._run_on is not None:
            self._ended[self._run_on] = words
        self._run_on = None

    def _named(self, words: str) -> str:
        """With the name of the image, if that is not the chosen one."""
        run_on = self._run_on
        return words if run_on is None or run_on is self._chosen else f"{run_on.name}: {words}"
