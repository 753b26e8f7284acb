"""All that belongs to a result layer that is worked with."""

from copy import deepcopy
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
from napari_sam_amg.settings import METADATA_KEY


@dataclass(frozen=True, slots=True, eq=False)
class WorkedLayer:
    """What is chosen and looked for, what was edited, what can be done, what is measured."""

    objects: LayerObjects
    edits: FollowedEdits
    actions: ObjectActions
    measuring: Measuring


_worked: "WeakKeyDictionary[Labels, WorkedLayer]" = WeakKeyDictionary()


def worked_layer(viewer: Viewer, layer: Labels) -> WorkedLayer:
    """Of a layer; made when it is first asked for. From then on its edits are followed, in whichever viewer it is."""
    if layer in _worked:
        _worked[layer].edits.follow_to(viewer)
    else:
        review, record = reviewed(layer), layer.metadata.get(METADATA_KEY)
        # napari gives the copy of a layer the record itself, which changes with the thresholds of the first one
        is_copy = any(record is other.metadata.get(METADATA_KEY) for other in _worked) and record is not None
        if record is not None and not review.is_running:
            layer.metadata[METADATA_KEY] = deepcopy(record)
        edits = FollowedEdits(viewer, review)
        objects = layer_objects(layer)
        worked = WorkedLayer(objects, edits, ObjectActions(edits), Measuring(edits))
        for signal in (review.changed, review.ended):
            signal.connect(objects.look_again)
        bind_undo(layer, worked.actions)
        layer.mouse_drag_callbacks.append(choose_by_click)
        if not isinstance(layer.data, np.ndarray):  # what is painted over labels on the disk would be lost
            layer.editable = False
        _worked[layer] = worked
        if is_copy and edits.alive() is not None:
            edits.look_through()  # it may have been made while the first one was edited
    return _worked[layer]
