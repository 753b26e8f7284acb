"""From a model's name or a checkpoint file to a model that is ready to run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_sam_amg.checks import check_kind, check_whole
from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models.archive import Archive, open_archive
from napari_sam_amg.models.defaults import suited
from napari_sam_amg.models.download import ensure
from napari_sam_amg.models.own_models import OwnModel
from napari_sam_amg.models.pickled_tensors import TensorEntry
from napari_sam_amg.models.registry import (
    EMBEDDED,
    OTHER_MAPS,
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
from napari_sam_amg.models.state_dict import (
    EXPECTED,
    Expected,
    State,
    check_state,
    decoder_of,
    decoder_tensors,
    is_transposed,
    recognise,
)
from napari_sam_amg.paths import expanded
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import ModelInfo, SamConfig
from napari_sam_amg.sam.model import Sam
from napari_sam_amg.sam.precision import check_precision
from napari_sam_amg.sam.unetr import SegmentationDecoder

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
    check_kind("name_or_path", name_or_path, (str, os.PathLike), "a name or a path")
    micro_batch = None if micro_batch is None else check_whole("micro_batch", micro_batch, 1)
    check_precision(precision)
    target = select_device(device)
    known = find_known(name_or_path) if isinstance(name_or_path, str) else None
    own = find_own(name_or_path) if isinstance(name_or_path, str) else None
    with _in_words():
        if known is not None:
            ensure(known, offline=offline, quiet=quiet)
        path = _find_path(name_or_path, known, own)
        before = _version(path)
        model, content = _read_model(path)
        no_decoder, decoder_sha256 = _add_decoder(model, path, content, known, offline=offline, quiet=quiet)
        sha256 = hash_file(path)
        if _version(path) != before:  # the hash, by which results are known, would be of other weights
            raise CheckpointError(f"{path}: was changed while it was read, try again")
    published = known or find_sha256(sha256)
    # who gives a file a name means it; a published file keeps its own, whatever it is called on this disk
    name = EMBEDDED if path == embedded_path() else path.stem
    if named := own or published:
        name = named.name
    model.info = ModelInfo(
        name=name,
        architecture=model.config.architecture,
        path_name=path.name,
        sha256=sha256,
        amg_defaults=_defaults(path, content, published, own),
        no_decoder=no_decoder,
        decoder_sha256=decoder_sha256,
    )
    model.requires_grad_(False).eval().to(target)
    model.micro_batch = micro_batch
    model.set_precision(precision)
    return model


@contextmanager
def _in_words() -> Iterator[None]:
    """What the disk says: a name that is too long, a folder that is not the user's, a file that has gone meanwhile."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error.strerror or error})") from error


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


def _version(path: Path) -> tuple[int, ...]:
    """What changes with a file; nothing for a path that is none, of which the reader speaks."""
    if not path.is_file():
        return ()
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _read_model(path: Path) -> tuple[Sam, Any]:
    """The model in float32 on the CPU, in memory of its own, and what the file holds beside it."""
    try:
        with open_archive(path) as archive:
            contents = recognise(archive.content)
            expected = _expected(contents.config)
            check_state(contents.state, expected, contents.config.architecture)
            model = build_sam(
                contents.config
            )  # memory is taken here, after keys, shapes and their sum were seen to be right
            # a ViT is on the meta device: there is nothing to copy into
            model.load_state_dict(_read(archive, contents.state, expected), assign=True)
            return model, archive.content
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; expected {EXPECTED}") from error.__cause__


def _expected(config: SamConfig) -> dict[str, Expected]:
    """What a model of these sizes needs; found without memory for it, since a file may claim any size."""
    try:
        with torch.device("meta"):
            state = build_sam(config).state_dict()
    except (ValueError, RuntimeError, AssertionError) as error:  # torch's and ours, whichever layer is asked first
        raise CheckpointError(f"has a config of which no model can be made ({error})") from error
    return _described(state)


def _described(state: Mapping[str, Tensor]) -> dict[str, Expected]:
    return {key: Expected(tuple(v.shape), v.is_floating_point(), v.numel()) for key, v in state.items()}


def _add_decoder(
    model: Sam, path: Path, content: Any, known: KnownModel | None, *, offline: bool, quiet: bool
) -> tuple[str, str]:
    """Give the model the segmentation decoder that is in its file, or in the one that was published beside it.

    Returns why there is none, since masks of points need none; and the hash of the other file.
    """
    if model.config.architecture == "unet":
        return OTHER_MAPS, ""
    other = known.decoder if known is not None and decoder_of(content) is None else None
    if other is not None:
        try:
            ensure(other, offline=offline, quiet=quiet)
            path = known_path(other)
        except CheckpointError as error:
            return str(error), ""
    try:
        with open_archive(path) as archive:
            state = decoder_of(archive.content) if other is None else archive.content
            if state is None:
                return f"{path} holds no decoder_state, which finetunes of micro-sam have", ""
            model.segmentation_decoder = _read_decoder(archive, decoder_tensors(state), model.config.embed_dim)
    except CheckpointError as error:
        return f"{path}: its segmentation decoder: {error}", ""
    return "", "" if other is None else hash_file(path)


def _read_decoder(archive: Archive, state: State, embed_dim: int) -> SegmentationDecoder:
    with torch.device("meta"):
        decoder = SegmentationDecoder(embed_dim, is_transposed(state))
    expected = _described(decoder.state_dict())
    check_state(state, expected, "torch-em's UNETR")
    decoder.load_state_dict(_read(archive, state, expected), assign=True)
    return decoder


def _read(archive: Archive, state: State, expected: Mapping[str, Expected]) -> dict[str, Tensor]:
    return {key: _read_tensor(archive, key, state[key], expected[key].floats) for key in expected}


def _read_tensor(archive: Archive, key: str, entry: TensorEntry, floats: bool) -> Tensor:
    """As float32, or as int64; numbers that are none would make a whole image such."""
    # the numbers from the first to the last, so the stride fits as it is; frombuffer shares memory with the bytes
    numbers = torch.frombuffer(archive.numbers(entry), dtype=getattr(torch, entry.dtype))
    value = numbers.as_strided(entry.shape, entry.stride).to(torch.float32 if floats else torch.int64).contiguous()
    if floats and not all(extreme.isfinite() for extreme in value.aminmax()):  # NaN passes through both; no copy
        raise CheckpointError(f"holds NaN or infinite weights in {key}: its training went wrong, or it is damaged")
    return value


def _defaults(path: Path, content: Any, published: KnownModel | None, own: OwnModel | None) -> dict[str, Any]:
    try:
        return suited("" if published is None or own is not None else published.name, content, own)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


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
