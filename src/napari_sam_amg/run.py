"""The one entry function: planes in, labels and measurements out, one step at a time.

The command line loops over :func:`segment_planes` with a progress bar, the widget hands the same
generator to napari's thread worker; ``yield`` is progress, and closing the generator cancels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_sam_amg.amg.generate import candidate_steps, cut_off, refilter
from napari_sam_amg.amg.guided import settled
from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.last_embedding import LastEmbedding
from napari_sam_amg.amg.magnify import magnified
from napari_sam_amg.amg.masks import Masks, no_masks
from napari_sam_amg.amg.plane_reader import PlaneReader
from napari_sam_amg.amg.planes import Index, PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange, Survey, nothing_in, percentile_range, survey, to_rgb
from napari_sam_amg.amg.propose import Model, count_batches
from napari_sam_amg.amg.seams import count_missing
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.table import plane_table
from napari_sam_amg.errors import LOGGER, in_words, is_out_of_memory
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.sam.scratch import keeps_scratch


@dataclass(frozen=True, slots=True, eq=False)
class PlaneResult:
    """One finished plane."""

    index: tuple[int, ...]  # along the stack's axes
    labels: NDArray[np.int32]  # (H, W), ids unique over the stack
    features: pd.DataFrame  # one row per label, see amg.table
    masks: Masks  # before overlaps were resolved
    params: AmgParameters  # those of the run, with crop_layers="auto" and a search that cannot be replaced
    problem: str = ""  # why the plane could not be segmented and has no labels; empty if it was
    nothing: str = ""  # why there was nothing to look for, so that the model was not asked; empty if there was
    image: NDArray[np.uint8] | None = None  # (H, W, 3) what the model sees; None if the plane could not be read
    too_large: int = 0  # objects without a label that may be larger than the crops of ``crop_layers="last"``


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Progress after a batch of points; the last step of a plane brings its result."""

    done: int
    total: int
    result: PlaneResult | None = None


#: What storage and models raise at one plane. Other errors, as those that cancel a run, end the run.
_PLANE_FAILURES = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


@keeps_scratch
def segment_planes(
    stack: PlaneStack,
    model: Model,
    params: AmgParameters,
    *,
    intensities: IntensityRange | None = None,
    surveyed: Survey | None = None,
    pixel_size: tuple[float, float] | None = None,
    area_column: str = "area_physical",
    first: Index | None = None,
) -> Iterator[Step]:
    """Segment every plane of a stack.

    ``intensities`` maps pixel values to what the model sees; by default they are those of ``surveyed``, a survey of
    this stack, which is made if it is needed and not given. ``pixel_size`` (y, x) in physical units adds a column of
    that name to the features. ``crop_layers="auto"`` chooses by the plane that shows most, for the whole stack.
    The plane ``first`` is segmented before the others, which come in their order; ids count in the order of work.

    A plane is read when its turn comes, with those that share a chunk with it; a survey has read each once before. One
    with nothing in it has no labels and says so in ``nothing``, one that cannot be read or segmented in ``problem``.
    If that goes for all planes, what the first one raised is raised at the end, and no result is yielded. Running out
    of memory is raised at once.
    """
    surveyed = surveyed or survey_if_needed(stack, params, intensities)
    planes = _Planes(stack, surveyed, intensities)
    params = settled(params, model)
    if params.point_search == "guided":
        model = LastEmbedding(model)
    if params.crop_layers == "auto":  # what suits the plane that shows most, which then need not be read again
        params = magnified(planes.fullest_image(), model, params)
    batches = count_batches(stack.plane_size, params)
    total = batches * len(stack.indices)
    assembler = _Assembler(params, pixel_size, area_column)
    waiting = _UntilOneSucceeds()
    for position, index in enumerate(sorted(stack.indices, key=lambda index: index != first)):
        done, found = position * batches, None
        for found in _plane_steps(planes, index, model, params):
            if found is None:
                done += 1
                yield Step(done, total)
        assert found is not None
        results = waiting.ready(assembler.result(index, found), found.failure)
        # Not where the batches ended: a plane with nothing in it had none, and the bar must not stay behind.
        done = (position + 1) * batches
        if not results:
            yield Step(done, total)
        yield from (Step(done, total, result) for result in results)
    waiting.check()


class _Assembler:
    """Makes results of what was found; it alone gives ids, which count on from plane to plane."""

    def __init__(self, params: AmgParameters, pixel_size: tuple[float, float] | None, area_column: str) -> None:
        self._params, self._pixel_size, self._area_column = params, pixel_size, area_column
        self._next_id = 1

    def result(self, index: Index, found: "_Found") -> PlaneResult:
        """Paint the masks of a plane and measure what of them is seen."""
        painted = paint(found.masks, self._params, self._next_id)
        features = plane_table(found.masks, painted, index, self._pixel_size, self._area_column, self._next_id)
        self._next_id += len(features)
        problem = "" if found.failure is None else in_words(found.failure)
        return PlaneResult(
            index, painted.labels, features, found.masks, self._params, problem, found.nothing, found.image,
            count_missing(found.parts, painted.labels),
        )  # fmt: skip


