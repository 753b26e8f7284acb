"""Results that a run meets: whether it replaces them, fills planes of theirs, goes on with them, or leaves them alone.

Nothing is lost that is not done again: what was edited by hand or renamed stays, and so do planes that are not run.
"""

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal
from weakref import ReferenceType, WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer

from napari_sam_amg.amg.planes import Index
from napari_sam_amg.amg.tally import Tally
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.plugin.reviewing.reviewed import reviewed
from napari_sam_amg.plugin.running.so_far import SoFar
from napari_sam_amg.plugin.running.source import SourceLayer
from napari_sam_amg.review.edits import HandEdits

if TYPE_CHECKING:
    from napari_sam_amg.review.kept import KeptRun

REPLACE, ADD = "replace results", "add a layer"
ADDED = "Adds a layer; the results before stay."
#: What a layer that replaces another one looks like.
LOOKS = ("visible", "opacity", "blending", "colormap", "contour", "rendering", "n_edit_dimensions", "brush_size")
_numbers = count()

Kind = Literal["add", "replace", "fill", "continue"]


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """All that decides about a run's labels. Two runs of equal ones give equal labels."""

    source: SourceLayer
    params: AmgParameters
    model: str
    precision: str
    use_contrast_limits: bool
    is_on_disk: bool = False
    model_file: tuple[object, ...] = ()  # what is known of the files that the model is made of

    def equals(self, other: "Settings") -> bool:
        """But for the planes that were left out since they were done."""
        return self._key() == other._key() and self.source.is_same_image(other.source)

    def _key(self) -> tuple[Any, ...]:
        limits = self.source.contrast_limits if self.use_contrast_limits else None
        part, model = self.source.part, (self.model, self.model_file, self.precision)
        return self.params, model, limits, part.at, dict(part.ranges), part.field, self.is_on_disk


@dataclass(slots=True, eq=False)
class Made:
    """What is known of a layer that a run has made, or was the last to fill."""

    image: "ReferenceType[Image]"
    settings: Settings
    number: int = field(default_factory=lambda: next(_numbers))  # runs in their order
    name: str = ""  # of the layer, as the run gave it
    planes: set[Index] = field(default_factory=set)  # that have results, of whichever run
    done: set[Index] = field(default_factory=set)  # by the last run
    used: AmgParameters | None = None  # by the last run
    limits: tuple[float, float] | None = None  # of intensities
    so_far: SoFar | None = None  # what the last run came to
    tally: Tally | None = None
    is_running: bool = True
    beside: "list[ReferenceType[Layer]]" = field(default_factory=list)  # layers that came with it

    @property
    def missing(self) -> list[Index]:
        """Of the last run, the planes that it did not do."""
        return [index for index in self.settings.source.stack.indices if index not in self.done]


_made: "WeakKeyDictionary[Labels, Made]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class Landing:
    """Where the labels of a run go."""

    kind: Kind = "add"
    layer: Labels | None = None  # that is replaced or filled
    note: str = ""  # why earlier results stay, if somebody might have expected otherwise
    done: frozenset[Index] = frozenset()  # planes that are not done again
    used: AmgParameters | None = None  # what the run that goes on was decided to use
    limits: tuple[float, float] | None = None
    kept: "KeptRun | None" = None  # its candidates
    before: Made | None = None  # the run that goes on

    @property
    def goes_on(self) -> bool:
        """With a run that was cancelled: in its layer, or, where planes are linked, in one that takes its place."""
        return self.kind == "continue" or self.kept is not None

    def tally(self) -> Tally:
        """That of the run that goes on, which counts on; else a new one."""
        before = self.before.tally if self.before is not None and self.kind == "continue" else None
        return before or Tally()

    @property
    def words(self) -> str:
        """What Run will do, as the widget says it."""
        name = "" if self.layer is None else f"'{self.layer.name}'"
        if self.goes_on:
            links = "" if self.kind == "continue" else ", and links all planes"
            return f"Does what is missing in {name}{links}."
        words = {"replace": f"Replaces {name}.", "fill": f"Goes into {name}; other planes stay."}
        return words.get(self.kind) or self.note or ADDED


def made(layer: Any) -> Made | None:
    """What is known of it; None for layers of no run of this session."""
    return _made.get(layer) if isinstance(layer, Labels) else None


def remember(layer: Labels, image: "ReferenceType[Image]", settings: Settings) -> Made:
    """A run has begun to fill this layer, which is in the viewer: a new one, or one of earlier results."""
    before = _made.get(layer)
    of_run = Made(image, settings, name=layer.name)
    if before is not None:
        of_run.planes, of_run.beside, of_run.name = before.planes, before.beside, before.name
    _made[layer] = of_run
    return of_run


def has_results(viewer: Viewer, image: Image) -> bool:
    """Whether a run of this session has made results of the image that are still there."""
    return any(known is not None and known.image() is image for known in map(made, viewer.layers))


