"""From a model's name or a checkpoint file to a model that is ready to run."""

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models.download import ensure
from napari_sam_amg.models.own_models import OwnModel
from napari_sam_amg.models.registry import (
    EMBEDDED,
    CheckpointError,
    KnownModel,
    embedded_path,
    find_known,
    find_own,
    find_sha256,
    known_models,
    known_path,
    own_models,
    own_path,
)
from napari_sam_amg.models.state_dict import EXPECTED, Contents, check_state, read_contents
from napari_sam_amg.paths import expanded
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import ModelInfo
from napari_sam_amg.sam.model import Sam
from napari_sam_amg.sam.precision import check_precision

__all__ = ["CheckpointError", "available_devices", "known_models", "load_model", "select_device"]


def load_model(
    name_or_path: str | os.PathLike[str] = EMBEDDED,
    device: str = "auto",
    *,
    precision: str = "exact",
    micro_batch: int | None = None,
    offline: bool = False,
    quiet: bool = False,
) -> Sam:
    """A model in eval mode on ``device``, its ``info`` filled in.

    ``name_or_path``: one of ``known_models()``, or the path of a checkpoint; a name wins over a file
    of the same name. ``precision``: "exact" computes in float32; "fast" in 16-bit floats, where the
    device has them, else exactly with a ``PrecisionWarning``. ``micro_batch``: prompts decoded at
    once, by default what suits the device. A known model that is not there is downloaded, with its
    progress on stderr unless ``quiet``; ``offline`` or the environment variable
    ``NAPARI_SAM_AMG_OFFLINE=1`` forbids that. Raises ``CheckpointError`` (a ``ValueError``) if there is
    no such model, it cannot be downloaded, or its file is damaged or of another kind.
    """
    check_precision(precision)
    target = select_device(device)
    known = find_known(name_or_path) if isinstance(name_or_path, str) else None
    own = find_own(name_or_path) if isinstance(name_or_path, str) else None
    if known is not None:
        ensure(known, offline=offline, quiet=quiet)
    path = _find_path(name_or_path, known, own)
    model, contents = _read_model(path)
    model.info = _describe(path, contents, known)
    if own is not None:
        model.info = replace(model.info, name=own.name, amg_defaults={**model.info.amg_defaults, **own.thresholds})
    model.requires_grad_(False).eval().to(target)
    model.micro_batch = micro_batch
    model.set_precision(precision)
    return model


def _find_path(name_or_path: str | os.PathLike[str], known: KnownModel | None, own: OwnModel | None) -> Path:
    if known is not None:
        return known_path(known)
    return _local_path(name_or_path) if own is None else own_path(own)


def _local_path(name_or_path: str | os.PathLike[str]) -> Path:
    try:
        path = embedded_path() if name_or_path == EMBEDDED else expanded(name_or_path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if name_or_path == "" or not path.exists():
        raise CheckpointError(
            f"{os.fspath(name_or_path)!r} is neither a known model ({', '.join(known_models())}) nor an existing file"
            + "".join(f"; {problem}" for problem in own_models().problems)
        )
    return path


def _read_model(path: Path) -> tuple[Sam, Contents]:
    try:
        contents = read_contents(path)
        model = build_sam(contents.config)
        check_state(contents.state, model.state_dict(), contents.config.architecture)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; expected {EXPECTED}") from error.__cause__
    model.load_state_dict({key: _own_copy(value) for key, value in contents.state.items()}, assign=True)
    return model, contents


def _own_copy(value: Tensor) -> Tensor:
    """In memory, so that nothing breaks when the mapped file is overwritten; floats as float32."""
    return value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)


def _describe(path: Path, contents: Contents, known: KnownModel | None) -> ModelInfo:
    sha256 = hash_file(path)
    known = known or find_sha256(sha256)
    defaults = contents.amg_defaults
    if defaults is None:
        defaults = known.amg_defaults if known is not None else {}
    own_name = EMBEDDED if path == embedded_path() else path.stem
    return ModelInfo(
        name=known.name if known is not None else own_name,
        architecture=contents.config.architecture,
        path_name=path.name,
        sha256=sha256,
        amg_defaults=defaults,
    )


def available_devices() -> tuple[str, ...]:
    """What ``load_model`` can run on here, the fastest first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return (*(["cuda"] if cuda else []), *cuda, *mps, "cpu")


def select_device(device: str) -> torch.device:
    """The device of this name; "auto" takes the fastest."""
    available = available_devices()
    if device != "auto" and device not in available:
        raise ValueError(f"device={device!r} is not available: choose one of auto, {', '.join(available)}")
    return torch.device(available[0] if device == "auto" else device)
