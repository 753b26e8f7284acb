"""What is in a checkpoint file: read it, find the SAM in it, recognise its architecture.

Nothing is concluded from the file's name, and nothing in the file is run.
"""

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.sam.config import SamConfig

EMBEDDED_FORMAT = "napari-sam-amg/1"
EXPECTED = "a SAM checkpoint of vit_h, vit_l, vit_b or vit_t, or one made by this project's training"

_ZIP = b"PK\x03\x04"  # what torch.save writes
_PICKLE = b"\x80"  # what torch.save wrote before torch 1.6
_WRAPPERS = ("model_state", "state_dict", "model")  # entries under which training programs keep a state dict
_MARK = "image_encoder."
_PARTS = (_MARK, "prompt_encoder.", "mask_decoder.")  # of a SAM; what else is in a state dict is not SAM's
_WINDOW = 14
#: Arguments of the encoder by its width. Source: ``segment_anything.build_sam``.
_VITS: dict[int, tuple[str, dict[str, Any]]] = {
    768: ("vit_b", {"depth": 12, "num_heads": 12, "global_attn_indexes": (2, 5, 8, 11)}),
    1024: ("vit_l", {"depth": 24, "num_heads": 16, "global_attn_indexes": (5, 11, 17, 23)}),
    1280: ("vit_h", {"depth": 32, "num_heads": 16, "global_attn_indexes": (7, 15, 23, 31)}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """The SAM found in a checkpoint file."""

    config: SamConfig
    state: Mapping[str, Tensor]
    amg_defaults: Mapping[str, float | str] | None  # None: the file does not say


def read_contents(path: Path) -> Contents:
    """Read and recognise a checkpoint file; a ``CheckpointError`` says what is wrong with it, not where it is."""
    return _recognise(_read(path))


def _read(path: Path) -> Any:
    """The unpickled file, tensors and plain values only, on the CPU."""
    start = _first_bytes(path)
    if not start.startswith((_ZIP, _PICKLE)):
        raise CheckpointError(f"not a PyTorch file, it begins with {start!r}")
    try:
        mmap = start.startswith(_ZIP) and not _is_compressed(path)  # compressed, torch would map what is no tensor
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"Python object {foreign[1]}" if foreign else "content"
        raise CheckpointError(f"damaged, or holds more than tensors ({what}), which is unsafe to load") from error
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise CheckpointError(f"truncated or damaged ({_first_line(error)})") from error


def _is_compressed(path: Path) -> bool:
    """Whether any entry of a zip file is."""
    with zipfile.ZipFile(path) as file:
        return any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist())


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError("is a folder, not a file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror or error})") from error
    if not start:
        raise CheckpointError("is empty (0 bytes)")
    return start


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


def _recognise(content: Any) -> Contents:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"holds a {type(content).__name__}, not a state dict")
    if "format" in content:
        return _read_ours(content)
    state = _find_state(content)
    return Contents(_config_of(state), state, None)


def _read_ours(content: Mapping[str, Any]) -> Contents:
    """A checkpoint made by this project's training: it says what it is."""
    if content["format"] != EMBEDDED_FORMAT:
        raise CheckpointError(f"has format {content['format']!r}, known is {EMBEDDED_FORMAT!r}")
    missing = {"config", "amg", "model"} - content.keys()
    if missing:
        raise CheckpointError(f"has no entry {_some(missing)}")
    return Contents(_our_config(content["config"]), _tensors(content["model"]), dict(content["amg"]))


def _our_config(entries: Mapping[str, Any]) -> SamConfig:
    known = {"architecture": "unet", "num_multimask_outputs": 3}
    try:
        for name, value in known.items():
            if entries[name] != value:
                raise CheckpointError(f"has {name}={entries[name]!r} in its config, known is {value!r}")
        return SamConfig(
            architecture="unet",
            img_size=entries["img_size"],
            stride=8,
            embed_dim=entries["embed_dim"],
            decoder_depth=entries["depth"],
            decoder_heads=entries["num_heads"],
            decoder_mlp_dim=entries["mlp_dim"],
            iou_head_hidden_dim=entries["iou_head_hidden_dim"],
            mask_in_chans=entries["mask_in_chans"],
            encoder={
                "channels": tuple(entries["channels"]),
                "blocks": tuple(entries["blocks"]),
                "center_cells": entries.get("center_cells", 1),  # checkpoints from before it have one
            },
        )
    except KeyError as error:
        raise CheckpointError(f"has no {error} in its config") from error


