"""Why something is, or is not, at a place: what became of every candidate there.

The masks and labels are those of the functions that make the result, so what is said to be kept has a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.ais import painting_rules
from napari_sam_amg.amg.filters import confident, of_right_size, rows_in_crop, stable
from napari_sam_amg.amg.generate import cut_out, surviving
from napari_sam_amg.amg.labels import LabelPlane, paint
from napari_sam_amg.amg.masks import Candidates, Masks, concatenate, no_candidates
from napari_sam_amg.amg.regions import clean
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.params import AmgParameters

Fate = Literal[
    "kept", "unsure", "unstable", "wrong size", "cut", "double", "double between crops", "double when cleaned",
    "covered", "specks", "ring", "not joined",
]  # fmt: skip
DOUBLES = ("double", "double between crops")
NEVER = -1
SAME = 0.5  # of a mask's pixels: an object that has more of them is taken for what became of it


@dataclass(frozen=True, slots=True, eq=False)
class Fates:
    """What became of the N candidates of a plane: those of all crops, and behind them those that crops have cut."""

    params: AmgParameters
    candidates: Candidates  # N
    fates: list[Fate]  # N
    rivals: list[NDArray[np.int64]]  # rows that each suppression left, best first: of each crop, then of all
    crops: NDArray[np.int64]  # (N,) in which of ``rivals`` its own crop's are
    masks: Masks  # M, as refilter gives them
    rows: NDArray[np.int64]  # (M,) the candidate behind each mask
    free: NDArray[np.int64]  # (M,) pixels that were free when its turn came
    painted: LabelPlane
    labels: NDArray[np.int64]  # (N,) 0 without one

    def place(self, row: int) -> int:
        """Which of the masks a candidate became; ``NEVER`` if none."""
        found = np.flatnonzero(self.rows == row)
        return int(found[0]) if len(found) else NEVER

    def loser_to(self, row: int) -> int:
        """The better candidate that a double lost to; ``NEVER`` if it is none.

        The first of those that were kept, from the best on, whose box overlaps too much.
        """
        if self.fates[row] not in DOUBLES:
            return NEVER
        is_own = self.fates[row] == "double"
        rivals = self.rivals[int(self.crops[row]) if is_own else -1]
        most = self.params.box_nms_thresh if is_own else self.params.crop_nms_thresh
        boxes = self.candidates.boxes
        over = np.flatnonzero(_box_iou(boxes[row], boxes[rivals]) > most)
        return int(rivals[over[0]]) if len(over) else NEVER


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate at a place."""

    row: int
    fate: Fate
    label: int  # 0 if it has none
    predicted_iou: float
    stability_score: float
    area: int  # px
    point: tuple[float, float]  # (x, y) that was asked
    free: float = np.nan  # share of it that was free when its turn came, of one that was painted or covered
    by: int = 0  # the label to which it lost its pixels, or of which it is a double; 0 if there is none
    better: "Found | None" = field(default=None, repr=False)  # what a double lost to, if that has no label either


def fates_of(stored: StoredCandidates, params: AmgParameters) -> Fates:
    """Follow all candidates to the labels. ``ValueError`` as ``refilter`` raises it."""
    stored.check(params)
    parts = [*stored.crops, *stored.cut]
    everything = concatenate([no_candidates(), *parts])
    fates: list[Fate] = ["cut"] * len(everything)
    by_crop, start = [], 0
    for crop in stored.crops:
        passing = start + _passing(crop, params, fates, start)
        by_crop.append(passing[rows_in_crop(everything.select(passing), params)])
        _mark(fates, passing, by_crop[-1], "double")
        start += len(crop)
    last = surviving(stored, params)
    _mark(fates, np.concatenate([np.empty(0, np.int64), *by_crop]), last, "double between crops")
    masks, rows = _cleaned(everything, last, stored.size, params)
    _mark(fates, last, rows, "double when cleaned")
    free = np.zeros(len(masks), np.int64)
    painted = paint(masks, painting_rules(params), free_pixels=free)
    for place, fate in _unpainted(masks, painted, free, params).items():
        fates[rows[place]] = fate
    labels = np.zeros(len(everything), np.int64)
    labels[rows[painted.rows]] = np.arange(1, 1 + len(painted.rows))
    of_crop = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Fates(params, everything, fates, [*by_crop, last], of_crop, masks, rows, free, painted, labels)


def _passing(crop: Candidates, params: AmgParameters, fates: list[Fate], start: int) -> NDArray[np.int64]:
    """Which of a crop every filter of one mask alone lets through; the others are marked, from row ``start`` on."""
    filters: list[tuple[NDArray[np.bool_], Fate]] = [
        (confident(crop.predicted_iou, params), "unsure"),
        (stable(crop.stability_score, params), "unstable"),
        (of_right_size(crop, params), "wrong size"),
    ]
    left = np.arange(len(crop))
    for keeps, fate in filters:
        kept = left[keeps[left]]
        _mark(fates, start + left, start + kept, fate)
        left = kept
    return left


def _mark(fates: list[Fate], before: NDArray[np.int64], after: NDArray[np.int64], fate: Fate) -> None:
    for row in np.setdiff1d(before, after).tolist():
        fates[row] = fate
    for row in after.tolist():
        fates[row] = "kept"


