"""The settings of a layer's run, put back into the widget."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_sam_amg.amg.field import Field
from napari_sam_amg.plugin.choices.image_box import CONTRAST, PERCENTILE
from napari_sam_amg.settings import METADATA_KEY, Settings, settings_of

if TYPE_CHECKING:
    from napari_sam_amg.plugin.panel import SegmentPanel


def take_settings(panel: "SegmentPanel", layer: Labels) -> str:
    """Choose in the widget what the run of ``layer`` was made with; returns what was done, in words.

    Raises ``ValueError`` for a record that says no settings, or such that are not allowed.
    """
    record = layer.metadata[METADATA_KEY]
    settings = settings_of(record)
    missing = [*_model(panel, settings), *_parameters(panel, settings), *_intensities(panel, settings)]
    if settings.precision:
        panel.model_box.precision.setCurrentText(settings.precision)
    _part(panel, record.get("source", {}), layer.name)
    return " ".join([f"These are the settings of '{layer.name}'.", *missing])


def _part(panel: "SegmentPanel", source: Mapping[str, Any], name: str) -> None:
    """Which planes, and what of them; the plane of a single one is the one in sight."""
    box = panel.image_box
    ranges = {int(axis): range(*positions) for axis, positions in source.get("ranges", {}).items()}
    box.plane_rows.take(source.get("plane") is not None, ranges)
    region = source.get("region")
    box.region_rows.take(None if region is None else Field.of(region), name)


def _model(panel: "SegmentPanel", settings: Settings) -> list[str]:
    """Before the parameters: it sets those that suit it."""
    box = panel.model_box.model
    if box.findText(settings.model) < 0:
        return [f"Choose the model {settings.model!r} by its file."]
    box.setCurrentText(settings.model)
    return []


def _parameters(panel: "SegmentPanel", settings: Settings) -> list[str]:
    values = dataclasses.asdict(settings.params())
    panel.form.take({name: values[name] for name in panel.form.fields if values[name] is not None})
    return ["Its own point grids can be given in Python only."] if values["point_grids"] is not None else []


def _intensities(panel: "SegmentPanel", settings: Settings) -> list[str]:
    """Numbers can be had as the contrast limits of the image."""
    box, image = panel.image_box, panel.image_box.layer
    box.intensities.setCurrentText(PERCENTILE if settings.intensities is None else CONTRAST)
    if settings.intensities is None or image is None or tuple(image.contrast_limits) == settings.intensities:
        return []
    image.contrast_limits = settings.intensities
    low, high = settings.intensities
    return [f"The contrast limits of '{image.name}' were set to {low:g} and {high:g}."]
