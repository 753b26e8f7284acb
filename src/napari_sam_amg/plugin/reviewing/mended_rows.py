"""Rows of a result layer's table, measured again for objects whose pixels were changed."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_sam_amg.plugin.reviewing.hand_made import HandMade, Places, note_places
from napari_sam_amg.review.edits import Index, Patch
from napari_sam_amg.review.mended import DRAWN, EDITED, MERGED, MODEL, ORIGIN, mended
from napari_sam_amg.review.remeasure import Box, Grid, boxes_in, boxes_of, joined, measured, pieces

if TYPE_CHECKING:
    from napari_sam_amg.plugin.reviewing.followed_edits import FollowedEdits

FEW = 4  # planes that are looked through at once, and objects that are looked for one by one
Measured = Mapping[int, Mapping[str, float] | None]  # by id; None of an object that is gone
LOOKED_UP = 1500  # objects whose places are looked up in one step: 8 to 20 ms


class MendedRows:
    """Belongs to the edits of one layer. Main thread only."""

    def __init__(self, edits: "FollowedEdits") -> None:
        self._edits = edits
        self.hand_made = HandMade(self, edits)
        self.stale: tuple[str, ...] = ()  # columns that are measured on demand
        self._known = pd.DataFrame({"index": np.empty(0, np.int64)})  # rows of the model's own masks
        self._at: dict[int, dict[Index, Box]] = {}  # where objects are that were touched, by id
        self._unknown: dict[int, str] = {}  # objects that were changed out of sight by nobody knows whom

    def learn(self, rows: pd.DataFrame) -> None:
        """Rows that a run, or other thresholds, gave: of the model's masks."""
        if ORIGIN in rows:
            rows = rows[rows[ORIGIN].isna() | (rows[ORIGIN] == MODEL)]
        rest = self._known[~self._known["index"].isin(rows["index"])]
        self._known = pd.concat([part for part in (rest, rows) if len(part)] or [rows], ignore_index=True)

    def with_found(self, found: Measured) -> pd.DataFrame:
        """The table with what was measured of some objects."""
        edits = self._edits
        return mended(edits.review.table, found, self._known, edits.hand, self.stale, self._unknown)

    def surveyed(self, patches: Iterable[Patch], found: Measured, places: Places) -> None:
        """All planes were compared with the table: some objects are otherwise than it says. ``places``: of all."""
        for label in frozenset(found).union(*(patch.ids for patch in patches)):
            self._at[label] = places.get(label, {})
        known, steps = set(self._known["index"].tolist()), self._edits.hand.touched
        self._unknown |= {label: EDITED if label in known else DRAWN for label in found if label not in steps}

    def forget_places(self) -> None:
        """The labels are others altogether."""
        self._at.clear()
        self.hand_made.is_unknown = True

    def touched_by(self, patches: Iterable[Patch], more: Iterable[int]) -> Generator[None, None, Measured]:
        """All that patches have touched, and some more, measured object by object."""
        boxes: dict[int, dict[Index, Box]] = {label: {} for label in more}
        for patch in (patches := list(patches)):
            for label in patch.ids:
                places = boxes.setdefault(label, {})
                places[patch.index] = joined(places.get(patch.index), patch.box)
        there: dict[Index, dict[int, Box]] = {}  # one that comes back may be anywhere: many are found at once
        for index in {patch.index for patch in patches} if len(boxes) > FEW else ():
            there[index] = boxes_in(self._edits.review.plane(index))
            yield
        yield from self.finding(boxes)
        found, grid = {}, self._edits.grid
        for some in self.some_places(boxes):
            for label, where in some.items():
                at = [(index, there[index].get(label) if index in there else box) for index, box in where.items()]
                found[label] = self._row(label, {index: box for index, box in at if box is not None}, grid)
                yield
        return found

    @property
    def spread(self) -> set[int]:
        """Objects of planes that are known to be in several, of which other thresholds may have changed one."""
        return set() if self._edits.grid.link != "none" else {label for label, at in self._at.items() if len(at) > 1}

    def touched_by_hands(self) -> Measured | None:
        """Other labels came beneath what hands made: each of their objects may be anywhere in its planes.

        None where these are too many to be looked through at once.
        """
        edits, review = self._edits, self._edits.review
        beneath, review.beneath = review.beneath, {}
        planes = edits.hand.planes | {index for at in self._at.values() for index in at} | set(beneath)
        spread = self.spread
        self._at.clear()
        if len(planes) > FEW:
            return None
        there, grid = {index: boxes_in(review.plane(index)) for index in planes}, edits.grid
        found = {}
        for label in edits.hand.touched.union(spread, *beneath.values()):
            boxes = {index: of_plane[label] for index, of_plane in there.items() if label in of_plane}
            found[label] = self._row(label, boxes, grid)
        return found

    def _row(self, label: int, where: Mapping[Index, Box], grid: Grid) -> dict[str, float] | None:
        """What is measured of an object; None if it is gone."""
        parts = pieces(self._edits.review.plane, label, where)
        self._at[label] = {part.index: part.box for part in parts}
        return measured(parts, grid) if parts else None

    def where(self, touched: Mapping[int, Mapping[Index, Box]]) -> dict[int, dict[Index, Box]]:
        """As :meth:`known_places`, of those that hands have drawn, too, at once."""
        for _ in self.finding(touched):
            pass
        return self.known_places(touched)

    def some_places(self, touched: Mapping[int, Mapping[Index, Box]]) -> Iterator[dict[int, dict[Index, Box]]]:
        """As :meth:`known_places`, of some objects at a time: of 12,000 at once they take .1 s."""
        every = list(touched.items())
        for start in range(0, len(every), LOOKED_UP):
            yield self.known_places(dict(every[start : start + LOOKED_UP]))

    def known_places(self, touched: Mapping[int, Mapping[Index, Box]]) -> dict[int, dict[Index, Box]]:
        """Boxes in which objects are, after ``finding``: where they were, and where they were touched.

        One that was nowhere until now may be anywhere in the planes in which it was touched.
        """
        rows = boxes_of(self._edits.review.layer.features, touched, self._edits.grid, self._edits.axes)
        found: dict[int, dict[Index, Box]] = {}
        for label, more in touched.items():
            old = self._at.get(label) or rows.get(label)
            new = {index: joined(old.get(index), box) for index, box in more.items()} if old else {}
            found[label] = old | new if old else dict.fromkeys(more, np.s_[0:, 0:])
        return found

    def finding(self, labels: Iterable[int]) -> Iterator[None]:
        """Objects of planes that hands have drawn may be in several, of which their rows name one: plane by plane."""
        edits, drawn = self._edits, self._by_hand()
        if not drawn or drawn.isdisjoint(label for label in labels if not self._at.get(label)):
            return
        planes = edits.planes() if self.hand_made.is_unknown else edits.hand.planes
        found: Places = {}
        for index in planes:
            note_places(found, index, edits.review.plane(index), drawn)
            yield
        self.hand_made.is_unknown = False
        self.learn_places(found)

    def _by_hand(self) -> set[int]:
        """Ids of them; none where planes are linked, whose rows tell all."""
        edits, table = self._edits, self._edits.review.layer.features
        if not edits.axes or edits.grid.link != "none" or ORIGIN not in table:
            return set()
        return set(table.loc[table[ORIGIN].isin([EDITED, MERGED, DRAWN]), "index"].tolist())

    def learn_places(self, found: Places) -> None:
        """Where objects are, of those of which it is not known."""
        self._at |= {label: places for label, places in found.items() if not self._at.get(label)}

    def look_for_hand_made(self) -> None:
        """Labels that come with objects that hands have made, as saved ones do, and copies."""
        if drawn := self._by_hand():
            self.hand_made.look(drawn)
