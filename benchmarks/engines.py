"""Each engine as a function from a case to a job: loading comes first, the job is what is timed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Any

import torch
from torch import nn

from benchmarks.agreement import Records
from benchmarks.cases import MICRO_SAM, OURS, REFERENCE, Case
from benchmarks.images import sample_image, sample_planes
from benchmarks.models import our_encoder, our_model, reference_encoder, reference_model
from napari_sam_amg.amg.generate import refilter
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.params import AmgParameters, merged
from napari_sam_amg.review.kept import KeepingWork
from napari_sam_amg.run import generate_masks, propose_candidates, segment_planes
from napari_sam_amg.sam.config import ModelInfo
from napari_sam_amg.sam.model import STAYS_FLOAT32
from napari_sam_amg.sam.precision import choose_type, convert
from tests.reference.sam import REFERENCE_PARAMETERS

PLANES, PLANE_SIZE = 8, 512  # of ``default_planes``
PLANES_NAME = f"{PLANES} planes of {PLANE_SIZE} px"

Job = Callable[[], Records]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job, and what to watch while it runs."""

    job: Job
    encoder: nn.Module | None = None
    iou_head: nn.Module | None = None  # its output is the predicted IoU of each prompt: (P, 4)
    pred_iou_thresh: float = 0.0


def load(case: Case, engine: str) -> Loaded:
    """Build the model and the image."""
    if case.kind == "matmul":
        return Loaded(partial(_multiply, *torch.rand(2, case.size, case.size).unbind()))
    if case.kind == "encoder":
        encoder = (our_encoder if engine == OURS else reference_encoder)(case.model)
        dtype = choose_type(case.precision, torch.device("cpu"))
        convert(encoder, dtype, keep=STAYS_FLOAT32)
        return Loaded(partial(_encode, encoder, torch.randn(1, 3, case.size, case.size).to(dtype)), encoder)
    model = our_model(case.model, case.precision) if engine == OURS else reference_model(case.model)
    params = parameters(case, model.info if engine == OURS else our_model("embedded").info)
    if case.kind in ("refilter", "relabel"):
        return Loaded((_refilter if case.kind == "refilter" else _relabel)(case, model, params))
    job = _our_planes(case, model, params) if case.kind == "planes" else _AMG[engine](case, model, params)
    return Loaded(job, model.image_encoder, model.mask_decoder.iou_prediction_head, params.pred_iou_thresh)


def parameters(case: Case, info: ModelInfo) -> AmgParameters:
    """The embedded model's own thresholds, with what the case sets."""
    given = {
        "points_per_side": case.points, "crop_n_layers": case.crops, "pred_iou_thresh": case.pred_iou_thresh,
        "point_search": case.search,
    }  # fmt: skip
    # the peers have no crop_layers="auto"
    defaults = {**info.amg_defaults, "crop_layers": "all"}
    return merged(defaults, {name: value for name, value in given.items() if value is not None})


def _multiply(a: torch.Tensor, b: torch.Tensor) -> Records:
    torch.mm(a, b)
    return []


@torch.inference_mode()
def _encode(encoder: nn.Module, pixels: torch.Tensor) -> Records:
    encoder(pixels)
    return []


def _ours(case: Case, model: Any, params: AmgParameters) -> Job:
    image = sample_image(case.image, case.size)
    return lambda: generate_masks(image, model, params).to_coco()


def _our_planes(case: Case, model: Any, params: AmgParameters) -> Job:
    stack = PlaneStack(sample_planes(case.planes, case.size))

    def job() -> Records:
        results = (step.result for step in segment_planes(stack, model, params))
        return [record for result in results if result is not None for record in result.masks.to_coco()]

    return job


def default_planes(model: Any) -> Callable[[], list[Any]]:
    """The results of a stack of electron microscopy with all that the embedded model's own parameters do."""
    stack, params = PlaneStack(sample_planes(PLANES, PLANE_SIZE)), merged(model.info.amg_defaults)
    return lambda: [step.result for step in segment_planes(stack, model, params) if step.result is not None]


def _refilter(case: Case, model: Any, params: AmgParameters) -> Job:
    """Slightly stricter thresholds on stored candidates, with the masks made again."""
    stored = propose_candidates(sample_image(case.image, case.size), model, params)
    stricter = replace(params, pred_iou_thresh=params.pred_iou_thresh + 0.05)
    return lambda: refilter(stored, stricter).to_coco()


def _relabel(case: Case, model: Any, params: AmgParameters) -> Job:
    """Labels and table of a kept run, for other thresholds each time; a record for each label."""
    work = KeepingWork(ModelWork(model), params, params)
    stack = PlaneStack(sample_image(case.image, case.size), rgb=True)
    for _ in work.watch(segment_planes(stack, model, params, work=work)):
        pass
    assert work.kept is not None
    kept, values = work.kept, cycle((0.05, 0.0, 0.1))

    def job() -> Records:
        shown = kept.plane((), replace(kept.params, pred_iou_thresh=params.pred_iou_thresh + next(values)))
        return [{"label": label} for label in shown.features["index"]]

    return job


def _reference(case: Case, model: Any, params: AmgParameters) -> Job:
    from segment_anything import SamAutomaticMaskGenerator

    image = sample_image(case.image, case.size)
    values = {name: getattr(params, name) for name in REFERENCE_PARAMETERS}
    generator = SamAutomaticMaskGenerator(model, **values, output_mode="coco_rle")
    return partial(generator.generate, image)


def _micro_sam(case: Case, model: Any, params: AmgParameters) -> Job:
    """Given the grey image: micro-sam takes three channels for planes, and rescales intensities itself."""
    from micro_sam.instance_segmentation import AutomaticMaskGenerator
    from segment_anything import SamPredictor

    image = sample_image(case.image, case.size)[..., 0]
    made = ("points_per_side", "points_per_batch", "crop_n_layers", "crop_overlap_ratio", "stability_score_offset")
    filtered = ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh")
    generator = AutomaticMaskGenerator(SamPredictor(model), **{name: getattr(params, name) for name in made})

    def job() -> Records:
        generator.initialize(image)
        return list(generator.generate(**{name: getattr(params, name) for name in filtered}, output_mode="coco_rle"))

    return job


_AMG = {OURS: _ours, REFERENCE: _reference, MICRO_SAM: _micro_sam}
