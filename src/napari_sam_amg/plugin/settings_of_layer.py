"""The settings of a layer's run, put back into the widget."""

import dataclasses
from typing import TYPE_CHECKING

from napari.layers import Labels

from napari_sam_amg.plugin.image_box import ALL_PLANES, CONTRAST, PERCENTILE, THIS_PLANE
from napari_sam_amg.settings import METADATA_KEY, Settings, settings_of

if TYPE_CHECKING:
    from napari_sam_amg.plugin.widget import SegmentPanel


def take_settings(panel: "SegmentPanel", layer: Labels) -> str:
    """Choose in the widget what the run of ``layer`` was made with; returns what was done, in words.

    Raises ``ValueError`` for a record that says no settings, or such that are not allowed.
    """
    record = layer.metadata[METADATA_KEY]
    settings = settings_of(record)
    missing = [*_model(panel, settings), *_parameters(panel, settings), *_intensities(panel, settings)]
    if settings.precision:
        panel.model_box.precision.setCurrentText(settings.precision)
    is_one_plane = record.get("source", {}).get("plane") is not None
    panel.image_box.planes.setCurrentText(THIS_PLANE if is_one_plane else ALL_PLANES)
    return " ".join([f"These are the settings of '{layer.name}'.", *missing])


def _model(panel: "SegmentPanel", settings: Settings) -> list[str]:
    """Before the parameters: it sets those that suit it."""
    box = panel.model_box.model
    if box.findText(settings.model) < 0:
        return [f"Choose the model {settings.model!r} by its file."]
    box.setCurrentText(settings.model)
    return []


def _parameters(panel: "SegmentPanel", settings: Settings) -> list[str]:
    values = dataclasses.asdict(settings.params())
    for name, field in panel.form.fields.items():
        if values[name] is not None:
            field.set(values[name])
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
