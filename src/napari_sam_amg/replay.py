"""A run again, by its record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.amg.field import Field, cut_stack
from napari_sam_amg.amg.field_work import FieldWork, survey_of_part
from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange, Survey, survey
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.amg.work import ModelWork
from napari_sam_amg.checks import check_kind
from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.run import Step, parameters_for, segment_planes
from napari_sam_amg.settings import Settings, settings_of


def segment_again(
    stack: PlaneStack,
    record: Mapping[str, Any] | Settings,
    model: Model | None = None,
    device: str = "auto",
    axes: Sequence[str] | None = None,
) -> Iterator[Step]:
    """The steps of :func:`segment_planes` with the settings of a record: on the same image its labels, with their ids.

    ``record``: what NAME_run.json or NAME.json holds, or a layer's metadata. ``stack``: the planes that were
    segmented, whole ones; of a region of them the labels have its size. ``axes``: the names of its axes, where objects
    go through one of several. ``model``: by default the one that the record names, which must be the same file.
    """
    check_kind("stack", stack, PlaneStack, "PlaneStack(array)")
    settings = record if isinstance(record, Settings) else settings_of(record)
    if model is None:
        model = _load(settings, device)
    parameters_for(model)  # raises for what is no model
    params, part = settings.params(model.info.amg_defaults), _part(stack, settings)
    intensities = settings.intensities or settings.seen
    return segment_planes(
        stack if part is None else part.stack,
        model,
        params,
        intensities=None if intensities is None else IntensityRange(*intensities),
        surveyed=None if part is None else part.surveyed,
        axes=axes,
        # the plane in sight was recorded also where it was none of those that were segmented
        first=settings.first if settings.first in stack.indices else None,
        work=None if part is None else FieldWork(ModelWork(model), part.field, params),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    field: Field
    stack: PlaneStack
    surveyed: Survey  # of the whole planes: the part looks as in them


def _part(stack: PlaneStack, settings: Settings) -> _Part | None:
    if settings.region is None:
        return None
    field = Field.of(settings.region)
    cut = cut_stack(stack, field)
    return _Part(field, cut, survey_of_part(survey(stack), cut))


def _load(settings: Settings, device: str) -> Model:
    from napari_sam_amg.models.checkpoint import load_model

    model = load_model(settings.model or "embedded", device, precision=settings.precision or "exact")
    check_same_model(settings, model)
    return model


def check_same_model(settings: Settings, model: Model) -> None:
    """``CheckpointError`` if a record names a model of another hash than the one that was loaded in its place."""
    if settings.sha256 and settings.sha256 != model.info.sha256:
        raise CheckpointError(
            f"model {settings.model!r} is not the one of the record any more: its sha256 is {model.info.sha256}, "
            f"recorded is {settings.sha256}; name the model to use this one all the same"
        )
