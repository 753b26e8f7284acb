"""Presets: settings by name, those built in and the user's own, which are files that the command line takes."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam_amg.models.registry import EMBEDDED, find_own, models_folder
from napari_sam_amg.settings import Settings, read_settings

FOLDER = "presets"  # in the models folder
OWN = "the model's own"
SUFFIXES = (".json", ".toml")
_NAME = re.compile(r"\w[\w .,()+-]{0,59}")


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings with a name. Parameters that it does not name are those that suit the model."""

    name: str
    settings: Settings
    about: str
    path: Path | None = None  # of the user's own


@dataclass(frozen=True, slots=True)
class OwnPresets:
    """What the presets folder holds, and a line for every file in it that is not as it should be."""

    presets: tuple[Preset, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """``embedded``: parameters with the built-in model; ``others``: with any other, whose thresholds are its own."""

    about: str
    embedded: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)


#: Numbers for the embedded model were chosen on crops of training images, see docs/presets.md; those for others, whose
#: thresholds stay, follow from what they are for: more points or crops where objects are small.
_BUILT_IN = {
    OWN: _BuiltIn("What the model was made with: a good beginning for every image."),
    "nuclei": _BuiltIn(
        "Only what the model is sure of, and no specks: fewer false objects, a few faint ones are missed.",
        {"pred_iou_thresh": 0.62, "min_mask_region_area": 30},
        {"min_mask_region_area": 30},
    ),
    "cells, dense": _BuiltIn(
        "Cells side by side: where outlines lie over each other the larger one is kept, so that no cell is in parts.",
        {"overlap": "large"},
        {"overlap": "large", "crop_n_layers": 1, "crop_layers": "all"},
    ),
    "organelles (EM)": _BuiltIn(
        "Sections: what lies partly under something else is kept, too.",
        {"min_visible_fraction": 0.3},
        {"min_visible_fraction": 0.3, "points_per_side": 48},
    ),
    "everything": _BuiltIn(
        "All that might be an object, doubtful ones too, at the price of time and of false ones.",
        {"pred_iou_thresh": 0.44, "stability_score_thresh": 0.25, "coarse_points_per_side": 32},
        {"points_per_side": 64, "min_visible_fraction": 0.3, "crop_n_layers": 1, "crop_layers": "all"},
    ),
}


def built_in(model: str) -> tuple[Preset, ...]:
    """Those for a model, a known name or a path; the first is the model's own settings."""
    is_ours = model == EMBEDDED or find_own(model) is not None
    return tuple(
        Preset(name, Settings(parameters=kind.embedded if is_ours else kind.others), kind.about)
        for name, kind in _BUILT_IN.items()
    )


def presets_folder() -> Path:
    """``CheckpointError`` where there is no home folder."""
    return models_folder() / FOLDER


def own_presets() -> OwnPresets:
    """The user's own, by name. A file that is wrong is left out, and nothing else suffers from it."""
    try:
        files = sorted(path for path in presets_folder().iterdir() if path.suffix.lower() in SUFFIXES)
    except FileNotFoundError:
        return OwnPresets()
    except (OSError, ValueError) as error:
        return OwnPresets(problems=(f"The presets cannot be read: {error}",))
    found, problems = [], []
    for path in files:
        if path.name.startswith("."):
            continue
        try:
            settings = read_settings(path)
            settings.params()  # together they may still not be allowed
            found.append(Preset(path.stem, settings, f"Your own, {path}", path))
        except ValueError as error:
            problems.append(
                f"Preset left out: {error}" if str(path) in str(error) else f"Preset left out: {path}: {error}"
            )
    return OwnPresets(tuple(found), tuple(problems))


def save_preset(name: str, model: str, precision: str, parameters: Mapping[str, Any]) -> Path:
    """Write a preset, whole or not at all; one of the same name is replaced. ``ValueError`` or ``OSError``."""
    check_name(name)
    folder = presets_folder()
    folder.mkdir(parents=True, exist_ok=True)
    record = {"model": model, "precision": precision, "parameters": dict(parameters)}
    path = folder / f"{name.strip()}.json"
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    os.replace(part, path)
    return path


def check_name(name: str) -> None:
    """``ValueError`` for what cannot be the name of a preset, which is that of its file, too."""
    plain = name.strip()
    if not _NAME.fullmatch(plain) or plain.endswith("."):
        raise ValueError(
            f"{name!r} is no name for a preset: letters, digits, spaces and . , ( ) + - are allowed, 60 at most"
        )
    if plain.casefold() in _BUILT_IN:
        raise ValueError(f"{plain!r} is built in: choose another name")
