"""What napari's first labels layer of a process imports and computes, done in the worker thread instead.

Measured on two cores: 0.07 s for a colour map (napari imports scikit-image's colour spaces, which
import SciPy's linear algebra) and 0.07 to 0.1 s for dash patterns of which vispy keeps the results.
The main thread would spend that when the first plane is finished.
"""

import contextlib
import importlib


def warm_up_labels() -> None:
    """An older or a newer napari may need less; nothing depends on it."""
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("skimage.color.colorconv")
        importlib.import_module("vispy.visuals.line.dash_atlas").DashAtlas()
