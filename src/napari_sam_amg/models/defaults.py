"""The thresholds that belong to a model, found without importing torch.

A checkpoint of ours holds them in its file. ``torch.save`` writes a zip archive with one pickle;
this reads that pickle with every Python object in it replaced by an empty stand-in, so nothing in
the file is run and no tensor is loaded.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models.registry import (
    EMBEDDED,
    CheckpointError,
    embedded_path,
    find_known,
    find_own,
    find_sha256,
    is_offline,
)
from napari_sam_amg.paths import expanded

_ENTRY = "amg"  # of a checkpoint of ours, see sam.state_dict


class _StandIn:
    """Takes the place of any object in the pickle."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _StandIn

    def persistent_load(self, pid: Any) -> None:
        """The pixels of a tensor, which are left in the file."""


def model_defaults(model: str) -> dict[str, float | str]:
    """AMG parameters that suit a model, by name. ``model``: a known name or the path of a checkpoint.

    Known names are looked up at once; a foreign file may have to be hashed, which takes seconds.
    """
    known, own = find_known(model), find_own(model)
    if own is not None:
        return {**_in_file(own.file), **own.thresholds}
    if known is not None:
        return known.amg_defaults
    try:
        path = embedded_path() if model == EMBEDDED else expanded(model)
    except ValueError:  # loading it will say what is wrong
        return {}
    return _in_file(path) or _published(path)


def missing_reason(model: str) -> str | None:
    """Why a model cannot be loaded, as far as a look at the disk tells; None if it seems fine."""
    if not model.strip():
        return "choose a checkpoint file"
    try:
        known = find_known(model)
        if known is not None:
            hint = known.by_hand if is_offline() else "press Download"
            return None if known.path.is_file() else f"{model!r} is not on this computer: {hint}"
        if own := find_own(model):
            return None if own.file.is_file() else f"there is no file {own.file}, which models.toml names"
        path = embedded_path() if model == EMBEDDED else expanded(model)
    except ValueError as error:  # in the home folder of nobody
        return str(error)
    return None if path.is_file() else f"there is no file {path}"


def _in_file(path: Path) -> dict[str, float | str]:
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            content = _Reader(io.BytesIO(archive.read(name))).load()
    except Exception:  # a damaged or older file: loading it will say what is wrong
        return {}
    entry = content.get(_ENTRY) if isinstance(content, Mapping) else None
    return dict(entry) if isinstance(entry, Mapping) else {}


def _published(path: Path) -> dict[str, float | str]:
    """A published checkpoint under whatever name."""
    try:
        known = find_sha256(hash_file(path))
    except (OSError, CheckpointError):
        return {}
    return known.amg_defaults if known is not None else {}
