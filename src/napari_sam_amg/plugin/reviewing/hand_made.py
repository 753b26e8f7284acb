"""Where objects lie that hands have made, in labels that came with them: looked for by the worker, plane by plane."""

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import create_worker
from numpy.typing import NDArray

from napari_sam_amg.review.edits import Index
from napari_sam_amg.review.remeasure import Box, boxes_in

if TYPE_CHECKING:
    from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits
    from napari_sam_amg.plugin.reviewing.mended_rows import MendedRows

Places = dict[int, dict[Index, Box]]  # by id
AT_ONCE = 1 << 22  # pixels that are looked through at once, when they are asked for


class HandMade:
    """Belongs to the edits of one layer. Main thread only, but for the work itself."""

    def __init__(self, rows: "MendedRows", edits: "FollowedEdits") -> None:
        self._rows, self._edits = rows, edits
        self.is_unknown = self.is_looking = False

    def look(self, ids: AbstractSet[int]) -> None:
        """Soon these are known; until then strokes wait."""
        self.is_unknown, layer = True, self._edits.review.layer
        if not isinstance(layer.data, np.ndarray) or layer.data.size <= AT_ONCE:
            return
        self.is_looking, data = True, layer.data
        planes = {index: self._edits.review.plane(index) for index in self._edits.planes()}
        worker = create_worker(_places, planes, ids)
        worker.returned.connect(lambda found: self._take(found, data))
        worker.finished.connect(self._end)
        worker.start()

    def _take(self, found: Places, data: NDArray[Any]) -> None:
        layer = self._edits.alive()
        if self.is_unknown and layer is not None and layer.data is data:
            self.is_unknown = False
            self._rows.learn_places(found)

    def _end(self) -> None:
        self.is_looking = False


def note_places(found: Places, index: Index, labels: NDArray[Any], ids: AbstractSet[int]) -> None:
    """Add to ``found`` the boxes of ``ids`` in the labels (H, W) of a plane."""
    if np.isin(labels, list(ids)).any():
        for label, box in boxes_in(labels).items():
            if label in ids:
                found.setdefault(label, {})[index] = box


def _places(planes: dict[Index, NDArray[Any]], ids: AbstractSet[int]) -> Places:
    """In the worker, while others may write to the labels: of a plane a copy is looked at."""
    found: Places = {}
    for index, labels in planes.items():
        note_places(found, index, labels.copy(), ids)
    return found
