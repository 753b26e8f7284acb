"""A result layer that is worked with: what is known of its run, and what is shown of it now."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
import pandas as pd
from napari.layers import Labels, Tracks
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.layer_table import layer_features, object_rows, with_rows
from napari_sam_amg.plugin.running.layers import full_resolution
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.plugin.window import without_proxy
from napari_sam_amg.review.mended import MODEL, ORIGIN
from napari_sam_amg.settings import METADATA_KEY

if TYPE_CHECKING:
    from napari_sam_amg.plugin.reviewing.layer_files import LayerFiles
    from napari_sam_amg.plugin.reviewing.refilter import Refilter

#: What a layer's record says of thresholds that were moved: the run's own, and which planes are still to follow.
OF_FILTERING = ("of_the_run", "planes_at_other_thresholds", "masks", "hidden_by_overlap")
Index = tuple[int, ...]  # of a plane along the stack's axes; () of a single one


class Edits(Protocol):
    """What was drawn, erased, merged or deleted by hand, on top of what a run found."""

    def apply(self, index: Index, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """The labels (H, W) of a plane with all that was done to it by hand; ``labels`` stay as they are."""

    def laid_over(self) -> None:
        """Other labels came beneath all that was done so far."""

    def draw(self, patches: Iterable[Any], new: Iterable[int] = (), words: str = "draw") -> None:
        """Pixels were set, see ``review.edits``; ``new``: ids that did not exist until now."""


class ReviewedLayer(QObject):
    """One for each result layer, see :func:`reviewed`. Main thread only.

    It does not keep its layer alive, which may be removed at any time.
    """

    about_to_change = Signal()  # the labels beneath what hands did: what they do right now is to be taken first
    looked_at = Signal()  # somebody asks what hands have done: strokes that wait for their turn are taken
    changed = Signal()  # what is shown: labels or table
    ended = Signal()  # its run is over: ``kept`` is there, or never will be
    released = Signal()  # nobody is in the midst of changing the labels any more

    def __init__(self, layer: Labels) -> None:
        super().__init__()
        self._layer = ref(layer)
        self.is_running = False  # while its run writes to it
        self.kept: Any = None  # the candidates of its run; None where none were kept
        self.why_none = ""  # why not, in a sentence; empty while nobody has said
        self.files: LayerFiles | None = None  # in a folder, whose thresholds can be moved
        self.source: SourceLayer | None = None  # what its run was made on; None of saved results
        self.edits: Edits | None = None
        #: Planes that were shown last in which hands have made something else of the labels, and the objects there.
        self.beneath: Mapping[Index, frozenset[int]] = {}
        self.tracks: ReferenceType[Tracks] | None = None  # the layer beside of objects that go through time
        self.asked_of: tuple[str, str, str] | None = None  # model, device and precision of its run
        self.refilter: Refilter | None = None  # who moves its thresholds, once somebody may
        self._holders: set[object] = set()
        self._rows: pd.DataFrame | None = None  # while all are told of a new table
        self._telling = QTimer(self)
        self._telling.setSingleShot(True)
        self._telling.timeout.connect(self._tell_tables)

    @property
    def layer(self) -> Labels:
        """Raises ``ReferenceError`` once nobody has it any more."""
        layer = self._layer()
        if layer is None:
            raise ReferenceError("the layer of these results is gone")
        return layer

    @property
    def is_gone(self) -> bool:
        return self._layer() is None

    @property
    def is_held(self) -> bool:
        """Whether somebody changes the labels in several turns of the event loop: nobody else may, in between."""
        return bool(self._holders)

    def hold(self, who: object) -> None:
        self._holders.add(who)

    def release(self, who: object) -> None:
        if who in self._holders:
            self._holders.remove(who)
            if not self._holders:
                self.released.emit()

    @property
    def record(self) -> dict[str, Any]:
        """What the layer's metadata say of its run, and of what was done with the results since."""
        found: dict[str, Any] = self.layer.metadata.get(METADATA_KEY, {})
        return found

    @property
    def is_single(self) -> bool:
        """Whether it is one plane of a stack, which has no index."""
        if self.source is not None:
            return self.source.is_single
        shape = full_resolution(self.layer).shape
        is_one = self.record.get("source", {}).get("plane") is not None
        return is_one and all(shape[axis] == 1 for axis in self.stack_axes)

    @property
    def is_complete(self) -> bool:
        """Whether its run is over, so that nobody else writes to the layer."""
        return not self.is_running

    @property
    def params(self) -> AmgParameters | None:
        """The parameters of what is shown now; None where no record tells them."""
        try:
            return AmgParameters(**self.record["parameters_used"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def why_fixed(self) -> str:
        """Why what is shown cannot be changed, in a sentence; empty if it can."""
        data = self.layer.data
        if self.is_running:
            return "The run goes on; its results can be changed when it is over."
        if not isinstance(data, np.ndarray):
            return "These labels lie on the disk and can only be looked at."
        if self.source is not None and data.shape != self.source.labels_shape:
            return "These labels are of another size than those that the run gave."
        return "" if data.flags.writeable else "These labels can only be read."

    @property
    def why_no_thresholds(self) -> str:
        """The same of its thresholds, which can be moved of labels on the disk, too."""
        if self.files is None or self.is_running:
            return self.why_fixed
        return "These labels are not those of the folder any more." if isinstance(self.layer.data, np.ndarray) else ""

    @property
    def table(self) -> pd.DataFrame:
        """The rows of the objects alone, by column "index" their ids, in this order."""
        return object_rows(self.layer.features) if self._rows is None else self._rows

    @property
    def plane_axes(self) -> tuple[int, int]:
        """The layer's axes that are a plane's down and right."""
        ndim = self.layer.ndim
        down, right = self._axes.get("plane", (ndim - 2, ndim - 1))
        return int(down), int(right)

    @property
    def stack_axes(self) -> tuple[int, ...]:
        """The layer's axes along which planes have their index."""
        others = [axis for axis in range(self.layer.ndim) if axis not in self.plane_axes]
        return tuple(self._axes.get("stack", others))

    @property
    def _axes(self) -> Mapping[str, Any]:
        axes: Mapping[str, Any] = self.record.get("source", {}).get("axes", {})
        return axes

    def place(self, index: Index) -> tuple[int | slice, ...]:
        """Where in the layer's data a plane lies; 0 along channels, and along the stack of a single plane."""
        position = dict(zip(self.stack_axes, index, strict=False))
        return tuple(
            slice(None) if axis in self.plane_axes else position.get(axis, 0) for axis in range(self.layer.ndim)
        )

    def plane(self, index: Index) -> NDArray[Any]:
        """The labels (H, W) of a plane as it was segmented: a view of the layer's data, of those on the disk a copy."""
        labels: NDArray[Any] = np.asarray(full_resolution(self.layer)[self.place(index)])  # a view of an array
        down, right = self.plane_axes
        return labels if down < right else labels.T

    def show(self, index: Index, labels: NDArray[np.int32], rows: pd.DataFrame) -> None:
        """:meth:`showing` of one plane, at once."""
        for _ in self.showing({index: labels}, rows, drawn=True):
            pass

    def showing(self, planes: Mapping[Index, NDArray[np.int32]], rows: pd.DataFrame, drawn: bool) -> Iterator[None]:
        """Other labels in some planes, and the table that belongs to them. The only way to change either.

        In steps: planes are looked at one by one, and all is changed in the last one.
        ``planes``: labels (H, W) by index, edits by hand among them. ``rows``: of every object that now has pixels in
        one of these planes, column "index" its id, "centroid_y" and the like named as the layer's table has them. Rows
        of objects that lost pixels there and are not among them go; so an object that goes on in other planes must be.
        ``drawn``: whether the layer is drawn again; not needed where none of the planes is in sight.
        Raises ``ValueError`` where nothing can be changed, and for labels of another size than the planes.
        """
        self._check(planes)
        changed: list[NDArray[Any]] = [np.empty(0, np.int64)]
        boxes: list[tuple[Index, tuple[slice, slice]]] = []
        for index, labels in planes.items():
            shown = self.plane(index)
            box = differing(shown, labels)
            if box is not None:
                before, after = shown[box], labels[box]
                differs = before != after
                changed += [pd.unique(before[differs]), pd.unique(after[differs])]
                boxes.append((index, box))
            yield
        self._check(planes)  # the layer may have been given other data meanwhile
        for index, box in boxes:
            self.plane(index)[box] = planes[index][box]
        if ORIGIN in self.layer.features:
            rows = rows.assign(**{ORIGIN: MODEL})
        self.put_table(with_rows(self.table, rows, np.concatenate(changed)), drawn)

    def put_table(self, rows: pd.DataFrame, drawn: bool = False) -> None:
        """Other rows of objects, in order of id, for the labels as they are. ``drawn``: whether to draw these again."""
        layer = self.layer
        # tables in the window follow in a turn of their own, so that the labels are on the screen first
        with layer.events.features.blocker():
            layer.features = layer_features(rows)
        self._telling.start(0)
        if drawn:
            layer.refresh(extent=False)
        self._rows = rows
        try:
            self.changed.emit()
        finally:
            self._rows = None

    def _tell_tables(self) -> None:
        if not self.is_gone:
            with suppress(RuntimeError):  # a table whose window was closed meanwhile
                self.layer.events.features()

    def tell(self, params: AmgParameters, own: AmgParameters, more: Mapping[str, Any]) -> None:
        """The layer's record says with which parameters a run would have given what is shown.

        ``own``: those of the run itself. ``more``: what else is to be said, in place of what was said so before.
        """
        record, values, before = self.record, asdict(params), asdict(own)
        used = record.get("parameters_used", {})
        moved = {name: value for name, value in values.items() if used.get(name) != value}
        record["parameters"] = {**record.get("parameters", {}), **moved}
        record["parameters_used"] = {**used, **values}
        for name in OF_FILTERING:
            record.pop(name, None)
        record.update(more)
        if values != before:
            record["of_the_run"] = {name: before[name] for name in values if values[name] != before[name]}

    def _check(self, planes: Mapping[Index, NDArray[np.int32]]) -> None:
        if self.why_fixed:
            raise ValueError(self.why_fixed)
        kind = self.layer.data.dtype
        most = np.iinfo(kind).max if kind.itemsize < np.dtype(np.int32).itemsize else None
        for index, labels in planes.items():
            if most is not None and labels.max(initial=0) > most:
                raise ValueError(f"label {labels.max()} does not fit the layer's data of type {kind}, up to {most}")
            if self.plane(index).shape != labels.shape:
                size, wanted = (" x ".join(map(str, one.shape)) for one in (labels, self.plane(index)))
                raise ValueError(f"labels of {size} pixels do not fit plane {index} of {wanted} pixels")


def differing(before: NDArray[Any], after: NDArray[Any]) -> tuple[slice, slice] | None:
    """The box in which two planes differ; None if they are equal."""
    differs = before != after
    rows = np.flatnonzero(differs.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(differs[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


_reviewed: "WeakKeyDictionary[Labels, ReviewedLayer]" = WeakKeyDictionary()


def reviewed(layer: Labels) -> ReviewedLayer:
    """That of a layer; made when it is first asked for."""
    layer = without_proxy(layer)
    if layer not in _reviewed:
        _reviewed[layer] = ReviewedLayer(layer)
    return _reviewed[layer]
