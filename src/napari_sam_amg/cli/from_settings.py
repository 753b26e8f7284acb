"""``segment --settings FILE``: what no flag says is taken from a record or a file of settings. Free of torch."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.models.registry import CheckpointError, known_models
from napari_sam_amg.sam.precision import PRECISIONS
from napari_sam_amg.settings import READING, Settings, read_settings

if TYPE_CHECKING:
    from napari_sam_amg.amg.propose import Model

SETTINGS_HELP = (
    "settings to begin with, which flags override: the record of an earlier run (NAME_run.json), that of a layer saved "
    "in napari (NAME.json), or a JSON or TOML file of one's own with some of model, precision, parameters, intensities "
    "and the flags of reading"
)


def take_settings(arguments: argparse.Namespace) -> Settings:
    """Fill in what no flag has said, but for the parameters, which wait for the model. ``ValueError`` if it is bad."""
    settings = Settings() if arguments.settings is None else read_settings(arguments.settings)
    if arguments.model is not None or arguments.checkpoint is not None:
        settings = replace(settings, model="", sha256="")
    elif settings.model and settings.model not in known_models() and Path(settings.model).is_file():
        arguments.checkpoint = Path(settings.model)  # as napari saves a model that was chosen by its file
    elif settings.model:
        arguments.model = _known_name(settings.model, arguments)
    arguments.precision = arguments.precision or settings.precision or PRECISIONS[0]
    if arguments.precision not in PRECISIONS:
        raise ValueError(f"precision={arguments.precision!r} is not allowed: choose from {', '.join(PRECISIONS)}")
    arguments.intensities = arguments.intensities or settings.intensities
    reading = {**settings.reading, "ranges": _ranges(settings.reading.get("ranges", {}))}
    for name in READING:
        if getattr(arguments, name) is None:
            setattr(arguments, name, reading.get(name))
    return settings


def _known_name(name: str, arguments: argparse.Namespace) -> str:
    if name not in known_models():
        raise CheckpointError(
            f"{arguments.settings}: there is no model of the name {name!r}: give its file with --checkpoint, or "
            "another model with --model"
        )
    return name


def _ranges(said: Mapping[str, Any]) -> list[tuple[str, range]] | None:
    try:
        return [(str(letter), range(*span)) for letter, span in said.items()] or None
    except (TypeError, ValueError) as error:
        raise ValueError(f"ranges={said!r} is not allowed: each axis has [first, stop]") from error


def check_model(settings: Settings, model: "Model") -> None:
    """A record's model must be the file that it was; one that a flag names may be any."""
    from napari_sam_amg.replay import check_same_model

    check_same_model(settings, model)
