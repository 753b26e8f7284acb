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

from napari_sam_amg.amg.generate import candidate_steps, mask_steps, refilter
from napari_sam_amg.amg.labels import paint
from napari_sam_amg.amg.magnify import magnified
from napari_sam_amg.amg.masks import Masks
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange, percentile_range, to_rgb
from napari_sam_amg.amg.propose import Model, count_batches
from napari_sam_amg.amg.stored import StoredCandidates
from napari_sam_amg.amg.table import plane_table
from napari_sam_amg.params import AmgParameters, merged


@dataclass(frozen=True, slots=True, eq=False)
class PlaneResult:
    """One finished plane."""

    index: tuple[int, ...]  # along the stack's axes
    labels: NDArray[np.int32]  # (H, W), ids unique over the stack
    features: pd.DataFrame  # one row per label, see amg.table
    masks: Masks  # before overlaps were resolved
    params: AmgParameters  # those of the run, with crop_layers="auto" replaced by what it chose
    problem: str = ""  # why the plane could not be segmented and has no labels; empty if it was


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Progress after a batch of points; the last step of a plane brings its result."""

    done: int
    total: int
    result: PlaneResult | None = None


def segment_planes(
    stack: PlaneStack,
    model: Model,
    params: AmgParameters,
    *,
    intensities: IntensityRange | None = None,
    pixel_size: tuple[float, float] | None = None,
    area_column: str = "area_physical",
    first: tuple[int, ...] | None = None,
) -> Iterator[Step]:
    """Segment every plane of a stack.

    ``intensities`` maps pixel values to what the model sees; by default percentiles of the whole
    stack. ``pixel_size`` (y, x) in physical units adds a column of that name to the features. The plane
    ``first`` is segmented before the others, which come in their order; ids count in the order of work.
    ``crop_layers="auto"`` chooses by the middle plane, for the whole stack. A plane is read when its
    turn comes and not before. Raises ``ValueError`` for images that
    cannot be segmented.
    """
    intensities = intensities or percentile_range(stack)
    middle = stack.indices[len(stack.indices) // 2]
    if params.crop_layers == "auto":
        params = magnified(to_rgb(stack.plane(middle), intensities), model, params)
    batches = count_batches(stack.plane_size, params)
    total, done, next_id = batches * len(stack.indices), 0, 1
    for index in sorted(stack.indices, key=lambda index: index != first):
        for masks in mask_steps(to_rgb(stack.plane(index), intensities), model, params):
            if masks is None:
                done += 1
                yield Step(done, total)
                continue
            painted = paint(masks, params, next_id)
            features = plane_table(masks, painted, index, pixel_size, area_column, next_id)
            next_id += len(features)
            yield Step(done, total, PlaneResult(index, painted.labels, features, masks, params))


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
    params = params or merged(model.info.amg_defaults)
    rgb = as_rgb(image)
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
