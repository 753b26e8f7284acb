"""Keys and clicks that choose objects of result layers; napari's Preferences list the keys, under "Labels layer"."""

from collections.abc import Callable, Iterator
from typing import Any

from napari.layers import Labels
from napari.utils.action_manager import action_manager

from napari_sam_amg.plugin.layer_objects import layer_objects
from napari_sam_amg.plugin.results import is_result

PAN_ZOOM = "pan_zoom"
#: What a key asks for: its name, what Preferences say, the key.
ACTIONS = (
    ("next_object", "Go to the next object of the results", "N"),
    ("previous_object", "Go to the previous object of the results", "Shift-N"),
    ("delete_objects", "Delete the chosen objects of the results", "Delete"),
)
Commands = dict[str, Callable[[], None]]

_commands: dict[int, Commands] = {}  # of each open window's box, by its id


def register_keys() -> None:
    """Once in a session. Keys that the user has changed in Preferences stay."""
    for name, words, key in ACTIONS:
        full = f"napari-sam-amg:{name}"
        if full in action_manager._actions:
            continue
        action_manager.register_action(full, _command(name), words, Labels, repeatable=name != "delete_objects")
        if full not in action_manager._shortcuts:
            action_manager.bind_shortcut(full, key)


def offer(box: int, commands: Commands) -> None:
    """What the keys do, for results of a window."""
    _commands[box] = commands


def withdraw(box: int) -> None:
    _commands.pop(box, None)


def _command(name: str) -> Callable[[Labels], None]:
    def act(layer: Labels) -> None:
        for commands in list(_commands.values()):
            if is_result(layer):
                commands[name]()

    act.__name__ = name
    return act


def choose_by_click(layer: Labels, event: Any) -> Iterator[None]:
    """A click on an object chooses it, with Shift one more. Dragging moves the image, as ever."""
    if str(layer.mode) != PAN_ZOOM or event.button not in (None, 1):
        return
    yield
    if event.type == "mouse_move":
        return
    label = layer.get_value(
        event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
    )
    label = int((label[1] if isinstance(label, tuple) else label) or 0)
    objects = layer_objects(layer)
    if "Shift" not in event.modifiers:
        objects.choose([label] if label in objects.ids() else [])
    elif label in objects.ids():
        objects.toggle(label)
