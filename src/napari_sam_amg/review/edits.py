"""What hands have changed in labels, kept apart from them: so it stays when other thresholds give other labels.

Two things can be done. Pixels are set (drawn, erased, filled): each to an id, 0 for the background. Objects are
renamed: to another object's id, which merges them, or to 0, which deletes them; they are renamed wherever they are,
and where they will be. All of it is a list of steps, of which the last can be undone and done again.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = tuple[int, ...]
MANY = 1 << 20  # ids that may stand in a table
FAST = 1  # zlib's level: labels are so regular that more saves little


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Pixels of one plane that were changed, and their ids before and after; packed."""

    index: Index
    corner: tuple[int, int]  # of the box around them
    size: tuple[int, int]  # of that box
    ids: frozenset[int]  # all that were there before or are after, but for the background
    _mask: bytes
    _before: bytes
    _after: bytes

    @classmethod
    def of(
        cls, index: Index, before: NDArray[np.integer], after: NDArray[np.integer], corner: tuple[int, int] = (0, 0)
    ) -> "Patch | None":
        """Of labels (h, w) before and after, the first pixel at ``corner`` of the plane; None if they are equal."""
        changed = before != after
        rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
        if not len(rows):
            return None
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        mask = changed[box]
        values = [np.ascontiguousarray(labels[box][mask], np.int32) for labels in (before, after)]
        ids = frozenset(np.unique(np.concatenate([_few(value) for value in values])).tolist()) - {0}
        parts: list[NDArray[Any]] = [np.packbits(mask), *values]
        packed = [zlib.compress(part.tobytes(), FAST) for part in parts]
        place = int(corner[0] + rows[0]), int(corner[1] + columns[0])
        return cls(tuple(index), place, (mask.shape[0], mask.shape[1]), ids, *packed)

    @property
    def box(self) -> tuple[slice, slice]:
        (top, left), (height, width) = self.corner, self.size
        return slice(top, top + height), slice(left, left + width)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(h, w) which pixels of the box were changed."""
        bits = np.frombuffer(zlib.decompress(self._mask), np.uint8)
        return np.unpackbits(bits, count=self.size[0] * self.size[1]).reshape(self.size).astype(bool)

    @property
    def before(self) -> NDArray[np.int32]:
        """(n,) ids of the changed pixels, row by row."""
        return np.frombuffer(zlib.decompress(self._before), np.int32)

    @property
    def after(self) -> NDArray[np.int32]:
        return np.frombuffer(zlib.decompress(self._after), np.int32)

    def put(self, labels: NDArray[np.integer], values: NDArray[np.int32]) -> None:
        """Write ids of the changed pixels into a plane (H, W)."""
        labels[self.box][self.mask] = values

    def left_in(self, labels: NDArray[np.integer]) -> "Patch | None":
        """What of it is still to be seen in a plane (H, W) that was changed since; None if nothing is."""
        now, mask = labels[self.box], self.mask
        before = now.copy()
        before[mask] = np.where(now[mask] == self.after, self.before, now[mask])
        return Patch.of(self.index, before, now, self.corner)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What is done, and undone, at once."""

    words: str  # "delete 3 objects"
    drawn: tuple[Patch, ...] = ()
    renamed: Mapping[int, int] = field(default_factory=dict)  # id: its new one, 0 if it is deleted
    seen: tuple[Patch, ...] = ()  # what renaming did to the labels that were shown, to undo it in them
    new: frozenset[int] = frozenset()  # ids that no run had given: objects drawn by hand

    @property
    def patches(self) -> tuple[Patch, ...]:
        """What was changed in the labels that were shown."""
        return self.drawn + self.seen

    @property
    def ids(self) -> frozenset[int]:
        """Every object that it touches."""
        of_names = {*self.renamed, *self.renamed.values()} - {0}
        return frozenset(of_names).union(*(patch.ids for patch in self.patches))


