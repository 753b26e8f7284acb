"""The one entry function: planes in, labels and measurements out, one step at a time.

The command line loops over :func:`segment_planes` with a progress bar, the widget hands the same
generator to napari's thread worker; ``yield`` is progress, and closing the generator cancels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.ais import ais_steps, check_mode
from napari_sam_amg.amg.assemble import Assembler, PlaneResult
from napari_sam_amg.amg.generate import candidate_steps, refilter
from napari_sam_amg.amg.guided import settled
from napari_sam_amg.amg.last_embedding import LastEmbedding
from napari_sam_amg.amg.magnify import magnified
from napari_sam_amg.amg.masks import Masks, no_masks
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import Index, PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange, Survey, nothing_in, percentile_range, survey, to_rgb
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.region import RegionCandidates, count_steps, finish, propose_steps, whole_plane
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.objects.linker import Linker, in_order, linked_axis
from napari_sam_amg.objects.support import eased
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.sam.scratch import keeps_scratch

__all__ = [
    "PlaneResult", "Step", "as_rgb", "generate_masks", "propose_candidates", "segment_planes", "survey_if_needed",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Progress after a batch of points; the last step of a plane brings its result."""

    done: int
    total: int
    result: PlaneResult | None = None


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
    spacing: float | None = None,
    axes: Sequence[str] | None = None,
    first: Index | None = None,
) -> Iterator[Step]:
    """Segment every plane of a stack.

    ``intensities`` maps pixel values to what the model sees; by default they are those of ``surveyed``, a survey of
    this stack, which is made if it is needed and not given. ``pixel_size`` (y, x) in physical units adds a column of
    that name to the features. ``crop_layers="auto"`` chooses by the plane that shows most, for the whole stack.
    The plane ``first`` is segmented before the others, which come in their order; ids count in the order of work.

    With ``params.link`` ids are those of objects through z, or through time. Results then come a few planes later, each
    with the rows of the objects that are complete (``PlaneResult.objects``), and in the order of the planes along that
    axis, without ``first``. ``axes`` names the stack's axes: it takes the one that is called "z" or "t"; a single axis
    needs no name. ``spacing``: from plane to plane along it, in the unit of ``pixel_size``.

    A plane is read when its turn comes, with those that share a chunk with it; a survey has read each once before. One
    with nothing in it has no labels and says so in ``nothing``, one that cannot be read or segmented in ``problem``.
    If that goes for all planes, what the first one raised is raised at the end, and no result is yielded. Running out
    of memory is raised at once.
    """
    check_mode(model, params)
    axis = None if params.link == "none" else linked_axis(params, axes, len(stack.stack_shape))
    surveyed = surveyed or survey_if_needed(stack, params, intensities)
    images = PlaneImages(stack, surveyed, intensities)
    params = eased(settled(params, model))
    if params.point_search == "guided" and params.mode == "amg":
        model = LastEmbedding(model)
    if params.crop_layers == "auto":  # what suits the plane that shows most, which then need not be read again
        params = magnified(images.fullest_image(), model, params)
    batches = count_steps(stack.plane_size, params)
    total = batches * len(stack.indices)
    units = Units(pixel_size, spacing, area_column)
    planes: _Planes = _Single(params, units) if axis is None else Linker(params, axis, units)
    for position, index in enumerate(_order(stack, axis, first)):
        done, candidates = position * batches, None
        for candidates in propose_steps(whole_plane(index, stack.plane_size), images, model, params):
            if candidates is None:
                done += 1
                yield Step(done, total)
        assert candidates is not None
        results = planes.add(candidates)
        # Not where the batches ended: a plane with nothing in it had none, and the bar must not stay behind.
        done = (position + 1) * batches
        if not results:
            yield Step(done, total)
        yield from (Step(done, total, result) for result in results)
    yield from (Step(total, total, result) for result in planes.end())


class _Planes(Protocol):
    """Candidates of planes to results, at once or later."""

    def add(self, candidates: RegionCandidates) -> list[PlaneResult]: ...

    def end(self) -> list[PlaneResult]:
        """What is left. Raises the first failure if no plane succeeded."""


class _Single:
    """Every plane by itself."""

    def __init__(self, params: AmgParameters, units: Units) -> None:
        self._params, self._units, self._assembler = params, units, Assembler(params)

    def add(self, candidates: RegionCandidates) -> list[PlaneResult]:
        units = self._units
        return self._assembler.add(finish(candidates, self._params, units.pixel_size, units.area_column))

    def end(self) -> list[PlaneResult]:
        self._assembler.check()
        return []


def _order(stack: PlaneStack, axis: int | None, first: Index | None) -> list[Index]:
    """Of work; ``axis`` is the one that is linked."""
    return sorted(stack.indices, key=lambda index: index != first) if axis is None else in_order(stack.indices, axis)


def survey_if_needed(stack: PlaneStack, params: AmgParameters, intensities: IntensityRange | None) -> Survey | None:
    """A look at all planes, where something depends on it: the intensities, or which plane the crop layer suits."""
    chooses_plane = params.crop_layers == "auto" and len(stack.indices) > 1
    return survey(stack) if intensities is None or chooses_plane else None


def generate_masks(image: NDArray[Any], model: Model, params: AmgParameters | None = None) -> Masks:
    """All masks of one image, the result of ``segment_anything.SamAutomaticMaskGenerator``.

    ``image``: (H, W, 3) uint8 RGB, used as it is; anything else that :class:`PlaneStack` takes as
    one plane is mapped to that by percentiles. ``params``: by default those that suit the model.
    """
    params = params or merged(model.info.amg_defaults)
    if params.mode == "ais":
        return _ais_masks(as_rgb(image), model, params)
    stored = propose_candidates(image, model, params)
    return refilter(stored, stored.params)


def _ais_masks(image: NDArray[np.uint8], model: Model, params: AmgParameters) -> Masks:
    check_mode(model, params)
    if nothing_in(image, image):
        return no_masks((image.shape[0], image.shape[1]))
    *_, masks = ais_steps(image, model, magnified(image, model, params))
    assert masks is not None
    return masks


def propose_candidates(image: NDArray[Any], model: Model, params: AmgParameters | None = None) -> StoredCandidates:
    """The candidates for the masks of one image, as :func:`generate_masks` takes it, before duplicates are removed.

    Run it with the weakest thresholds of interest; ``refilter`` then gives the masks for stricter
    ones in a fraction of the time: ``refilter(stored, replace(stored.params, pred_iou_thresh=0.6))``.
    """
    params = settled(params or merged(model.info.amg_defaults), model)
    if params.mode == "ais":
        raise ValueError("mode='ais' asks no points and has no candidates: use generate_masks or segment_planes")
    if params.point_search == "guided":
        model = LastEmbedding(model)
    rgb = as_rgb(image)
    if nothing_in(rgb, rgb):
        return StoredCandidates(magnified(None, model, params), rgb.shape[:2], ())
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