class _UntilOneSucceeds:
    """Holds back failed planes until one succeeds: if all fail, that is the failure of the run, and no result."""

    def __init__(self) -> None:
        self._waiting: list[PlaneResult] | None = []  # None once one has succeeded
        self._failure: Exception | None = None  # the first

    def ready(self, result: PlaneResult, failure: Exception | None) -> list[PlaneResult]:
        """The results that may be given away, now that this one is there too."""
        if self._waiting is None:
            return [result]
        if failure is None:
            ready, self._waiting = [*self._waiting, result], None
            return ready
        self._waiting.append(result)
        self._failure = self._failure or failure
        return []

    def check(self) -> None:
        """At the end: raise the first failure if no plane succeeded."""
        if self._waiting is not None and self._failure is not None:
            raise self._failure


def survey_if_needed(stack: PlaneStack, params: AmgParameters, intensities: IntensityRange | None) -> Survey | None:
    """A look at all planes, where something depends on it: the intensities, or which plane the crop layer suits."""
    chooses_plane = params.crop_layers == "auto" and len(stack.indices) > 1
    return survey(stack) if intensities is None or chooses_plane else None


class _Planes:
    """The planes of a run as the model sees them. One that was read ahead of its turn is not read again."""

    def __init__(self, stack: PlaneStack, surveyed: Survey | None, intensities: IntensityRange | None) -> None:
        self._reader = PlaneReader(stack)
        self._pixels: dict[Index, NDArray[Any]] = {}
        self._images: dict[Index, tuple[NDArray[np.uint8], str]] = {}
        self.size = stack.plane_size
        self.fullest: Index | None = stack.indices[0]
        if surveyed is not None:
            self.fullest = surveyed.fullest
            if surveyed.fullest is not None and surveyed.pixels is not None:
                self._pixels[surveyed.fullest] = surveyed.pixels
            intensities = intensities or surveyed.intensities
        assert intensities is not None
        self._intensities = intensities

    def image(self, index: Index) -> tuple[NDArray[np.uint8], str]:
        """The plane as (H, W, 3) RGB, and why there is nothing in it, if so."""
        return self._images.pop(index) if index in self._images else self._make(index)

    def fullest_image(self) -> NDArray[np.uint8] | None:
        """Of the plane that shows most; None if there is nothing in any."""
        if self.fullest is None:
            return None
        rgb, nothing = self._images[self.fullest] = self._make(self.fullest)
        return None if nothing else rgb

    def _make(self, index: Index) -> tuple[NDArray[np.uint8], str]:
        plane = self._pixels.pop(index) if index in self._pixels else self._read(index)
        rgb = to_rgb(plane, self._intensities)
        return rgb, nothing_in(plane, rgb)

    def _read(self, index: Index) -> NDArray[Any]:
        try:
            return self._reader.plane(index)
        except Exception as error:  # storage may raise anything
            if is_out_of_memory(error) or isinstance(error, _PLANE_FAILURES):
                raise
            raise OSError(in_words(error)) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What became of one plane."""

    masks: Masks
    parts: Masks  # of objects that crops cut, see generate.cut_off
    image: NDArray[np.uint8] | None
    nothing: str = ""
    failure: Exception | None = None


def _plane_steps(planes: _Planes, index: Index, model: Model, params: AmgParameters) -> Iterator[_Found | None]:
    """None after each batch of points, then what was found, also if that is nothing or a failure."""
    image, none = None, no_masks(planes.size)
    try:
        image, nothing = planes.image(index)
        if nothing:
            yield _Found(none, none, image, nothing)
            return
        for stored in candidate_steps(image, model, params):
            yield None if stored is None else _Found(refilter(stored, params), cut_off(stored, params), image)
    except _PLANE_FAILURES as error:
        if is_out_of_memory(error):
            raise
        LOGGER.debug("plane %s failed", index, exc_info=error)
        yield _Found(none, none, image, failure=error)


def generate_masks(image: NDArray[Any], model: Model, params: AmgParameters | None = None) -> Masks:
    """All masks of one image, the result of ``segment_anything.SamAutomaticMaskGenerator``.

    ``image``: (H, W, 3) uint8 RGB, used as it is; anything else that :class:`PlaneStack` takes as
    one plane is mapped to that by percentiles. ``params``: by default those that suit the model.
    """
    stored = propose_candidates(image, model, params)
    return refilter(stored, stored.params)


def propose_candidates(image: NDArray[Any], model: Model, params: AmgParameters | None = None) -> StoredCandidates:
    """The candidates for the masks of one image, as :func:`generate_masks` takes it, before duplicates are removed.

    Run it with the weakest thresholds of interest; ``refilter`` then gives the masks for stricter
    ones in a fraction of the time: ``refilter(stored, replace(stored.params, pred_iou_thresh=0.6))``.
    """
    params = settled(params or merged(model.info.amg_defaults), model)
    if params.point_search == "guided":
        model = LastEmbedding(model)
    rgb = as_rgb(image)
    if nothing_in(rgb, rgb):
        return StoredCandidates(magnified(None, model, params), rgb.shape[:2], model.mask_threshold, ())
    *_, stored = candidate_steps(rgb, model, magnified(rgb, model, params))
    assert stored is not None
    return stored


def as_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """One image as (H, W, 3) uint8: unchanged if it is that already, else mapped by percentiles."""
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        PlaneStack(image, rgb=True)  # the size check
        return image
    stack = PlaneStack(image, rgb=image.ndim == 3)
    return to_rgb(stack.plane(()), percentile_range(stack))
