"""Settings out of files: of a run, by its record, or of one's own. And in which settings two runs differ.

A record is what the command line writes (NAME_run.json), what is saved with a labels layer (NAME.json), or what the
layer has in its metadata. A file of one's own, JSON or TOML, has some of the same keys, for one::

    model = "vit_b_lm"
    intensities = [100, 4000]
    [parameters]
    pred_iou_thresh = 0.6
"""

import dataclasses
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam_amg.checks import check_kind, check_path, shown
from napari_sam_amg.params import AmgParameters, check_names, check_value, merged, whole_numbers

METADATA_KEY = "napari-sam-amg"  # of a layer's metadata
#: How an image is read: keys of a record, and flags of the command line by the same names.
READING = ("channel", "series", "axes", "plane", "ranges", "pixel_size", "z_spacing")
_KEYS = ("model", "precision", "parameters", "intensities", *READING)


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides about the result, besides the image."""

    model: str = ""  # a name; empty: not said
    sha256: str = ""  # of its file, if it must be that one
    precision: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_whole: bool = False  # of a run: what is not among the parameters did not exist yet
    intensities: tuple[float, float] | None = None  # None: percentiles of the image
    reading: Mapping[str, Any] = field(default_factory=dict)
    #: Of a run on a part of an image: what the percentiles of all of it were.
    seen: tuple[float, float] | None = None
    first: tuple[int, ...] | None = None  # the plane that was segmented before the others
    region: Mapping[str, Any] | None = None  # of every plane, as ``amg.field.Field`` records it; None: all of it
    source: Mapping[str, Any] = field(default_factory=dict)  # of a run on a layer: what of it was segmented

    def params(
        self, defaults: Mapping[str, Any] | None = None, given: Mapping[str, Any] | None = None
    ) -> AmgParameters:
        """The parameters: on top of the ``defaults`` of a model, unless they are whole, and below what is ``given``."""
        values = whole_numbers(self.parameters)
        return overridden(AmgParameters(**values) if self.is_whole else merged(defaults or {}, values), given or {})


def overridden(params: AmgParameters, given: Mapping[str, Any]) -> AmgParameters:
    """With some parameters replaced; points along each side replace explicit grids."""
    values = dataclasses.asdict(params)
    if given.get("points_per_side") is not None and "point_grids" not in given:
        values["point_grids"] = None
    return merged(values, given)


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """Settings out of a record (NAME_run.json, NAME.json), or a file of one's own, JSON or TOML.

    ``ValueError`` names the file and what is wrong with it.
    """
    check_path("path", path)
    try:
        return settings_of(read_record(path))
    except ValueError as error:
        raise ValueError(error if str(path) in str(error) else f"{path}: {error}") from error


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says, JSON or TOML. ``ValueError`` if it is neither."""
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")  # Windows' Notepad puts a mark in front of UTF-8
        record = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # the latter of thousands of brackets in brackets
        raise ValueError(f"{path} is no file of settings, JSON or TOML: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} is no file of settings: it holds a {type(record).__name__}")
    return record


def settings_of(record: Mapping[str, Any]) -> Settings:
    """Of a record, a layer's metadata, or what a file of one's own says. ``ValueError`` for what is not allowed."""
    check_kind("record", record, Mapping, "a table of names and values")
    run = run_of(record)
    if run is None:
        return _own(record)
    source = _mapping(run, "source")
    model, intensities = _mapping(run, "model"), run.get("intensities")
    reading = {} if source else {name: run[name] for name in READING if run.get(name) is not None}
    return Settings(
        str(model.get("name", "")),
        str(model.get("sha256", "")),
        str(run.get("precision", "")),
        _known(_mapping(run, "parameters")),
        True,
        _intensities(intensities),
        _checked_reading(reading),
        _seen(intensities) if any(source.get(part) is not None for part in ("plane", "ranges", "region")) else None,
        _first(source),
        _mapping(source, "region") if source.get("region") is not None else None,
        source,
    )