def _cleaned(
    candidates: Candidates, kept: NDArray[np.int64], size: tuple[int, int], params: AmgParameters
) -> tuple[Masks, NDArray[np.int64]]:
    """The masks of ``kept`` after small regions were removed, and the candidates behind them.

    They carry their row as a third coordinate of their points, which nothing on the way looks at.
    """
    masks = cut_out(candidates.select(kept), size)
    cleaned = clean(replace(masks, points=np.column_stack([masks.points, kept])), params)
    return replace(cleaned, points=cleaned.points[:, :2]), cleaned.points[:, 2].astype(np.int64)


def _unpainted(masks: Masks, painted: LabelPlane, free: NDArray[np.int64], params: AmgParameters) -> dict[int, Fate]:
    """Why masks have no label, by their number."""
    lost = np.setdiff1d(np.arange(len(masks)), painted.rows)
    areas = masks.areas[lost]
    covered = (free[lost] == 0) | (free[lost] < params.min_visible_fraction * areas)
    fates: dict[int, Fate] = {place: "covered" if over else "specks" for place, over in zip(lost, covered, strict=True)}
    if not covered.all() and params.max_ring_area:
        with_rings = paint(masks, replace(painting_rules(params), max_ring_area=0.0)).rows
        fates |= dict.fromkeys(np.intersect1d(lost, with_rings), "ring")
    return fates


def _box_iou(box: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,) as non-maximum suppression computes it, in float32."""
    one, many = box.astype(np.float32), others.astype(np.float32)
    sides = (np.minimum(one[2:], many[:, 2:]) - np.maximum(one[:2], many[:, :2])).clip(0)
    shared = sides[:, 0] * sides[:, 1]
    areas = (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1])
    with np.errstate(invalid="ignore"):  # a mask of one row has no area
        iou: NDArray[np.float32] = shared / ((one[2] - one[0]) * (one[3] - one[1]) + areas - shared)
    return iou


def what_is_at(fates: Fates, y: int, x: int, ids: Sequence[int] | None = None) -> list[Found]:
    """The candidates that hold pixel (y, x), those with a label first, then by predicted IoU.

    ``ids``: of labels 1, 2, ..., where the plane is one of many and they have others there.
    """
    names = np.append(0, np.arange(1, 1 + len(fates.painted.rows)) if ids is None else np.asarray(ids))
    there = [row for row in _boxes_at(fates.candidates, y, x) if _holds(fates.candidates, row, y, x)]
    found = [found_of(fates, row, names) for row in there]
    return sorted(found, key=lambda one: (not one.label, -one.predicted_iou))


def what_is_shown_at(fates: Fates, y: int, x: int, shown: NDArray[np.integer]) -> list[Found]:
    """The same where masks are joined over tiles or planes, so that labels are not those of the plane alone.

    A mask that became part of an object is known by its pixels in the labels (H, W) that are ``shown``.
    """
    return sorted(
        (_as_shown(fates, one, shown) for one in what_is_at(fates, y, x)),
        key=lambda one: (not one.label, -one.predicted_iou),
    )


def _as_shown(fates: Fates, found: Found, shown: NDArray[np.integer]) -> Found:
    if (place := fates.place(found.row)) == NEVER:
        # of labels that are shown nothing is known by their numbers in this plane
        return replace(found, by=0, better=None)
    under = shown[fates.masks.window(place)][fates.masks.cutouts[place]]
    ids, counts = np.unique(under[under > 0], return_counts=True)
    if not len(ids) or counts.max() < SAME * len(under):
        return replace(found, fate="not joined", label=0, by=0)
    return replace(found, fate="kept", label=int(ids[counts.argmax()]), by=0)


def _boxes_at(candidates: Candidates, y: int, x: int) -> list[int]:
    x0, y0, x1, y1 = candidates.boxes.T
    inside: list[int] = np.flatnonzero((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).tolist()
    return inside


def _holds(candidates: Candidates, row: int, y: int, x: int) -> bool:
    x0, y0, _, _ = candidates.boxes[row].tolist()
    return bool(candidates.cutout(row)[y - y0, x - x0])


def found_of(fates: Fates, row: int, names: NDArray[np.int64]) -> Found:
    """What is known of one candidate. ``names``: the ids of labels 0, 1, 2, ..."""
    candidates = fates.candidates
    x, y = candidates.points[row, :2].tolist()
    scores = float(candidates.predicted_iou[row]), float(candidates.stability_score[row])
    area = int(np.count_nonzero(candidates.cutout(row)))
    one = Found(row, fates.fates[row], int(names[fates.labels[row]]), *scores, area, (x, y))
    winner = fates.loser_to(row)
    if winner != NEVER:
        better = found_of(fates, winner, names)
        return replace(one, by=better.label, better=None if better.label else better)
    if (place := fates.place(row)) == NEVER:
        return one
    free = float(fates.free[place] / np.count_nonzero(fates.masks.cutouts[place]))
    return replace(one, free=free, by=int(names[_coverer(fates, place)]))


def _coverer(fates: Fates, place: int) -> int:
    """The label, another one, that has most of a mask's pixels."""
    masks, painted = fates.masks, fates.painted
    counts = np.bincount(painted.labels[masks.window(place)][masks.cutouts[place]], minlength=1)
    counts[0] = 0
    own = fates.labels[fates.rows[place]]
    if own < len(counts):
        counts[own] = 0
    return int(counts.argmax())


def nearest_asked(stored: StoredCandidates, y: float, x: float) -> float | None:
    """How far away the nearest point is that was asked, px; None if none was, or it is not known."""
    if stored.asked is None or not len(stored.asked):
        return None
    # a point is a place between pixels' edges, (y, x) a pixel
    return float(np.hypot(*(stored.asked - (x + 0.5, y + 0.5)).T).min())
