"""The one entry function: planes in, labels and measurements out, one step at a time.

The command line loops over :func:`segment_planes` with a progress bar, the widget hands the same
generator to napari's thread worker; ``yield`` is progress, and closing the generator cancels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam_amg.amg.ais import ais_steps, check_mode
from napari_sam_amg.amg.assemble import PlaneResult
from napari_sam_amg.amg.generate import candidate_steps, refilter
from napari_sam_amg.amg.guided import settled
from napari_sam_amg.amg.last_embedding import LastEmbedding
from napari_sam_amg.amg.magnify import magnified
from napari_sam_amg.amg.masks import Masks, no_masks
from napari_sam_amg.amg.plane_images import PlaneImages
from napari_sam_amg.amg.planes import Index, PlaneStack, may_tile
from napari_sam_amg.amg.preprocess import IntensityRange, Survey, nothing_in, percentile_range, survey_steps, to_rgb
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.region import count_steps
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.tiling import in_turn, regions
from napari_sam_amg.amg.work import ModelWork, Work
from napari_sam_amg.checks import check_kind, shown
from napari_sam_amg.objects.axes import check_names_of_axes, in_order, linked_axis
from napari_sam_amg.objects.results import results_of
from napari_sam_amg.objects.support import eased
from napari_sam_amg.objects.table import Units
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.sam.scratch import keeps_scratch

__all__ = [
    "PlaneResult", "Step", "as_rgb", "generate_masks", "parameters_for", "propose_candidates", "segment_planes",
    "survey_if_needed",
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
    params: AmgParameters | None = None,
    *,
    intensities: IntensityRange | None = None,
    surveyed: Survey | None = None,
    units: Units | None = None,
    axes: Sequence[str] | None = None,
    first: Index | None = None,
    work: Work | None = None,
) -> Iterator[Step]:
    """Segment every plane of a stack.

    ``params``: by default those that suit the model, see :func:`parameters_for`. ``intensities`` maps pixel values to
    what the model sees; by default they are those of ``surveyed``, a survey of this stack, which is made if it is
    needed and not given. ``units`` says how large pixels are, which adds columns in
    physical units. ``crop_layers="auto"`` chooses by the plane that shows most, for the whole stack.
    The plane ``first`` is segmented before the others, which come in their order; ids count in the order of work.

    With ``params.link`` ids are those of objects through z, or through time. Results then come a few planes later, each
    with the rows of the objects that are complete (``PlaneResult.objects``), and in the order of the planes along that
    axis, without ``first``. ``axes`` names the stack's axes: it takes the one that is called "z" or "t"; a single axis
    needs no name.

    A plane is read when its turn comes, with those that share a chunk with it; a survey has read each once before. One
    with nothing in it has no labels and says so in ``nothing``, one that cannot be read or segmented in ``problem``.
    If that goes for all planes, what the first one raised is raised at the end, and no result is yielded. Running out
    of memory is raised at once, and ``ValueError`` for arguments that do not fit the stack. ``work`` stands in for the
    model where that is asked: work that is kept in files and continued, see :mod:`napari_sam_amg.jobs`.
    """
    params = _checked(stack, model, params)
    check_mode(model, params)
    _check_given(stack, intensities, surveyed, units, axes, work)
    first = None if first is None else stack.check_index("first", first)
    axis = None if params.link == "none" else linked_axis(params, axes, len(stack.stack_shape))
    surveyed = surveyed or survey_if_needed(stack, params, intensities)
    images = PlaneImages(stack, surveyed, intensities)
    work = work or ModelWork(model)
    params = work.decide(images, eased(params))
    grids = [regions(index, stack.plane_size, params) for index in in_order(stack.indices, axis, first)]
    turns = [region for grid in grids for region in in_turn(grid)]
    total = sum(count_steps(region.size, params) for region in turns)
    found = results_of(params, axis, units or Units())
    proposed, ended = work.propose(turns, images, params), 0
    for grid in grids:
        found.begin(grid)
        for region in in_turn(grid):
            done, candidates = ended, None
            for candidates in proposed:
                if candidates is not None:
                    break
                done += 1
                yield Step(done, total)
            assert candidates is not None
            results = found.add(candidates)
            # Not where the batches ended: a region with nothing in it had none, and the bar must not stay behind.
            ended += count_steps(region.size, params)
            if not results:
                yield Step(ended, total)
            yield from (Step(ended, total, result) for result in results)
    yield from (Step(total, total, result) for result in found.end())


def survey_if_needed(
    stack: PlaneStack,
    params: AmgParameters,
    intensities: IntensityRange | None,
    watch: Callable[[], object] = lambda: None,
) -> Survey | None:
    """A look at all planes, where something depends on it: the intensities, or which plane the crop layer suits.

    Of planes that are taken tile by tile it also tells which pixels are hot, and where most is to be seen. ``watch``
    is called after every plane, and may raise to stop that.
    """
    chooses_plane = params.crop_layers == "auto" and len(stack.indices) > 1
    is_needed = intensities is None or chooses_plane or may_tile(stack.plane_size, params)
    found = None
    for step in survey_steps(stack) if is_needed else ():
        found = step
        watch()
    return found


def parameters_for(model: Model, **given: Any) -> AmgParameters:
    """The parameters that suit a model, but for those that are given by name: ``parameters_for(model, link="z")``.

    ``ValueError`` for a name that is no parameter, a value that is not allowed, and what is no model.
    """
    if not hasattr(model, "info"):
        raise ValueError(f"model={model!r} is not allowed: it must be loaded, by load_model, for one")
    return merged(model.info.amg_defaults, given)


def _checked(stack: Any, model: Model, params: Any) -> AmgParameters:
    """The parameters. ``ValueError`` for arguments of other kinds, which would fail far from here."""
    own = parameters_for(model)
    if not isinstance(stack, PlaneStack):
        raise ValueError(f"a stack of type {type(stack).__name__} is not allowed: write PlaneStack(array)")
    if params is not None and not isinstance(params, AmgParameters):
        raise ValueError(f"params={params!r} is not allowed: give AmgParameters, or parameters_for(model, ...)")
    return own if params is None else params


def _check_given(
    stack: PlaneStack,
    intensities: IntensityRange | None,
    surveyed: Survey | None,
    units: Units | None,
    axes: Sequence[str] | None,
    work: Work | None,
) -> None:
    for name, value, kind, allowed in (
        ("intensities", intensities, IntensityRange, "IntensityRange(black, white)"),
        ("surveyed", surveyed, Survey, "a Survey of this stack"),
        ("units", units, Units, "Units(pixel_size, spacing)"),
        ("axes", axes, Sequence, "a name for each axis of the stack"),
    ):
        if value is not None:
            check_kind(name, value, kind, allowed)
    if work is not None and not hasattr(work, "propose"):
        raise ValueError(f"work={shown(work)} is not allowed: it must have the methods of napari_sam_amg.amg.work.Work")
    if axes is not None:
        check_names_of_axes(axes, len(stack.stack_axes))
    for index in () if surveyed is None else surveyed.shown:
        if len(index) != len(stack.stack_axes):
            raise ValueError(f"surveyed shows plane {index}, and this stack has {len(stack.stack_axes)} axes of planes")


def generate_masks(image: NDArray[Any], model: Model, params: AmgParameters | None = None) -> Masks:
    """All masks of one image, the result of ``segment_anything.SamAutomaticMaskGenerator``.

    ``image``: (H, W, 3) uint8 RGB, used as it is; anything else that :class:`PlaneStack` takes as
    one plane is mapped to that by percentiles. ``params``: by default those that suit the model.
    """
    params = _checked(_one_plane(image), model, params)
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
    params = settled(_checked(_one_plane(image), model, params), model)
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


def _one_plane(image: NDArray[Any]) -> PlaneStack:
    return PlaneStack(image, rgb=len(getattr(image, "shape", ())) == 3)


def as_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """One image as (H, W, 3) uint8: unchanged if it is that already, else mapped by percentiles."""
    stack = _one_plane(image)
    if stack.rgb and image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    return to_rgb(stack.plane(()), percentile_range(stack))