def _first(source: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Among the planes that were segmented, which may be a range of those that there are."""
    if source.get("first") is None:
        return None
    ranges = _mapping(source, "ranges")
    try:
        axes = _mapping(source, "axes").get("stack", range(len(source["first"])))
        return tuple(int(at) - ranges.get(str(axis), [0])[0] for at, axis in zip(source["first"], axes, strict=True))
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(
            f"first={shown(source['first'])} is not allowed with the axes and ranges of this source: it must be the "
            "position of a plane along each of them"
        ) from error


def run_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of a record that says what was asked; None if it is no record of a run.

    ``ValueError`` for labels that no run has found.
    """
    if METADATA_KEY in record:
        record = _mapping(record, METADATA_KEY)
    if isinstance(settings := record.get("settings"), Mapping):
        return settings
    if "run" in record:
        if record["run"] is None:
            raise ValueError("these labels were not found by a run, so there are no settings")
        record = _mapping(record, "run")
    return record if {"model", "parameters", "versions"} <= record.keys() else None


def _own(said: Mapping[str, Any]) -> Settings:
    """Of a file of one's own."""
    for key in said:
        if key not in _KEYS:
            raise ValueError(f"{key!r} is no setting: allowed are {', '.join(_KEYS)}")
    model, precision = said.get("model", ""), said.get("precision", "")
    name, sha256 = (model.get("name", ""), model.get("sha256", "")) if isinstance(model, dict) else (model, "")
    for key, value in (("model", name), ("precision", precision)):
        if not isinstance(value, str):
            raise ValueError(f"{key}={value!r} is not allowed: it must be a name")
    reading = _checked_reading({key: said[key] for key in READING if said.get(key) is not None})
    intensities = _intensities(said.get("intensities"))
    return Settings(name, sha256, precision, _known(_mapping(said, "parameters")), False, intensities, reading)


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}={value!r} is not allowed: it must be a table of names and values")
    return value


def _known(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by name, each of them checked."""
    check_names(parameters)
    return {name: check_value(name, value) for name, value in whole_numbers(parameters).items()}


def _intensities(said: Any) -> tuple[float, float] | None:
    """What was asked: None, a pair, or, as records have what was used, a table that says where it came from."""
    if said is None or (isinstance(said, Mapping) and said.get("from") == "percentiles"):
        return None
    values = [said.get("low"), said.get("high")] if isinstance(said, Mapping) else said
    pair = _pair(*values) if isinstance(values, list | tuple) and len(values) == 2 else None
    if pair is None or not -math.inf < pair[0] < pair[1] < math.inf:
        raise ValueError(f"intensities={shown(said)} is not allowed: it must be two numbers, [black, white], rising")
    return pair


def _seen(said: Any) -> tuple[float, float] | None:
    """What was used, wherever it came from."""
    return _pair(said.get("low"), said.get("high")) if isinstance(said, Mapping) else None


def _pair(low: Any, high: Any) -> tuple[float, float] | None:
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high))
    return (float(low), float(high)) if are_numbers else None


_READING_TYPES: dict[str, tuple[type, ...]] = {
    "channel": (int,), "series": (int,), "axes": (str,), "plane": (str,), "ranges": (dict,),
    "pixel_size": (float, int), "z_spacing": (float, int),
}  # fmt: skip
_READING_WORDS = {int: "a whole number from 0", str: "letters", dict: "a table of axes", float: "a positive number"}


def _checked_reading(reading: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in reading.items():
        is_good = isinstance(value, _READING_TYPES[key]) and not isinstance(value, bool)
        if _READING_TYPES[key] == (int,):
            is_good = is_good and value >= 0
        elif float in _READING_TYPES[key]:
            is_good = is_good and 0 < value < math.inf
        if not is_good:
            words = _READING_WORDS[_READING_TYPES[key][0]]
            raise ValueError(f"{key}={shown(value)} is not allowed: it must be {words}")
    return dict(reading)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Of two records, or files of one's own: the name of each setting that differs, and both values.

    None stands for what is not there. Settings come first, then the image, then what computed it.
    """
    before, after = dict(_said(first)), dict(_said(second))
    names = [*before, *(name for name in after if name not in before)]
    pairs = [(name, before.get(name), after.get(name)) for name in names]
    return sorted((pair for pair in pairs if _plain(pair[1]) != _plain(pair[2])), key=lambda pair: _group(pair[0]))


def _said(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything that may have made a difference, by name."""
    asked = run_of(record)
    settings = asked or record
    yield from _flat("", {key: settings[key] for key in _KEYS if key in settings and key != "intensities"})
    if asked is None:
        yield "intensities", record.get("intensities")
        return
    whole: Mapping[str, Any] = record.get(METADATA_KEY, record)
    whole = whole if "settings" in whole else asked
    yield from _flat("intensities", whole.get("intensities"))
    yield from _flat("used", whole.get("parameters_used", {}))
    yield from _flat("image", whole.get("input", whole.get("source", {})))
    yield "device", whole.get("device")
    yield from _flat("versions", whole.get("versions", {}))


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, entry in value.items():
        yield from _flat(f"{name}.{key}" if name else str(key), entry)


def _plain(value: Any) -> Any:
    """Tuples as JSON has them, and dates of TOML as text."""
    return json.loads(json.dumps(value, default=str))


def _group(name: str) -> int:
    groups = ("used", "image", "device", "versions")
    start = name.partition(".")[0]
    return 1 + groups.index(start) if start in groups else 0
