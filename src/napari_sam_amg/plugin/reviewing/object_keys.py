"""Keys and clicks that choose objects of result layers; napari's Preferences list the keys."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from app_model.types import KeyCode, KeyMod
from napari.layers import Labels
from napari.viewer import Viewer

from napari_sam_amg.plugin.reviewing.layer_objects import layer_objects
from napari_sam_amg.plugin.shortcuts import add_shortcut
from napari_sam_amg.plugin.window import without_proxy

if TYPE_CHECKING:
    from napari_sam_amg.plugin.reviewing.object_actions import ObjectActions
    from napari_sam_amg.plugin.reviewing.objects_box import ObjectsBox

PAN_ZOOM = "pan_zoom"
#: Name, what Preferences say, the key that it has by default, and what it presses.
KEYS = (
    ("next_object", "Go to the next object of the results (SAM)", "N", "next_button"),
    ("previous_object", "Go to the previous object of the results (SAM)", "Shift-N", "previous_button"),
    ("delete_objects", "Delete the chosen objects of the results (SAM)", "Delete", "delete_button"),
)
_open: "WeakSet[ObjectsBox]" = WeakSet()


def offer_object_keys(box: "ObjectsBox") -> None:
    """Those of a box that was opened."""
    _open.add(box)
    for name, words, key, button in KEYS:
        add_shortcut(f"napari-sam-amg:{name}", _press(button), words, key)


def _press(button: str) -> Callable[[Viewer], None]:
    def press(viewer: Viewer) -> None:
        plain = without_proxy(viewer)
        for box in [box for box in _open if box.viewer is plain and box.is_active]:
            getattr(box, button).click()

    return press


def bind_undo(layer: Labels, actions: "ObjectActions") -> None:
    """The keys of napari's own undo, for this layer: it takes back strokes alone, and not those between others."""
    layer.bind_key(KeyMod.CtrlCmd | KeyCode.KeyZ, lambda _: actions.undo(), overwrite=True)
    layer.bind_key(KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ, lambda _: actions.redo(), overwrite=True)


def choose_by_click(layer: Labels, event: Any) -> Iterator[None]:
    """A click on an object chooses it, with Shift one more. Dragging moves the image, as ever."""
    if str(layer.mode) != PAN_ZOOM or event.button not in (None, 1):
        return
    yield
    if event.type == "mouse_move":
        return
    found = layer.get_value(
        event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
    )
    label = int((found[1] if isinstance(found, tuple) else found) or 0)
    objects = layer_objects(layer)
    is_there = label in objects.ids()
    if "Shift" not in event.modifiers:
        objects.choose([label] if is_there else [])
    elif is_there:
        objects.toggle(label)
