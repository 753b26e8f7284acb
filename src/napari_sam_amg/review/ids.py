"""Ids that stay: which candidate was shown under which number, so that it comes back under it."""

from collections import Counter
from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import Index

#: What a candidate of a plane is known by: its point and its scores. They travel with it from the model to the table.
_COLUMNS = ["point_x", "point_y", "predicted_iou", "stability_score"]


class IdBook:
    """Every id is given once, whatever is shown and hidden meanwhile."""

    def __init__(self) -> None:
        self._ids: dict[Index, dict[Hashable, int]] = {}
        self._last = 0

    @property
    def last(self) -> int:
        """The highest id that was given, or is taken."""
        return self._last

    def reserve(self, highest: int) -> None:
        """Ids up to this are taken by others."""
        self._last = max(self._last, highest)

    def new(self) -> int:
        self._last += 1
        return self._last

    def note(self, index: Index, table: pd.DataFrame) -> None:
        """The candidates of a table's rows are shown under the ids in its column ``index``. The first one is kept."""
        ids = table["index"].tolist()
        known = self._ids.setdefault(index, {})
        for key, number in zip(_keys(table), ids, strict=True):
            if key is not None:
                known.setdefault(key, int(number))
        self.reserve(max(ids, default=0))

    def known(self, index: Index, table: pd.DataFrame) -> NDArray[np.int64]:
        """(n,) the ids of the rows of a plane's table; 0 for a candidate that was never shown."""
        known = self._ids.get(index, {})
        return np.array([known.get(key, 0) for key in _keys(table)], np.int64)

    def ids(self, index: Index, table: pd.DataFrame) -> NDArray[np.int64]:
        """(n,) the same, but that who is shown for the first time gets the next number."""
        ids = self.known(index, table)
        missing = ids == 0
        ids[missing] = self._last + np.arange(1, 1 + missing.sum())
        self.note(index, table.assign(index=ids))
        return ids


def _keys(table: pd.DataFrame) -> list[Hashable | None]:
    """Of each row, none of them twice; None for what was drawn without a point."""
    values = table[_COLUMNS].to_numpy(np.float64)
    unknown = np.isnan(values[:, 0])
    seen: Counter[tuple[float, ...]] = Counter()
    keys: list[Hashable | None] = []
    for row, skipped in zip(values.tolist(), unknown.tolist(), strict=True):
        key = tuple(row)
        keys.append(None if skipped else (*key, seen[key]))
        seen[key] += 1
    return keys
