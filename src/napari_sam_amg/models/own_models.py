"""Models that users add by name, in the file ``models.toml`` of the models folder. Free of torch.

    [my_nuclei]
    file = "my_nuclei.pt"
    description = "nuclei of our screen"
    thresholds = { pred_iou_thresh = 0.7, points_per_side = 64 }

An entry that is wrong is left out, and a line says why; nothing else suffers from it.
"""

import dataclasses
import re
import reprlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam_amg.params import AmgParameters, merged, parameter_type

FILE_NAME = "models.toml"
#: A point grid is no threshold, and the widget cannot show one.
THRESHOLDS = tuple(spec.name for spec in dataclasses.fields(AmgParameters) if spec.name != "point_grids")

_NAME = re.compile(r"\w[\w.-]*")
_WEB = ("https://", "http://")


@dataclass(frozen=True, slots=True)
class OwnModel:
    """An entry of the file."""

    name: str
    file: Path  # absolute
    url: str = ""  # with it comes a sha256
    sha256: str = ""  # empty: the file is not verified
    thresholds: Mapping[str, Any] = field(default_factory=dict)  # AMG parameters by name
    description: str = ""


@dataclass(frozen=True, slots=True)
class OwnModels:
    """What the file holds, and a line for everything in it that is not allowed."""

    models: Mapping[str, OwnModel] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_own_models(folder: Path, taken: Collection[str]) -> OwnModels:
    """Read ``models.toml`` in ``folder``, if there is one; ``taken`` are the names that others have."""
    path = folder / FILE_NAME
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))  # Windows' Notepad puts a mark in front of UTF-8
    except FileNotFoundError:
        return OwnModels()
    except OSError as error:
        return OwnModels(problems=(f"{path} cannot be read: {error.strerror or error}",))
    except ValueError as error:  # TOML's and that of the encoding
        return OwnModels(problems=(f"{path} is no TOML file: {error}",))
    models, problems = {}, []
    for name, entry in content.items():
        try:
            models[name] = _own_model(name, entry, folder, taken)
        except ValueError as error:
            problems.append(f"{path}: {error}")
    return OwnModels(models, tuple(problems))


def _own_model(name: str, entry: Any, folder: Path, taken: Collection[str]) -> OwnModel:
    if not _NAME.fullmatch(name):
        raise ValueError(f"[{name!r}] is no name for a model: allowed are letters, digits, '_', '-' and '.'")
    if name in taken:  # results of a foreign file would be recorded as those of a published model
        raise ValueError(f"[{name}] is the name of a model that is built in: choose another")
    if not isinstance(entry, Mapping):
        raise ValueError(f'{name}={entry!r} is not allowed: a model is a table, [{name}] and below it file = "..."')
    allowed = [spec.name for spec in dataclasses.fields(OwnModel) if spec.name != "name"]
    for key, value in entry.items():
        if key not in allowed:
            raise ValueError(f"[{name}] has {key}={value!r}, which is unknown: allowed are {', '.join(allowed)}")
    texts = {key: _text(name, entry, key) for key in allowed if key != "thresholds"}
    _check_source(name, texts)
    file = _file(name, texts.pop("file"), folder)
    sha256 = texts.pop("sha256").lower()
    return OwnModel(name, file, sha256=sha256, thresholds=_thresholds(name, entry.get("thresholds", {})), **texts)


def _text(name: str, entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"[{name}] {key}={value!r} is not allowed: it must be a text in quotes")
    return value


def _file(name: str, file: str, folder: Path) -> Path:
    try:
        return folder.absolute() / Path(file).expanduser()
    except RuntimeError as error:
        raise ValueError(f"[{name}] file={file!r} is not allowed: there is no such user") from error


def _check_source(name: str, texts: Mapping[str, str]) -> None:
    """The file must be named, and an address needs a hash."""
    if not texts["file"]:
        raise ValueError(f'[{name}] has no file: it needs file = "...", in the folder of {FILE_NAME} or absolute')
    sha256, url = texts["sha256"], texts["url"]
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"[{name}] sha256={sha256!r} is not allowed: it must be 64 digits from 0 to f")
    if url and not url.startswith(_WEB):
        raise ValueError(f"[{name}] url={url!r} is not allowed: it must begin with {' or '.join(_WEB)}")
    if url and not sha256:
        raise ValueError(f"[{name}] url={url!r} needs a sha256 beside it, by which the download is verified")


def _thresholds(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"[{name}] thresholds={given!r} is not allowed: it must be a table of parameters")
    try:
        return checked_thresholds(given)
    except ValueError as error:
        raise ValueError(f"[{name}] thresholds: {error}") from error


def checked_thresholds(given: Mapping[Any, Any]) -> dict[str, Any]:
    """AMG parameters that somebody wrote into a file; ``ValueError`` names the one that is unknown or not allowed."""
    for key, value in given.items():
        if key not in THRESHOLDS:
            raise ValueError(f"{key}={_shown(value)} is unknown: allowed are {', '.join(THRESHOLDS)}")
        if not isinstance(value, str | int | float):
            raise ValueError(f"{key}={_shown(value)} is not allowed: it must be a number or a word")
    merged(given)
    return {key: parameter_type(key)(value) for key, value in given.items()}  # 16.0 is a whole number, too


def _shown(value: Any) -> str:
    """A value of any kind and length, which may be of a file that nobody should trust."""
    return reprlib.repr(value) if isinstance(value, str | int | float) else type(value).__name__
