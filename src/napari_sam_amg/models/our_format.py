"""The format of the checkpoints that this project's training makes, checked before anything is made of it.

Free of torch.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from napari_sam_amg.models.pickled_tensors import in_words, some
from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.sam.config import SamConfig

ENTRIES = ("format", "config", "amg", "model")
_FORMAT = "napari-sam-amg/"  # and the number of its version
_VERSION = "1"
_NEWER = "it was made by a newer version of this program, which is needed to read it"


def is_ours(content: Any) -> bool:
    """Whether this is such a checkpoint; it says what it is."""
    name = content.get("format") if isinstance(content, Mapping) else None
    return isinstance(name, str) and name.startswith(_FORMAT)


def amg_entry(content: Any) -> Mapping[Any, Any]:
    """What it says of AMG parameters, not checked; empty for another checkpoint."""
    entry = content.get("amg") if is_ours(content) else None
    return entry if isinstance(entry, Mapping) else {}


def check_names(where: str, entries: Mapping[Any, Any], needed: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Raise ``CheckpointError`` unless exactly these entries are there: another one would change what a model finds."""
    if (version := entries.get("format", _FORMAT + _VERSION)) != _FORMAT + _VERSION:
        raise CheckpointError(f"has format {in_words(version)}, known is {_FORMAT + _VERSION!r}: {_NEWER}")
    if missing := [name for name in needed if name not in entries]:
        raise CheckpointError(f"has no entry {some(missing)}{where}")
    # a newer version may mean something by it without which the same weights find other masks
    if unknown := [name for name in entries if name not in {*needed, *optional}]:
        raise CheckpointError(f"has the unknown entry {some(unknown)}{where}: {_NEWER}")


#: Whole numbers in the config of a checkpoint of ours, and the largest that are allowed.
_SIZES = {
    "img_size": 4096,
    "embed_dim": 4096,
    "depth": 64,
    "num_heads": 64,
    "mlp_dim": 65_536,
    "iou_head_hidden_dim": 65_536,
    "mask_in_chans": 4096,
}
_KNOWN = {"architecture": "unet", "num_multimask_outputs": 3}
_STAGES = 5  # of the UNet
_STRIDE = 8  # px


def read_config(entries: Any) -> SamConfig:
    """The sizes of the model; a ``CheckpointError`` names the one that is not allowed."""
    where = " in its config"
    if not isinstance(entries, Mapping):
        raise CheckpointError(f"has config={in_words(entries)}, which must be a mapping")
    check_names(where, entries, (*_KNOWN, *_SIZES, "channels", "blocks"), ("center_cells",))
    for name, value in _KNOWN.items():
        if entries[name] != value:
            raise CheckpointError(f"has {name}={in_words(entries[name])}{where}, known is {value!r}")
    size = {name: _whole(name, entries[name], 1, highest) for name, highest in _SIZES.items()}
    _check_multiple("img_size", size["img_size"], 32)  # the UNet halves five times
    _check_multiple("embed_dim", size["embed_dim"], 8)  # the decoder halves it three times
    _check_multiple("embed_dim", size["embed_dim"], 2 * size["num_heads"])
    _check_multiple("mask_in_chans", size["mask_in_chans"], 4)
    center_cells = _whole("center_cells", entries.get("center_cells", 1), 1, 4)  # not in the first checkpoints
    return SamConfig(
        architecture="unet",
        img_size=size["img_size"],
        stride=_STRIDE,
        embed_dim=size["embed_dim"],
        decoder_depth=size["depth"],
        decoder_heads=size["num_heads"],
        decoder_mlp_dim=size["mlp_dim"],
        iou_head_hidden_dim=size["iou_head_hidden_dim"],
        mask_in_chans=size["mask_in_chans"],
        encoder={
            "channels": _five("channels", entries["channels"], 1, 4096),
            "blocks": _five("blocks", entries["blocks"], 0, 64),
            "center_cells": center_cells,
        },
    )


def _whole(name: str, value: Any, lowest: int, highest: int) -> int:
    # isinstance would take True for 1
    if type(value) is not int or not lowest <= value <= highest:
        raise CheckpointError(
            f"has {name}={in_words(value)} in its config: it must be a whole number from {lowest} to {highest}"
        )
    return value


def _five(name: str, values: Any, lowest: int, highest: int) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or len(values) != _STAGES:
        raise CheckpointError(f"has {name}={in_words(values)} in its config: it must be {_STAGES} whole numbers")
    return tuple(_whole(f"{name}[{index}]", value, lowest, highest) for index, value in enumerate(values))


def _check_multiple(name: str, value: int, of: int) -> None:
    if value % of:
        raise CheckpointError(f"has {name}={value} in its config: it must be a multiple of {of}")
