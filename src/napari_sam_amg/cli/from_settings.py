"""``segment --settings FILE``: what no flag says is taken from a record or a file of settings. Free of torch."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.io.raw_image import check_axes
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
        choices = ", ".join(PRECISIONS)
        raise ValueError(
            f"{arguments.settings}: precision={arguments.precision!r} is not allowed: choose from {choices}"
        )
    arguments.intensities = arguments.intensities or settings.intensities
    try:
        reading = _reading(settings)
    except ValueError as error:
        raise ValueError(f"{arguments.settings}: {error}") from error
    for name in READING:
        if getattr(arguments, name) is None:
            setattr(arguments, name, reading.get(name))
    return settings


def _reading(settings: Settings) -> dict[str, Any]:
    """As the flags give it."""
    reading = {**settings.reading, **_read_from(settings.source)}
    letters = {name: check_axes(reading[name], name) for name in ("axes", "plane") if name in reading}
    return reading | letters | {"ranges": _ranges(reading.get("ranges", {}))}


def _known_name(name: str, arguments: argparse.Namespace) -> str:
    if name not in known_models():
        raise CheckpointError(
            f"{arguments.settings}: there is no model of the name {name!r}: give its file with --checkpoint, or "
            "another model with --model"
        )
    return name


def _ranges(said: Mapping[str, Any]) -> list[tuple[str, range]] | None:
    for letter, span in said.items():
        is_span = isinstance(span, list) and len(span) in (2, 3) and all(type(number) is int for number in span)
        if not (is_span and min(span[2:], default=1) > 0 and len(letter) == 1 and letter.isalpha()):
            raise ValueError(
                f"ranges={said!r} is not allowed: each axis, a letter, has [first, stop], two whole numbers"
            )
    return [(letter.upper(), range(*span)) for letter, span in said.items()] or None


def _read_from(source: Mapping[str, Any]) -> dict[str, Any]:
    """How a file is read that holds the layer of a run: which channel, and planes of which axes if not of Y and X."""
    names, channels = _table(source, "axes").get("names"), list(_table(source, "channel").values())
    found: dict[str, Any] = {"channel": channels[0]} if len(channels) == 1 else {}
    if isinstance(names, str) and len(names) == 2 and names.lower() != "yx":
        found["plane"] = names.upper()
    return found


def part_of(source: Mapping[str, Any]) -> str:
    """Which planes, and what of them, a run was on."""
    words = [f"planes {start} to {stop - 1} along axis {axis}" for axis, (start, stop) in _spans(source, "ranges")]
    if source.get("plane"):
        words.append(f"plane {', '.join(map(str, source['plane']))}")
    if source.get("region") is not None:
        (_, rows), (_, columns) = _spans(source, "region", ("rows", "columns"))
        region = _table(source, "region")
        inside = "a polygon in " if region.get("outline") else "shapes in " if region.get("outlines") else ""
        words.append(f"{inside}rows {rows[0]} to {rows[1] - 1} and columns {columns[0]} to {columns[1] - 1}")
    return ", ".join(words)


def _spans(
    source: Mapping[str, Any], key: str, names: Sequence[str] | None = None
) -> list[tuple[str, tuple[int, int]]]:
    """From, and the first one behind, by name."""
    said = _table(source, key)
    try:
        return [(name, (int(said[name][0]), int(said[name][1]))) for name in (said if names is None else names)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{key}={dict(said)!r} is not allowed: it must have whole numbers, from and to") from error


def _table(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    said = source.get(key, {})
    if not isinstance(said, Mapping):
        raise ValueError(f"{key}={said!r} is not allowed: it must be a table of names and values")
    return said


def check_model(settings: Settings, model: "Model") -> None:
    """A record's model must be the file that it was; one that a flag names may be any."""
    from napari_sam_amg.replay import check_same_model

    check_same_model(settings, model)
