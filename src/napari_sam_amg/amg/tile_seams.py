"""Masks of the tiles of a plane to masks of the plane: each object once, however many tiles saw it.

A tile sees its core and a halo around it, so most objects at a seam lie whole in one tile at least. Whole masks come
first, the best predicted IoU before the others, and one is dropped where a better one of another tile is of the same
object. Masks that a tile has cut come then, and only where they are free; pieces of one object, that tiles agree about
where both see it, are joined.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.fragments import without_strays
from napari_sam_amg.amg.masks import Masks, joined_masks, no_masks
from napari_sam_amg.amg.near_boxes import near_pairs, neighbours
from napari_sam_amg.amg.region import Region
from napari_sam_amg.amg.seams import cut_at_crop_edge
from napari_sam_amg.params import AmgParameters

#: Of the smaller of two masks, the share in the other from which on they are one object.
SAME = 0.5
#: IoU, within what both tiles see, from which on two pieces belong to one object.
AGREE = 0.5
#: Of a cut mask, the share that others hold from which on it is not free; and what counts for that at all.
TAKEN, SOME = 0.5, 0.05
#: Sides of a tile's window: an object that is larger than so many is not joined, but counted as missing. What holds
#: whole masses of tissue together, or the background, is no object, and would be held in memory.
MOST_WINDOWS = 4

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TileMasks:
    """Masks of several tiles, in the frame of the plane; ``crop_boxes`` are what the tiles see."""

    masks: Masks
    tiles: Indices  # (M,) the tile that each comes from
    ranks: Indices  # (M,) their order in the plane, by tile, then as the tile has them; unique

    def __len__(self) -> int:
        return len(self.masks)

    def select(self, keep: NDArray[np.bool_] | Indices) -> "TileMasks":
        return TileMasks(self.masks.select(keep), self.tiles[keep], self.ranks[keep])


def placed(masks: Masks, region: Region, params: AmgParameters) -> Masks:
    """The masks of a tile, in the frame of its window, as they enter: in the frame of the plane, and without scraps.

    Of each mask what a label keeps, since a stray far away says nothing of where the object ends. None that the window
    cuts and that lies outside the core altogether: another tile has it in its own, and sees more of it.
    """
    masks = _without_strays(masks.select(masks.areas > 0), params)
    rows, columns = region.window
    corner = np.array([columns.start, rows.start])
    seen = np.array([[columns.start, rows.start, columns.stop, rows.stop]], np.int64)
    masks = replace(
        masks,
        boxes=masks.boxes + np.tile(corner, 2),
        points=masks.points + corner,
        crop_boxes=np.repeat(seen, len(masks), axis=0),
        size=region.plane_size,
    )
    x0, y0, x1, y1 = masks.boxes.T
    in_core = (x1 >= region.columns[0]) & (x0 < region.columns[1]) & (y1 >= region.rows[0]) & (y0 < region.rows[1])
    return masks.select(in_core | ~cut_at_crop_edge(masks))


def _without_strays(masks: Masks, params: AmgParameters) -> Masks:
    boxes, cutouts = masks.boxes.copy(), []
    for row, cutout in enumerate(masks.cutouts):
        kept = without_strays(cutout, params)
        if kept is not cutout:
            x0, y0, x1, y1 = box_of(kept) or (0, 0, 0, 0)
            boxes[row] = np.array([x0, y0, x1, y1]) + np.tile(masks.boxes[row, :2], 2)
            kept = kept[y0 : y1 + 1, x0 : x1 + 1].copy()
        cutouts.append(kept)
    return replace(masks, boxes=boxes, cutouts=cutouts)


def joined(parts: Iterable[TileMasks], size: tuple[int, int]) -> TileMasks:
    """All rows of several, in order."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return TileMasks(no_masks(size), np.empty(0, np.int64), np.empty(0, np.int64))
    return TileMasks(
        joined_masks([part.masks for part in parts]),
        np.concatenate([part.tiles for part in parts]),
        np.concatenate([part.ranks for part in parts]),
    )


