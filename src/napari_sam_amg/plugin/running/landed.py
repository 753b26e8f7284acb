"""A run's labels as they come to lie in the viewer: in a new layer, in one's place, or among earlier results.

Main thread only.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Labels, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sam_amg.amg.planes import Index
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.earlier import Landing, Made, landing_by_now, put_in_place_of, remember
from napari_sam_amg.plugin.running.so_far import SoFar
from napari_sam_amg.plugin.running.work import Job
from napari_sam_amg.settings import METADATA_KEY

if TYPE_CHECKING:
    from napari_sam_amg.review.kept import KeepingWork
    from napari_sam_amg.run import PlaneResult

OTHERS = "other_runs"  # of a layer's record: those of planes that the last run did not do
SEVERAL = (
    "These labels are of several runs, each with candidates of its own, so their thresholds cannot be moved: run all "
    "planes at once."
)


class Landed:
    """Made with the run; ``begin`` when its turn has come, ``release`` when it is over."""

    def __init__(self, viewer: Viewer, job: Job) -> None:
        self._viewer, self._job, self._landing = viewer, job, job.landing
        self.done: set[Index] = set(job.landing.done)
        self.into: Labels | None = None  # a layer of earlier results that this run fills
        self.rest = pd.DataFrame()  # rows of the objects of ``into`` that stay, by now
        self._record: dict[str, Any] = {}  # of what lies there
        self._begun: set[Index] = set()  # planes of which something came
        self._made: Made | None = None
        self._held: Labels | None = None  # the layer that the run writes to, until it is over

    @property
    def note(self) -> str:
        """Of the landing."""
        return self._landing.note

    def so_far(self) -> SoFar:
        """Of all planes; a run that goes on counts on."""
        landing = self._landing
        total = len(self._job.source.stack.indices) + len(landing.done)
        before = landing.before.so_far if landing.before else None
        if before is None:
            return SoFar(total, planes=len(landing.done))
        return before.going_on(len(landing.done)) if landing.done else SoFar(total, seconds=before.seconds)

    def begin(self) -> None:
        """When the turn of the run has come."""
        layer = self._landing.layer
        if layer is None or self._landing.kind not in ("fill", "continue"):
            return
        from napari_sam_amg.plugin.reviewing.layer_table import object_rows  # needs scipy

        self.into, self.rest = layer, object_rows(layer.features)
        self._record = dict(layer.metadata.get(METADATA_KEY, {}))
        self.hold(layer)
        if self._job.ids is not None:
            self._job.ids.stand_beside(self.rest, self._columns, self._job.source.stack.indices, self._highest(layer))

    def hold(self, layer: Labels) -> None:
        """Nobody else changes the layer until the run is over: ids that hands gave would be those of the run, too."""
        self._held = layer
        reviewed(layer).is_running = True
        layer.editable = False
        layer.events.editable.connect(self._keep_held)

    def _keep_held(self, _: object) -> None:
        """napari allows it again when it shows 3D, and for other data."""
        if self._held is not None:
            self._held.editable = False

    def _let_go(self) -> None:
        layer, self._held = self._held, None
        if layer is not None:
            layer.events.editable.disconnect(self._keep_held)
            layer.editable = isinstance(layer.data, np.ndarray)
            reviewed(layer).is_running = False

    def _highest(self, layer: Labels) -> int:
        """Id that is taken by what was drawn by hand, or is hidden by thresholds."""
        review = reviewed(layer)
        hidden = 0 if review.kept is None else review.kept.highest_id
        touched = getattr(review.edits, "touched", ()) if review.edits else ()
        return max(hidden, *touched, 0)

    @property
    def _columns(self) -> list[str]:
        from napari_sam_amg.amg.table import plane_columns  # needs scipy

        return plane_columns(len(self._job.source.axes.stack))

    def array(self) -> NDArray[np.int32]:
        """What the run writes its labels to."""
        if self.into is not None:
            return self.into.data
        return np.zeros(self._job.source.labels_shape if self._job.files is None else (0,), np.int32)

    def take(self, result: "PlaneResult", labels: NDArray[np.int32]) -> None:
        """Before a plane's labels, or some rows of them, are written: what was in ``labels``, this plane, goes.

        A plane that failed leaves what was there.
        """
        is_new = result.index not in self._begun
        if self.into is not None and is_new and not result.problem:
            if len(self.rest):
                self.rest = self.rest[(self.rest[self._columns].to_numpy() != result.index).any(axis=1)]
            if result.rows is not None:
                labels[...] = 0
        self._begun.add(result.index)
        if result.is_last and not result.problem:
            self.done.add(result.index)

    def put(self, layer: Labels) -> None:
        """Into the viewer, in the place of what it replaces, unless that was edited or renamed since the run began."""
        if self._landing.kind == "replace":
            now = landing_now(self._viewer, self._job)
            self._landing = now if now.kind == "replace" else Landing(note=now.note)
        if (old := self._landing.layer) is not None:
            put_in_place_of(self._viewer, old, layer)
        else:
            self._viewer.add_layer(layer)
        self.fills(layer)

    def fills(self, layer: Labels) -> None:
        """The layer has labels of this run."""
        if self._job.image is not None and self._job.asked is not None:
            self._made = remember(layer, self._job.image, self._job.asked)
            self._made.done = self.done

    def add_beside(self, layer: Layer) -> None:
        """What belongs to these results, and goes with them."""
        if self._made is not None:
            from weakref import ref

            self._made.beside.append(ref(layer))

    def record(self, of_run: dict[str, Any]) -> dict[str, Any]:
        """What the layer's metadata say: of this run, and of those whose planes stay beside it."""
        if self._landing.kind == "continue":
            seconds = self._record.get("seconds", 0) + of_run.get("seconds", 0)
            started = self._record.get("started", of_run.get("started"))
            return {**of_run, "started": started, "seconds": round(seconds, 3), **self._others()}
        return {**of_run, **self._others()}

    def _others(self) -> dict[str, Any]:
        """Records of other runs, where rows of theirs are left."""
        before = self._record.get(OTHERS, [])
        if self._landing.kind == "fill":
            before = [*before, {name: value for name, value in self._record.items() if name != OTHERS}]
        stay = [run for run in before if tuple(run.get("source", {}).get("plane") or ()) not in self._begun]
        return {OTHERS: stay} if stay and len(self.rest) else {}

    @property
    def masks_done(self) -> int:
        """Of the planes that are not done again, by a run that goes on."""
        if self._landing.kind != "continue" or not len(self.rest):
            return 0
        return sum(tuple(map(int, index)) in self.done for index in self.rest[self._columns].to_numpy())

    @property
    def is_mixed(self) -> bool:
        """Whether objects are left in the layer whose candidates are not kept with those of this run."""
        is_kept = self._landing.kind == "continue" and self._landing.kept is not None
        return self.into is not None and not is_kept and len(self.rest) > 0

    def hand_over(self, layer: Labels, keeping: "KeepingWork | None") -> None:
        """To whoever works with the results, with the candidates that the run has kept.

        Of a run in a folder these lie there, see ``layer_files.py``.
        """
        self._let_go()
        review = reviewed(layer)
        review.source = self._job.source
        kept = None if keeping is None or self.is_mixed else keeping.kept
        if self.is_mixed:
            review.why_none = SEVERAL
        if kept is not review.kept:
            review.kept, review.refilter = kept, None
        elif review.refilter is not None:  # a run that went on
            review.refilter.take_new_planes()
        review.ended.emit()

    def release(self, so_far: SoFar, record: dict[str, Any]) -> None:
        """The run is over, however it ended."""
        if self._held is not None:
            review = reviewed(self._held)
            self._let_go()
            review.ended.emit()
        if self._made is not None:
            seen = record.get("intensities", {})
            self._made.is_running, self._made.used = False, so_far.params
            self._made.so_far, self._made.tally = so_far, self._job.tally
            self._made.planes |= self.done
            self._made.limits = (seen["low"], seen["high"]) if seen else None


def landing_now(viewer: Viewer, job: Job) -> Landing:
    """Where the labels of a run go by now."""
    if job.asked is None:
        return job.landing
    image = None if job.image is None else job.image()
    return landing_by_now(viewer, image, job.asked, job.again, job.landing)