def _find_state(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The SAM state dict: in the content itself, or in its one entry that is one.

    Entries beside it ("decoder_state", "optimizer_state", ...) are other things' and are left alone.
    """
    wrapped = [name for name in _WRAPPERS if isinstance(content.get(name), Mapping)]
    if len(wrapped) > 1:
        raise CheckpointError(f"holds several state dicts ({_some(wrapped)})")
    return _tensors(_sam_of(content[wrapped[0]] if wrapped else content))


def _sam_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The three parts of a SAM, without what stands before their names ("sam.", "module.").

    The rule for other heads: what is beside the three parts (micro-sam's "decoder.*", a step counter)
    belongs to another network and is ignored; what is in them must be SAM's, see :func:`check_state`.
    """
    entries = {str(key): value for key, value in state.items()}
    prefixes = sorted({key.split(_MARK)[0] for key in entries if _MARK in key})
    if not prefixes:
        raise CheckpointError(f"holds no SAM image encoder, but the keys {_some(entries)}")
    if len(prefixes) > 1:
        raise CheckpointError(f"holds several image encoders ({_some(prefix + _MARK + '*' for prefix in prefixes)})")
    (prefix,) = prefixes
    named = {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}
    return {key: value for key, value in named.items() if key.startswith(_PARTS)}


def _tensors(entries: Any) -> dict[str, Tensor]:
    if not isinstance(entries, Mapping):
        raise CheckpointError(f"holds a {type(entries).__name__} where a state dict should be")
    foreign = [f"{key!s} ({type(value).__name__})" for key, value in entries.items() if not isinstance(value, Tensor)]
    if foreign:
        raise CheckpointError(f"holds entries that are not tensors: {_some(foreign)}")
    return {str(key): value for key, value in entries.items()}


def _config_of(state: Mapping[str, Tensor]) -> SamConfig:
    """The architecture that the encoder's tensors tell."""
    if f"{_MARK}patch_embed.seq.0.c.weight" in state:
        return SamConfig("vit_t")
    patches, positions = (state.get(_MARK + name) for name in ("patch_embed.proj.weight", "pos_embed"))
    if patches is None or positions is None or patches.ndim != 4 or positions.ndim != 4:
        raise CheckpointError(f"holds an unknown image encoder with the keys {_some(state)}")
    width, patch = patches.shape[0], patches.shape[-1]
    if width not in _VITS:
        widths = ", ".join(f"{name} {size}" for size, (name, _) in _VITS.items())
        raise CheckpointError(f"holds a ViT of width {width}, known are {widths}")
    name, arguments = _VITS[width]
    encoder = arguments | {"embed_dim": width, "patch_size": patch, "window_size": _WINDOW}
    return SamConfig(name, img_size=positions.shape[1] * patch, stride=patch, encoder=encoder)


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], architecture: str) -> None:
    """Raise ``CheckpointError`` unless keys and shapes are exactly the model's."""
    shared = state.keys() & expected.keys()
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(shared)
        if state[key].shape != expected[key].shape
    ]
    findings = {
        "lacks": [key for key in expected if key not in shared],
        "has the foreign": [key for key in state if key not in shared],
        "has wrong shapes:": wrong,
    }
    found = [f"{what} {_some(keys)}" for what, keys in findings.items() if keys]
    if found:
        raise CheckpointError(f"looks like {architecture} but {' and '.join(found)}")


def _some(names: Iterable[str]) -> str:
    """The first few of many names."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (", ".join(listed[:3]) + more) if listed else "none"