def landing_of(viewer: Viewer, image: Image, settings: Settings, again: str) -> Landing:
    """Where a run with these settings would go. ``again``: REPLACE or ADD."""
    layer = _last(viewer, image, settings.source)
    known = made(layer)
    if layer is None or known is None or known.is_running:
        return Landing()
    if (going_on := _continued(layer, known, settings)) is not None:
        return going_on
    if again == ADD:
        return Landing()
    planes = set(settings.source.stack.indices)
    if layer.name != known.name:
        return Landing(note=f"'{layer.name}' was renamed, so it stays, and a layer is added.")
    may_fill = bool(settings.source.part.positions(settings.source.axes)) and _may_fill(layer, known, settings)
    if _is_edited(layer, planes if may_fill else None):
        return Landing(note=f"'{layer.name}' was edited by hand, so it stays, and a layer is added.")
    if may_fill:
        return Landing("fill", layer)
    if known.planes <= planes or known.settings.source.part.field is not None:
        return Landing("replace", layer)
    return Landing(note=f"'{layer.name}' has other planes, so it stays, and a layer is added.")


def landing_by_now(viewer: Viewer, image: Image | None, settings: Settings, again: str, asked: Landing) -> Landing:
    """The same of a run that was to go to ``asked`` when Run was pressed: results that were changed since stay."""
    if asked.layer is None or image is None:
        return Landing(note=asked.note)
    now = landing_of(viewer, image, settings, again)
    return now if now.layer in (asked.layer, None) else Landing()


def _last(viewer: Viewer, image: Image, source: SourceLayer) -> Labels | None:
    """The newest results of the same image, channel and kind of plane.

    A region is a trial: it never stands for the whole, but the whole comes after it.
    """
    found: list[tuple[bool, int, Labels]] = []
    for layer in viewer.layers:
        known = made(layer)
        if known is None or known.image() is not image:
            continue
        other = known.settings.source
        is_region, was_region = source.part.field is not None, other.part.field is not None
        if other.axes == source.axes and other.whole.fixed == source.whole.fixed and (was_region or not is_region):
            found.append((was_region == is_region, known.number, layer))
    return max(found, key=lambda entry: entry[:2])[2] if found else None


def _continued(layer: Labels, known: Made, settings: Settings) -> Landing | None:
    """What a cancelled run left, if this is the same run; results in a folder go on by themselves."""
    missing = known.missing
    if not known.settings.equals(settings) or not known.done or not missing or settings.is_on_disk:
        return None
    if settings.params.link != "none":
        return _linked_anew(layer, known)
    if (
        known.used is None
        or known.limits is None
        or not _fits(layer, settings.source)
        or _is_edited(layer, set(missing))
    ):
        return None
    review = reviewed(layer)
    if review.params not in (None, known.used):  # thresholds were moved: its planes would be of two kinds
        return None
    return Landing("continue", layer, "", frozenset(known.done), known.used, known.limits, review.kept, known)


def _linked_anew(layer: Labels, known: Made) -> Landing | None:
    """Objects are made of all planes, so their layer is; only planes that are missing are asked for."""
    kept = reviewed(layer).kept
    return None if kept is None or _is_edited(layer, None) else Landing("replace", layer, kept=kept, before=known)


def _is_edited(layer: Labels, planes: set[Index] | None) -> bool:
    """By hand, in one of these planes, or in any."""
    review = reviewed(layer)
    review.looked_at.emit()
    edits = review.edits
    if not isinstance(edits, HandEdits) or not edits:
        return False
    # what was deleted while it was hidden has changed no plane yet
    return planes is None or not edits.planes or bool(edits.planes & planes)


def _may_fill(layer: Labels, known: Made, settings: Settings) -> bool:
    """Whether planes of this run can stand beside those of the layer, in one table."""
    runs = (settings, known.settings)
    if any(run.params.link != "none" or run.is_on_disk for run in runs):
        return False
    source, before = settings.source, known.settings.source
    is_same = source.part.field == before.part.field and source.is_same_image(before)
    return is_same and _fits(layer, settings.source)


def _fits(layer: Labels, source: SourceLayer) -> bool:
    data = layer.data
    is_writable = isinstance(data, np.ndarray) and data.flags.writeable and data.dtype == np.int32
    return is_writable and data.shape == source.labels_shape and not source.is_single


def put_in_place_of(viewer: Viewer, old: Labels, new: Labels) -> None:
    """The new layer where the old one is, and as it looks; the old one goes, with what came beside it."""
    for name in LOOKS:
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))
    name, known = old.name, made(old)
    viewer.layers.insert(viewer.layers.index(old) + 1, new)
    for layer in [old, *(beside() for beside in (known.beside if known else []))]:
        if layer in viewer.layers:
            viewer.layers.remove(layer)
    new.name = name
