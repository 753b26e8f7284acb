"""Labels of one plane after another joined to chains, each one object. A plane is given away once it is certain."""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.labels import LabelPlane
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.region import PaintedRegion
from napari_sam_amg.objects import filling
from napari_sam_amg.objects.links import Links, least_iou, links
from napari_sam_amg.objects.splits import daughters
from napari_sam_amg.params import AmgParameters


@dataclass(slots=True, eq=False)
class Chain:
    """One object in the making."""

    planes: int = 0  # in which it is, filled ones among them
    last: int = 0  # the last of them, counted along the line
    parent: "Chain | None" = None  # that divided into this and others
    id: int = 0  # 0 until its first plane is given away
    parent_id: int = 0


@dataclass(slots=True, eq=False)
class Section:
    """A plane, and the chains to which its labels 1, 2, ... belong."""

    region: PaintedRegion
    position: int  # along the line
    chains: list[Chain] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)  # with the plane before; NaN where a chain begins
    filled: list[bool] = field(default_factory=list)  # whether it was not seen, but drawn
    is_kept: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))  # once it is certain

    @property
    def labels(self) -> NDArray[np.int32]:
        return self.region.painted.labels


class Chains:
    """The planes of one line, in order, to sections, a few planes later: as many as decide about what is in them."""

    def __init__(self, params: AmgParameters) -> None:
        self._params, self._divides = params, params.link == "t"
        self._gap = params.link_gap
        self._least = 1 if self._divides else params.min_planes
        self._window: deque[Section] = deque()
        self._count = 0

    def add(self, region: PaintedRegion) -> list[Section]:
        """The sections that are certain now."""
        here = Section(region, self._count)
        if self._window:
            self._join(self._window[-1], here)
        else:
            self._begin(here, {})
        if self._gap and len(self._window) > 1:
            self._bridge(self._window[-2], self._window[-1], here)
        self._window.append(here)
        self._count += 1
        return self._ready()

    def end(self) -> list[Section]:
        """All that are left; nothing comes after them."""
        # of a stack of two planes no object could be in three
        self._least = min(self._least, self._count)
        return [self._given(section) for section in self._drain()]

    def _drain(self) -> list[Section]:
        sections = list(self._window)
        self._window.clear()
        return sections

    def _ready(self) -> list[Section]:
        ready = []
        # the two newest are what the next one is joined to
        while len(self._window) > 1 + self._gap and self._is_certain(self._window[0]):
            ready.append(self._given(self._window.popleft()))
        return ready

    def _is_certain(self, section: Section) -> bool:
        end = self._count - 1 - self._gap  # who was last seen before this will not go on
        return all(chain.planes >= self._least or chain.last < end for chain in section.chains)

    def _given(self, section: Section) -> Section:
        """Says which chains are long enough."""
        section.is_kept = np.array([chain.planes >= self._least for chain in section.chains], bool)
        return section

    def _join(self, before: Section, here: Section) -> None:
        linked = links(before.labels, here.labels, least_iou(self._params))
        split = daughters(before.labels, here.labels, linked) if self._divides else {}
        parents = {label: before.chains[mother - 1] for mother, labels in split.items() for label in labels}
        self._begin(here, parents, _without(linked, split), before)

    def _begin(
        self, here: Section, parents: dict[int, Chain], linked: Links | None = None, before: Section | None = None
    ) -> None:
        """Chains go on where they are linked, and begin anew elsewhere."""
        count = len(here.region.painted.rows)
        here.filled, here.iou = [False] * count, [np.nan] * count
        here.chains = [Chain(parent=parents.get(label)) for label in range(1, count + 1)]
        if linked is not None and before is not None:
            for one, other, iou in zip(linked.one.tolist(), linked.other.tolist(), linked.iou.tolist(), strict=True):
                here.chains[other - 1], here.iou[other - 1] = before.chains[one - 1], iou
        for chain in here.chains:
            chain.planes += 1
            chain.last = here.position

    def _bridge(self, before: Section, middle: Section, here: Section) -> None:
        """Join what is missing in the middle plane alone, and draw it there."""
        divided = {id(chain.parent) for chain in middle.chains if chain.parent is not None}
        ended = [chain.last == before.position and id(chain) not in divided for chain in before.chains]
        begun = [chain.planes == 1 and chain.parent is None for chain in here.chains]
        linked = links(_only(before.labels, ended), _only(here.labels, begun), filling.LEAST)
        for one, other, iou in zip(linked.one.tolist(), linked.other.tolist(), linked.iou.tolist(), strict=True):
            drawn = filling.fill(middle.labels, before.labels == one, here.labels == other, self._params)
            if drawn is not None:
                chain = here.chains[other - 1] = before.chains[one - 1]
                chain.planes += 2
                chain.last = here.position
                here.iou[other - 1] = iou
                _draw(middle, *drawn, chain, iou)


