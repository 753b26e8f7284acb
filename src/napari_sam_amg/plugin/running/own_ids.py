"""Ids of planes that are put into a layer of earlier results: unique in it, and without gaps where that is possible."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import Index

if TYPE_CHECKING:
    from napari_sam_amg.run import PlaneResult, Step


@dataclass(slots=True, eq=False)
class OwnIds:
    """A run counts its labels from 1 on. Each plane gets the ids that it had before, and then the next free ones."""

    before: dict[Index, NDArray[np.int64]] = field(default_factory=dict)  # of planes that are run again, rising
    next: int = 1  # id that nothing has
    _counted: int = 0  # of the run's own, up to the plane before
    _of_plane: int = 0  # of this one

    def stand_beside(self, table: pd.DataFrame, columns: list[str], planes: Iterable[Index], highest: int) -> None:
        """Before the run: ``table`` has the rows of all objects, its ``columns`` the index of their plane; ids up to
        ``highest`` are taken."""
        wanted = set(planes)
        groups: Iterable[tuple[Any, pd.Series]] = table.groupby(columns)["index"] if len(table) else []
        for key, ids in groups:
            if (index := tuple(map(int, key))) in wanted:
                self.before[index] = np.sort(ids.to_numpy(np.int64))
        self.next = max(highest, int(table["index"].max()) if len(table) else 0) + 1

    def renamed(self, result: "PlaneResult") -> "PlaneResult":
        """A plane, or some rows of one, with ids of its own. ``result`` is used up."""
        ids = result.features["index"].to_numpy(np.int64)
        highest = max(int(ids.max()) if len(ids) else 0, int(result.labels.max()))
        self._of_plane = max(self._of_plane, highest - self._counted)
        names = self._names(result.index)
        # the plane's labels alone: those of the planes before are not in it
        lookup = np.concatenate([[0], names]).astype(np.int32)
        labels = lookup[np.where(result.labels > 0, result.labels - self._counted, 0)]
        features = result.features.assign(index=names[ids - self._counted - 1])
        if result.is_last:
            self.next = max(self.next, int(names.max()) + 1 if len(names) else 0)
            self._counted, self._of_plane = self._counted + self._of_plane, 0
        return replace(result, labels=labels, features=features)

    def _names(self, index: Index) -> NDArray[np.int64]:
        """(n,) for the labels of this plane that are known by now."""
        before = self.before.get(index, np.empty(0, np.int64))[: self._of_plane]
        return np.concatenate([before, self.next + np.arange(self._of_plane - len(before))])


def with_own_ids(steps: "Iterable[Step]", ids: OwnIds) -> "Iterator[Step]":
    """The steps of a run, in whose results ids are those of the layer."""
    for step in steps:
        yield step if step.result is None else replace(step, result=ids.renamed(step.result))
