"""What a new user sees in an empty viewer: what to do, and samples that show results after one click."""

from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_sam_amg.errors import explain_in_window
from napari_sam_amg.plugin.choices.rows import wrapped_label

PLUGIN = "napari-sam-amg"
TRY = "nuclei"  # the sample that is segmented at once
#: Keys of napari.yaml's ``sample_data``, and what the buttons say.
SAMPLES = {
    "nuclei": "Cell nuclei",
    "tissue": "Stained tissue",
    "nuclei_stack": "Nuclei in 3D",
    "electron_microscopy": "Brain, EM",
}
WELCOME = (
    "<b>Segment everything in an image.</b><br>Drag an image into the window, or use File &gt; Open. Then press Run: "
    "you get a layer of labels, and a table with a row for each object."
)
NO_IMAGE = "No image yet? Take one of ours:"


class FirstSteps(QWidget):
    """Shown while there is no image."""

    wanted = Signal()  # to run, with the image that has just been opened

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.try_button = QPushButton("Segment a sample image")
        self.samples = {key: QPushButton(words) for key, words in SAMPLES.items()}
        welcome, no_image = wrapped_label(), wrapped_label()
        welcome.setText(WELCOME)
        no_image.setText(NO_IMAGE)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 8)
        grid = QGridLayout()
        for place, button in enumerate(self.samples.values()):
            grid.addWidget(button, place // 2, place % 2)
        layout.addWidget(welcome)
        layout.addWidget(self.try_button)
        layout.addWidget(no_image)
        layout.addLayout(grid)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._connect()

    def _connect(self) -> None:
        self.try_button.setToolTip("Open an image of cell nuclei and segment it, with the model that is built in.")
        self.try_button.clicked.connect(self._try)
        for key, button in self.samples.items():
            button.setToolTip(f"Open the sample: {SAMPLES[key]}. It is on your computer already.")
            button.clicked.connect(lambda *_, key=key: self.open_sample(key))

    def open_sample(self, key: str) -> bool:
        """Returns whether it could be opened."""
        try:
            self._viewer.open_sample(PLUGIN, key)
        except Exception as error:  # napari's, with whatever is wrong
            show_error(explain_in_window(error))
            return False
        return True

    def _try(self) -> None:
        if self.open_sample(TRY):
            self.wanted.emit()