def _without(linked: Links, split: dict[int, list[int]]) -> Links:
    """The links of labels that did not divide."""
    kept = ~np.isin(linked.one, list(split))
    return Links(linked.one[kept], linked.other[kept], linked.iou[kept])


def _only(labels: NDArray[np.int32], kept: list[bool]) -> NDArray[np.int32]:
    numbers = np.arange(len(kept) + 1, dtype=np.int32)
    numbers[1:][~np.array(kept, bool)] = 0
    return numbers[labels]


def _draw(section: Section, window: filling.Window, pixels: NDArray[np.bool_], chain: Chain, iou: float) -> None:
    """A label more, and its mask, of which nothing is known but its pixels."""
    region = section.region
    painted, masks, area = region.painted, region.masks, np.count_nonzero(pixels)
    labels = painted.labels.copy()
    labels[window][pixels] = len(painted.rows) + 1
    (rows, columns), (height, width) = window, masks.size
    box = box_of(pixels)
    assert box is not None
    x0, y0, x1, y1 = box
    unknown = np.array([np.nan], np.float32)
    masks = Masks(
        boxes=np.concatenate([masks.boxes, [np.add(box, (columns.start, rows.start) * 2)]]),
        predicted_iou=np.append(masks.predicted_iou, unknown),
        stability_score=np.append(masks.stability_score, unknown),
        points=np.concatenate([masks.points, [[np.nan, np.nan]]]),
        crop_boxes=np.concatenate([masks.crop_boxes, [[0, 0, width, height]]]),
        cutouts=[*masks.cutouts, pixels[y0 : y1 + 1, x0 : x1 + 1]],
        size=masks.size,
    )
    numbers = {name: np.append(getattr(painted, name), area) for name in ("shown", "visible", "areas")}
    rows_of = np.append(painted.rows, len(masks) - 1)
    painted = LabelPlane(labels, rows_of, cut=np.append(painted.cut, False), **numbers)
    section.region = replace(region, masks=masks, painted=painted)
    section.chains.append(chain)
    section.iou.append(iou)
    section.filled.append(True)


def select(section: Section, places: NDArray[np.int64]) -> Section:
    """The labels ``places + 1`` alone, in this order, and their masks alone."""
    region, painted = section.region, section.region.painted
    numbers = np.zeros(len(section.chains) + 1, np.int32)
    numbers[places + 1] = np.arange(1, len(places) + 1)
    columns = {name: getattr(painted, name)[places] for name in ("shown", "visible", "areas", "cut")}
    painted = LabelPlane(numbers[painted.labels], np.arange(len(places)), **columns)
    region = replace(region, masks=region.masks.select(section.region.painted.rows[places]), painted=painted)
    chains, iou, filled = (
        [column[place] for place in places.tolist()] for column in (section.chains, section.iou, section.filled)
    )
    return Section(region, section.position, chains, iou, filled, section.is_kept[places])
