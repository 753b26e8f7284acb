"""Run and cancel from anywhere in napari: by keys that its Preferences list, and from its command palette."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.notifications import show_info
from napari.viewer import Viewer

from napari_sam_amg.plugin.window import without_proxy

if TYPE_CHECKING:
    from napari_sam_amg.plugin.widget import SegmentWidget

RUN, CANCEL = "napari-sam-amg:run", "napari-sam-amg:cancel"
_open: "WeakSet[SegmentWidget]" = WeakSet()
NOT_OPEN = "Open the widget first: Layers > Segment > Segment everything."


def add_shortcut(name: str, act: Callable[[Viewer], None], description: str, key: str) -> None:
    """List an action in napari's Preferences > Shortcuts, under "Viewer key bindings".

    ``name``: "napari-sam-amg:something". ``key``: by default, as napari writes it, "Control-Shift-R"; another one that
    the user has chosen in the Preferences stays.
    """
    if name not in get_settings().shortcuts.shortcuts:
        action_manager.bind_shortcut(name, key)
    action_manager.register_action(name, act, description, ViewerModel)


def offer_keys(widget: "SegmentWidget") -> None:
    """Those of a dock widget that was opened."""
    _open.add(widget)
    add_shortcut(RUN, run, "Segment everything in the chosen image (SAM)", "Control-Shift-R")
    add_shortcut(CANCEL, cancel, "Cancel the segmentation (SAM)", "Control-Shift-X")


def run(viewer: Viewer) -> None:
    """As the button Run of the tab in sight does, if it is on."""
    widget = _widget_of(viewer)
    if widget is None:
        show_info(NOT_OPEN)
        return
    button = widget.run_button
    if button.isEnabled():
        button.click()
    elif reason := widget.reason:
        show_info(reason)


def cancel(viewer: Viewer) -> None:
    """Whatever this viewer's widget has started."""
    widget = _widget_of(viewer)
    if widget is not None:
        widget.cancel()


def _widget_of(viewer: Viewer) -> "SegmentWidget | None":
    plain = without_proxy(viewer)
    return next((widget for widget in _open if widget.viewer is plain and widget.native.isVisible()), None)
