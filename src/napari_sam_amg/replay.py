"""A run again, by its record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from napari_sam_amg.amg.planes import PlaneStack
from napari_sam_amg.amg.preprocess import IntensityRange
from napari_sam_amg.amg.propose import Model
from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.run import Step, segment_planes
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
    segmented. ``axes``: the names of its axes, where objects go through one of several. ``model``: by default the one
    that the record names, which must be the same file.
    """
    settings = record if isinstance(record, Settings) else settings_of(record)
    if model is None:
        model = _load(settings, device)
    intensities = settings.intensities or settings.seen
    return segment_planes(
        stack,
        model,
        settings.params(model.info.amg_defaults),
        intensities=None if intensities is None else IntensityRange(*intensities),
        axes=axes,
        first=settings.first,
    )


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
