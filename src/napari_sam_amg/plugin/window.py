"""napari's window, which may be gone while a run still has something to show."""

from napari.viewer import Viewer
from qtpy.compat import isalive


def own_viewer(viewer: Viewer) -> Viewer:
    """The viewer itself: plugins are given a proxy, whose layers are proxies, too, none of them equal to itself."""
    return getattr(viewer, "__wrapped__", viewer)


def is_open(viewer: Viewer) -> bool:
    """Whether the viewer still has its window: what touches a layer or a dock of one without may crash in Qt.

    napari has no public question for it. Its ``Window`` drops ``_qt_window`` when it is closed from Python;
    when the user closes it, Qt deletes the object behind it.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins are given a proxy
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    return window is not None and bool(isalive(window))  # type: ignore[no-untyped-call]
