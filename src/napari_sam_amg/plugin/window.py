"""napari's window, which may be gone while a run still has something to show."""

from typing import TypeVar

from napari.viewer import Viewer
from qtpy.compat import isalive

Wrapped = TypeVar("Wrapped")


def without_proxy(given: Wrapped) -> Wrapped:
    """The viewer, or the layer, itself: plugins are given proxies, which nobody else holds, none equal to another."""
    return getattr(given, "__wrapped__", given)


def is_open(viewer: Viewer) -> bool:
    """Whether the viewer still has its window: what touches a layer or a dock of one without may crash in Qt.

    napari has no public question for it. Its ``Window`` drops ``_qt_window`` when it is closed from Python;
    when the user closes it, Qt deletes the object behind it.
    """
    window = getattr(getattr(without_proxy(viewer), "window", None), "_qt_window", None)
    return window is not None and bool(isalive(window))  # type: ignore[no-untyped-call]
