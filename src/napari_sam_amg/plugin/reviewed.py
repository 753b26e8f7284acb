"""A result layer that is worked with: what is known of its run, and what is shown of it now."""

from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_sam_amg.settings import METADATA_KEY


class ReviewedLayer(QObject):
    """One for each result layer, see :func:`reviewed`. Main thread only."""

    changed = Signal()  # what is shown: labels or table

    def __init__(self, layer: Labels) -> None:
        super().__init__()
        self.layer = layer
        self.kept: Any = None  # the candidates of its run; None where none were kept

    @property
    def is_complete(self) -> bool:
        """Whether its run is over, so that nobody else writes to the layer."""
        return bool(self.layer.metadata.get(METADATA_KEY, {}).get("state") != "running")


_reviewed: "WeakKeyDictionary[Labels, ReviewedLayer]" = WeakKeyDictionary()


def reviewed(layer: Labels) -> ReviewedLayer:
    """That of a layer; made when it is first asked for."""
    if layer not in _reviewed:
        _reviewed[layer] = ReviewedLayer(layer)
    return _reviewed[layer]