def merge_tiles(found: TileMasks) -> tuple[TileMasks, int]:
    """Each object of a plane once, in the order of ``ranks``, and how many are too large to be joined."""
    links = find_links(found)
    merged, missing = resolve(found, links)
    return merged.select(np.argsort(merged.ranks)), missing


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pairs of masks of which one may decide about the other."""

    pairs: Indices  # (P, 2) rows
    shared: Indices  # (P,) pixels in both
    agree: NDArray[np.bool_]  # (P,) cut pieces of one object, seen by two tiles
    cut: NDArray[np.bool_]  # (M,) masks that the edge of their tile may have cut
    areas: Indices  # (M,)

    def groups(self) -> Indices:
        """(M,) which masks hang together."""
        return np.asarray(connected_components(neighbours(self.pairs, len(self.cut)))[1], np.int64)

    def among(self, rows: NDArray[np.bool_]) -> "Links":
        """The links between the masks that stay if only ``rows`` (M,) do; all ends of a pair stay, or none."""
        new = np.cumsum(rows) - 1
        kept = rows[self.pairs[:, 0]]
        return Links(new[self.pairs[kept]], self.shared[kept], self.agree[kept], self.cut[rows], self.areas[rows])


def find_links(found: TileMasks) -> Links:
    """Every pair of masks of two tiles that are of one object; of a cut one, all that take some of it."""
    masks, areas = found.masks, found.masks.areas
    cut = cut_at_crop_edge(masks)
    pairs = near_pairs(masks.boxes)
    pairs = pairs[(found.tiles[pairs[:, 0]] != found.tiles[pairs[:, 1]]) | cut[pairs].all(axis=1)]
    shared = np.array([_shared_pixels(masks, *pair) for pair in pairs.tolist()], np.int64)
    same = shared > SAME * areas[pairs].min(axis=1)
    # of the one that is cut, or the one of two that are
    takes = (shared[:, None] > SOME * areas[pairs]) & cut[pairs]
    others = found.tiles[pairs[:, 0]] != found.tiles[pairs[:, 1]]
    both = cut[pairs].all(axis=1) & others & (shared > 0)
    agree = np.zeros(len(pairs), bool)
    agree[both] = [_agrees(masks, first, second) for first, second in pairs[both].tolist()]
    kept = same | takes.any(axis=1) | agree
    return Links(pairs[kept], shared[kept], agree[kept], cut, areas)


def _shared_pixels(masks: Masks, first: int, second: int) -> int:
    x0, y0 = np.maximum(masks.boxes[first, :2], masks.boxes[second, :2]).tolist()
    x1, y1 = np.minimum(masks.boxes[first, 2:], masks.boxes[second, 2:]).tolist()
    return int(np.count_nonzero(_part(masks, first, x0, y0, x1, y1) & _part(masks, second, x0, y0, x1, y1)))


def _part(masks: Masks, row: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    """The pixels of a mask within a box, of which its own box may hold less; nothing is copied."""
    left, top, _, _ = masks.boxes[row].tolist()
    return masks.cutouts[row][max(y0 - top, 0) : max(y1 + 1 - top, 0), max(x0 - left, 0) : max(x1 + 1 - left, 0)]


def _agrees(masks: Masks, first: int, second: int) -> bool:
    """Whether two pieces are the same where both tiles see."""
    x0, y0 = np.maximum(masks.crop_boxes[first, :2], masks.crop_boxes[second, :2]).tolist()
    x1, y1 = (np.minimum(masks.crop_boxes[first, 2:], masks.crop_boxes[second, 2:]) - 1).tolist()
    ours, theirs = (np.count_nonzero(_part(masks, row, x0, y0, x1, y1)) for row in (first, second))
    shared = _shared_pixels(masks, first, second)
    return bool(shared >= AGREE * (ours + theirs - shared))


def resolve(found: TileMasks, links: Links) -> tuple[TileMasks, int]:
    """What stays of masks, with ``links`` among them, and how many objects are too large to be joined."""
    if not len(links.pairs):
        return found, 0
    near: list[list[tuple[int, int, bool]]] = [[] for _ in range(len(found))]
    for (first, second), shared, agree in zip(
        links.pairs.tolist(), links.shared.tolist(), links.agree.tolist(), strict=True
    ):
        near[first].append((second, shared, agree))
        near[second].append((first, shared, agree))
    kept = _best_whole(found, links, near)
    pieces = _best_pieces(found, links, near)
    missing = 0
    made: list[TileMasks] = []
    place: dict[int, int] = {}  # of what was made of a piece
    for group in _groups_that_agree(links, pieces):
        if not _is_small_enough(found.masks, group):
            missing += 1
            continue
        whole = _union(found, group) if len(group) > 1 else found.select(np.array(group))
        beside = {row for piece in group for row, _, _ in near[piece]}
        earlier = {place[row] for row in beside if row in place}
        others = found.masks.select(np.array([row for row in beside if kept[row]], np.int64))
        if _share_taken(whole.masks, [others, *(made[at].masks for at in earlier)]) <= TAKEN:
            place |= dict.fromkeys(group, len(made))
            made.append(whole)
    return joined([found.select(kept), *made], found.masks.size), missing


def _order(found: TileMasks, rows: Indices) -> list[int]:
    """The best predicted IoU first; what is not rated, and equals, by rank."""
    scores = np.nan_to_num(found.masks.predicted_iou[rows].astype(np.float64), nan=0.0)
    order: list[int] = rows[np.lexsort((found.ranks[rows], -scores))].tolist()
    return order


def _best_whole(found: TileMasks, links: Links, near: list[list[tuple[int, int, bool]]]) -> NDArray[np.bool_]:
    """(M,) whole masks, but for those of which another tile has a better one."""
    kept = np.zeros(len(found), bool)
    for row in _order(found, np.flatnonzero(~links.cut)):
        kept[row] = not any(
            kept[other] and shared > SAME * min(links.areas[row], links.areas[other]) for other, shared, _ in near[row]
        )
    return kept


def _best_pieces(found: TileMasks, links: Links, near: list[list[tuple[int, int, bool]]]) -> list[int]:
    """Cut masks, one for each piece in a tile, the best first."""
    chosen: set[int] = set()
    order = _order(found, np.flatnonzero(links.cut))
    for row in order:
        if not any(
            other in chosen
            and found.tiles[other] == found.tiles[row]
            and shared > SAME * min(links.areas[row], links.areas[other])
            for other, shared, _ in near[row]
        ):
            chosen.add(row)
    return [row for row in order if row in chosen]


def _groups_that_agree(links: Links, pieces: Sequence[int]) -> list[list[int]]:
    """Pieces of one object together, in the order of the best of each."""
    is_piece = np.zeros(len(links.cut), bool)
    is_piece[list(pieces)] = True
    pairs = links.pairs[links.agree & is_piece[links.pairs].all(axis=1)]
    numbers = connected_components(neighbours(pairs, len(links.cut)))[1]
    groups: dict[int, list[int]] = {}
    for row in pieces:
        groups.setdefault(int(numbers[row]), []).append(row)
    return list(groups.values())


def _is_small_enough(masks: Masks, group: list[int]) -> bool:
    boxes, seen = masks.boxes[group], masks.crop_boxes[group]
    sides = boxes[:, 2:].max(axis=0) + 1 - boxes[:, :2].min(axis=0)
    return bool((sides <= MOST_WINDOWS * (seen[:, 2:] - seen[:, :2]).max(axis=0)).all())


def _union(found: TileMasks, group: list[int]) -> TileMasks:
    """One mask of several pieces: as sure as the least sure of them, and asked for where the largest was."""
    pieces = found.select(np.array(group))
    masks = pieces.masks
    x0, y0 = masks.boxes[:, :2].min(axis=0).tolist()
    x1, y1 = masks.boxes[:, 2:].max(axis=0).tolist()
    canvas = np.zeros((y1 + 1 - y0, x1 + 1 - x0), bool)
    for row, (left, top, right, bottom) in enumerate((masks.boxes - [x0, y0, x0, y0]).tolist()):
        canvas[top : bottom + 1, left : right + 1] |= masks.cutouts[row]
    first, largest = int(pieces.ranks.argmin()), int(masks.areas.argmax())
    seen = np.concatenate([masks.crop_boxes[:, :2].min(axis=0), masks.crop_boxes[:, 2:].max(axis=0)])
    whole = replace(
        masks.select([first]),
        boxes=np.array([[x0, y0, x1, y1]], np.int64),
        predicted_iou=masks.predicted_iou.min(keepdims=True),
        stability_score=masks.stability_score.min(keepdims=True),
        points=masks.points[[largest]],
        crop_boxes=seen[None],
        cutouts=[canvas],
    )
    return TileMasks(whole, pieces.tiles[[first]], pieces.ranks[[first]])


def _share_taken(mask: Masks, others: Sequence[Masks]) -> float:
    """Of one mask, the share that others hold together."""
    x0, y0, x1, y1 = mask.boxes[0].tolist()
    taken = np.zeros(mask.cutouts[0].shape, bool)
    for masks in others:
        if not len(masks):
            continue
        beside = (masks.boxes[:, :2] > [x1, y1]).any(axis=1) | (masks.boxes[:, 2:] < [x0, y0]).any(axis=1)
        for row in np.flatnonzero(~beside).tolist():
            part = _part(masks, row, x0, y0, x1, y1)
            left, top = (max(int(masks.boxes[row, axis]) - low, 0) for axis, low in ((0, x0), (1, y0)))
            taken[top : top + part.shape[0], left : left + part.shape[1]] |= part
    return float(np.count_nonzero(taken & mask.cutouts[0]) / np.count_nonzero(mask.cutouts[0]))
