"""All that belongs to a result layer that is worked with."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from napari.viewer import Viewer

from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits
from napari_sam_amg.plugin.reviewing.layer_objects import LayerObjects, layer_objects
from napari_sam_amg.plugin.reviewing.measuring import Measuring
from napari_sam_amg.plugin.reviewing.object_actions import ObjectActions
from napari_sam_amg.plugin.reviewing.object_keys import bind_undo, choose_by_click
from napari_sam_amg.plugin.reviewing.reviewed import reviewed


@dataclass(frozen=True, slots=True, eq=False)
class WorkedLayer:
    """What is chosen and looked for, what was edited, what can be done, what is measured."""

    objects: LayerObjects
    edits: FollowedEdits
    actions: ObjectActions
    measuring: Measuring


_worked: "WeakKeyDictionary[Labels, WorkedLayer]" = WeakKeyDictionary()


def worked_layer(viewer: Viewer, layer: Labels) -> WorkedLayer:
    """Of a layer; made when it is first asked for. From then on its edits are followed."""
    if layer not in _worked:
        edits = FollowedEdits(viewer, reviewed(layer))
        worked = WorkedLayer(layer_objects(layer), edits, ObjectActions(edits), Measuring(viewer, edits))
        bind_undo(layer, worked.actions)
        layer.mouse_drag_callbacks.append(choose_by_click)
        if not isinstance(layer.data, np.ndarray):  # what is painted over labels on the disk would be lost
            layer.editable = False
        _worked[layer] = worked
    return _worked[layer]