class HandEdits:
    """The steps of one result layer. Planes go by their index along the stack, () if there is no stack."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._undone: list[Step] = []
        self._fitting: set[Step] = set()

    def add(self, step: Step) -> None:
        """One more; what was undone before it cannot be done again."""
        self._steps.append(step)
        self._undone.clear()
        self._fitting = {known for known in self._steps if known in self._fitting} | {step}

    def fits(self, step: Step) -> bool:
        """Whether the labels are still those that its patches tell of: what was there before, and after."""
        return step in self._fitting

    def laid_over(self) -> None:
        """Other labels came beneath all steps so far."""
        self._fitting.clear()

    def follow(self, names: Mapping[int, int]) -> None:
        """Objects of the run have other ids from now on: what was done to them is done to them by these."""
        for steps in (self._steps, self._undone):
            for place, step in enumerate(steps):
                new = _following(step.renamed, names)
                if new != step.renamed:
                    steps[place] = replace(step, renamed=new)
                    self._fitting |= {steps[place]} if step in self._fitting else set()

    def draw(self, patches: Iterable[Patch | None], new: Iterable[int] = (), words: str = "draw") -> None:
        """Pixels were set. ``new``: ids that did not exist until now."""
        drawn = tuple(patch for patch in patches if patch is not None)
        if drawn:
            self.add(Step(words, drawn, new=frozenset(new)))

    def delete(self, ids: Iterable[int], seen: Sequence[Patch] = ()) -> Step:
        """Objects are no longer there, nor will they be with other thresholds."""
        names = dict.fromkeys(sorted(set(ids) - {0}), 0)
        step = Step(f"delete {_count(len(names))}", renamed=names, seen=tuple(seen))
        self.add(step)
        return step

    def merge(self, ids: Iterable[int], seen: Sequence[Patch] = ()) -> Step:
        """Objects become one, under the lowest of their ids. ``ValueError`` for fewer than two."""
        first, *others = sorted(set(ids) - {0}) or [0]
        if not others:
            raise ValueError("two objects or more are needed to merge them")
        step = Step(f"merge {_count(1 + len(others))}", renamed=dict.fromkeys(others, first), seen=tuple(seen))
        self.add(step)
        return step

    @property
    def last(self) -> Step | None:
        """What :meth:`undo` would undo."""
        return self._steps[-1] if self._steps else None

    @property
    def next(self) -> Step | None:
        """What :meth:`redo` would do."""
        return self._undone[-1] if self._undone else None

    def undo(self) -> Step | None:
        if self._steps:
            self._undone.append(self._steps.pop())
            return self._undone[-1]
        return None

    def redo(self) -> Step | None:
        if self._undone:
            self._steps.append(self._undone.pop())
            return self._steps[-1]
        return None

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def drawn(self) -> frozenset[int]:
        """Ids of objects that are hand-drawn from the start, which no run may give to another object."""
        return frozenset().union(*(step.new for step in self._steps))

    @property
    def merged(self) -> frozenset[int]:
        """Ids of objects that others were merged into."""
        return frozenset(name for step in self._steps for name in step.renamed.values() if name)

    @property
    def touched(self) -> frozenset[int]:
        """Ids of all objects that are not as the model made them."""
        return frozenset().union(*(step.ids for step in self._steps))

    @property
    def planes(self) -> frozenset[Index]:
        """Those in which labels that were shown were changed."""
        return frozenset(patch.index for step in self._steps for patch in step.patches)

    def clear(self) -> None:
        """The labels are others altogether."""
        self._steps.clear()
        self._undone.clear()
        self._fitting.clear()

    def apply(self, index: Index, labels: NDArray[np.integer]) -> NDArray[np.int32]:
        """Labels (H, W) of a plane as a run has them, with what hands have changed: a new array.

        An object of the run that has come to share its id with one that is hand-drawn is left out, since only one
        can have it.
        """
        names: dict[int, int] = {}
        later: list[tuple[Patch, Mapping[int, int]]] = []
        # from the last step to the first: what was drawn then is renamed by all that came after
        for step in reversed(self._steps):
            later += [(patch, dict(names)) for patch in reversed(step.drawn) if patch.index == tuple(index)]
            names = composed(step.renamed, names)
        result = renamed(np.asarray(labels, np.int32), names | dict.fromkeys(self.drawn, 0))
        for patch, new_names in reversed(later):
            patch.put(result, renamed(patch.after, new_names))
        return result


def composed(first: Mapping[int, int], then: Mapping[int, int]) -> dict[int, int]:
    """Names that change by ``first`` and then by ``then``."""
    return {**then, **{old: then.get(new, new) for old, new in first.items()}}


def _following(renamed: Mapping[int, int], names: Mapping[int, int]) -> dict[int, int]:
    """Ids that were drawn by hand keep their names, too: there may be pixels of them from before."""
    followed = {old: names.get(new, new) for old, new in renamed.items()}
    return followed | {names[old]: new for old, new in followed.items() if old in names}


def renamed(labels: NDArray[np.int32], names: Mapping[int, int]) -> NDArray[np.int32]:
    """A new array with ids replaced, all at once."""
    highest = int(labels.max(initial=0))
    there = {old: new for old, new in names.items() if 0 < old <= highest}
    if not there:
        return labels.copy()
    old, new = (np.array(ids, np.int32) for ids in (list(there), list(there.values())))
    if highest > labels.size and highest > MANY:  # ids of another program: a table would be larger than the plane
        order = np.argsort(old)
        places = np.searchsorted(old, labels, sorter=order).clip(max=len(old) - 1)
        return np.where(old[order][places] == labels, new[order][places], labels)
    table = np.arange(highest + 1, dtype=np.int32)
    table[old] = new
    return table[labels]


def _few(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same ids, each where it changes only: so that nothing long is sorted."""
    return values[np.flatnonzero(np.diff(values, prepend=values[:1] - 1))]


def _count(objects: int) -> str:
    return "1 object" if objects == 1 else f"{objects} objects"
