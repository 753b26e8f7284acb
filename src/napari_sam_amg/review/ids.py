"""Ids that stay: which candidate was shown under which number, so that it comes back under it."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import Index

#: What a candidate of a plane is known by: its point and its scores. They travel with it from the model to the table.
KNOWN_BY = ["point_x", "point_y", "predicted_iou", "stability_score"]


class Numbers:
    """Each is given once."""

    def __init__(self) -> None:
        self.last = 0

    def reserve(self, highest: int) -> None:
        """Numbers up to this are taken by others."""
        self.last = max(self.last, highest)

    def new(self, count: int) -> NDArray[np.int64]:
        """The next ``count``."""
        self.last += count
        return np.arange(self.last - count + 1, self.last + 1)


class IdBook:
    """Under which id each candidate was shown first. Books may share their numbers."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._ids: dict[Index, dict[Hashable, int]] = {}

    def note(self, index: Index, table: pd.DataFrame) -> None:
        """The candidates of a table's rows are shown under the ids in its column ``index``."""
        ids, known = table["index"].tolist(), self._ids.setdefault(index, {})
        for key, number in zip(_keys(table), ids, strict=True):
            if key is not None:
                known.setdefault(key, int(number))
        self._numbers.reserve(max(ids, default=0))

    def holds(self, number: int) -> bool:
        """Whether a candidate has it."""
        return any(number in known.values() for known in self._ids.values())

    def rename(self, names: Mapping[int, int]) -> None:
        """Other ids for some candidates, hidden as they may be."""
        for known in self._ids.values():
            for key, number in known.items():
                known[key] = names.get(number, number)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it: of each candidate its plane (n, axes), what it is known by (n, columns), and its id (n,)."""
        entries = [(index, key, number) for index, known in self._ids.items() for key, number in known.items()]
        planes, keys, numbers = zip(*entries, strict=True) if entries else ((), (), ())
        return {
            "planes": np.array(planes, np.int64).reshape(len(entries), -1),
            "keys": np.array(keys, np.float64).reshape(len(entries), -1),
            "ids": np.array(numbers, np.int64),
        }

    def learn(self, planes: NDArray[Any], keys: NDArray[Any], ids: NDArray[Any]) -> None:
        """What :meth:`arrays` gave."""
        for index, key, number in zip(planes.tolist(), keys.tolist(), ids.tolist(), strict=True):
            self._ids.setdefault(tuple(index), {})[tuple(key)] = number
        self._numbers.reserve(int(ids.max(initial=0)))

    def known(self, index: Index, table: pd.DataFrame) -> NDArray[np.int64]:
        """(n,) the ids of the rows of a plane's table; 0 for a candidate that was never shown."""
        known = self._ids.get(index, {})
        return np.array([known.get(key, 0) for key in _keys(table)], np.int64)

    def ids(self, index: Index, table: pd.DataFrame) -> NDArray[np.int64]:
        """(n,) the same, but that who is shown for the first time gets the next number."""
        ids = self.known(index, table)
        missing = ids == 0
        if missing.any():
            ids[missing] = self._numbers.new(int(missing.sum()))
            self.note(index, table.assign(index=ids))
        return ids

    def ids_by_votes(self, tables: Sequence[tuple[Index, pd.DataFrame]], numbers: Numbers) -> NDArray[np.int64]:
        """Of objects through planes, given as the cross-sections in each: by their number, the ids that stay."""
        votes = Votes()
        for index, table in tables:
            votes.add(table["index"].tolist(), self.known(index, table).tolist())
        ids = votes.ids(numbers)
        new = np.zeros(max(ids, default=0) + 1, np.int64)
        new[list(ids)] = list(ids.values())
        for index, table in tables:
            self.note(index, table.assign(index=new[table["index"]]))
        return new


def _keys(table: pd.DataFrame) -> list[Hashable | None]:
    """Of each row, none of them twice; None for what was drawn without a point."""
    values = table[KNOWN_BY].to_numpy(np.float64)
    unknown = np.isnan(values[:, 0])
    seen: Counter[tuple[float, ...]] = Counter()
    keys: list[Hashable | None] = []
    for row, skipped in zip(values.tolist(), unknown.tolist(), strict=True):
        key = tuple(row)
        keys.append(None if skipped else (*key, seen[key]))
        seen[key] += 1
    return keys


class Votes:
    """For objects through planes: by which id most of the candidates of each were known before."""

    def __init__(self) -> None:
        self._votes: dict[int, Counter[int]] = {}  # of each object, in order of appearance

    def add(self, objects: Iterable[int], before: Iterable[int]) -> None:
        """``objects``: the new id of each cross-section of a plane; ``before``: the old one of its candidate, or 0."""
        for new, old in zip(objects, before, strict=True):
            votes = self._votes.setdefault(new, Counter())
            if old:
                votes[old] += 1

    def ids(self, numbers: Numbers) -> dict[int, int]:
        """Of each object its id, none of them twice: who has most votes for one gets it, others the next number."""
        pairs = [(count, new, old) for new, votes in self._votes.items() for old, count in votes.items()]
        chosen: dict[int, int] = {}
        taken: set[int] = set()
        for _, new, old in sorted(pairs, key=lambda pair: -pair[0]):  # stable: those that came first, first
            if new not in chosen and old not in taken:
                chosen[new] = old
                taken.add(old)
        fresh = [new for new in self._votes if new not in chosen]
        return chosen | dict(zip(fresh, numbers.new(len(fresh)).tolist(), strict=True))
