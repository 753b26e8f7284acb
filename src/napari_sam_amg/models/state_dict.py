"""What is in a checkpoint file: find the SAM in it, recognise its architecture, check that it is whole. Free of torch.

Nothing is concluded from the file's name, and nothing in the file is run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.models.our_format import ENTRIES, check_names, is_ours, read_config
from napari_sam_amg.models.pickled import Made
from napari_sam_amg.models.pickled_tensors import TensorEntry, as_tensor, in_line, in_words, kind_of, some
from napari_sam_amg.models.registry import CheckpointError
from napari_sam_amg.sam.config import SamConfig

EXPECTED = "a SAM checkpoint of vit_h, vit_l, vit_b or vit_t, or one made by this project's training"

_DEPTH = 3  # of mappings in mappings in which a state dict is looked for
_MARK = "image_encoder."
_PARTS = (_MARK, "prompt_encoder.", "mask_decoder.")  # of a SAM; what else is in a state dict is not SAM's
_WINDOW = 14
_PATCH = 16  # px
_MAX_SIDE = 4096  # px of the model's input; SAM's is 1024
_SPREAD = 1 << 20  # numbers between those of a tensor, beside four times its own; they are read, too
_MAX_NUMBERS = 1_000_000_000  # of all weights; a vit_h has 0.64 billion, for images of 4096 px 0.72
#: Arguments of the encoder by its width. Source: ``segment_anything.build_sam``.
_VITS: dict[int, tuple[str, dict[str, Any]]] = {
    768: ("vit_b", {"depth": 12, "num_heads": 12, "global_attn_indexes": (2, 5, 8, 11)}),
    1024: ("vit_l", {"depth": 24, "num_heads": 16, "global_attn_indexes": (5, 11, 17, 23)}),
    1280: ("vit_h", {"depth": 32, "num_heads": 16, "global_attn_indexes": (7, 15, 23, 31)}),
}
_HOW = "see docs/own-models.md"
_SAVE = f"write the one to use to a file of its own, {_HOW}"

State = Mapping[str, TensorEntry]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """The SAM found in a checkpoint file."""

    config: SamConfig
    state: State


def recognise(content: Any) -> Contents:
    """The SAM in what a file holds; a ``CheckpointError`` says what is wrong with it, not where it is."""
    if not isinstance(content, Mapping) or as_tensor(content) is not None:
        raise CheckpointError(f"holds a {kind_of(content)}, not a state dict")
    if _is_module(content):
        raise CheckpointError(f"holds a whole {kind_of(content)}, of which the state dict is needed, {_HOW}")
    if is_ours(content):
        check_names("", content, ENTRIES)
        for name in ("amg", "model"):
            if not isinstance(content[name], Mapping):
                raise CheckpointError(f"has {name}={in_words(content[name])}, which must be a mapping")
        return Contents(read_config(content["config"]), _tensors(content["model"]))
    state = _tensors(_sam_of(_find_state(content)))
    return Contents(_config_of(state), state)


def _find_state(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The one mapping that holds an image encoder's tensors: the content itself, or one in it, under whatever name.

    What is nearer to the outside counts: copies that a callback keeps deeper inside are not looked at. What is
    beside it (a config, the state of an optimiser, objects of Python) is left alone.
    """
    level: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    seen = {id(content)}
    for _ in range(_DEPTH):
        found = [(name, state) for name, state in level if _holds_encoder(state)]
        if len(found) > 1:
            raise CheckpointError(f"holds several state dicts ({some(name for name, _ in found)}): {_SAVE}")
        if found:  # what lies deeper is not looked at: Lightning's callbacks keep copies there
            return found[0][1]
        level = [inner for name, outer in level for inner in _mappings_in(name, outer, seen)]
    objects = [f"{key} (a whole {kind_of(value)})" for key, value in content.items() if _is_module(value)]
    hint = f"; of {some(objects)} the state dict is needed, {_HOW}" if objects else ""
    raise CheckpointError(f"holds no SAM image encoder, but the keys {some(content)}{hint}")


def _holds_encoder(state: Mapping[Any, Any]) -> bool:
    return any(_MARK in str(key) and isinstance(value, Made) for key, value in state.items())


def _mappings_in(name: str, outer: Mapping[Any, Any], seen: set[int]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for key, value in outer.items():
        # a tensor is noted as a mapping, too; a mapping may lie in itself, or in many places
        if isinstance(value, Mapping) and as_tensor(value) is None and id(value) not in seen:
            seen.add(id(value))
            yield f"{name}.{in_line(key)}".removeprefix("."), value  # for messages


def _is_module(value: Any) -> bool:
    """Whether a whole ``torch.nn.Module`` was saved."""
    return isinstance(value, Made) and "_modules" in value


def _sam_of(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The three parts of a SAM, without what stands before their names ("sam.", "module.").

    The rule for other heads: what is beside the three parts (micro-sam's "decoder.*", a step counter)
    belongs to another network and is ignored; what is in them must be SAM's, see :func:`check_state`.
    """
    entries = {str(key): value for key, value in state.items()}
    prefixes = sorted({key.split(_MARK)[0] for key in entries if _MARK in key})
    if len(prefixes) > 1:  # a teacher beside its student, or two backbones: nobody can say which one segments
        listed = some(prefix + _MARK + "*" for prefix in prefixes)
        raise CheckpointError(f"holds several image encoders ({listed}): {_SAVE}")
    (prefix,) = prefixes
    named = {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}
    return {key: value for key, value in named.items() if key.startswith(_PARTS)}


def _tensors(entries: Mapping[Any, Any]) -> dict[str, TensorEntry]:
    found = {str(key): as_tensor(value) for key, value in entries.items()}
    foreign = [f"{key!s} ({kind_of(value)})" for key, value in entries.items() if found[str(key)] is None]
    if foreign:
        raise CheckpointError(f"holds entries that are not tensors, or not of plain numbers: {some(foreign)}")
    return {key: tensor for key, tensor in found.items() if tensor is not None}


def _config_of(state: State) -> SamConfig:
    """The architecture that the encoder's tensors tell."""
    if f"{_MARK}patch_embed.seq.0.c.weight" in state:  # the stem of a TinyViT; no ViT has one
        return SamConfig("vit_t")
    patches, positions = (state.get(_MARK + name) for name in ("patch_embed.proj.weight", "pos_embed"))
    if patches is None or positions is None or len(patches.shape) != 4 or len(positions.shape) != 4:
        raise CheckpointError(f"holds an unknown image encoder with the keys {some(state)}")
    width, patch = patches.shape[0], patches.shape[-1]  # (width, 3, patch, patch); positions are (1, side, side, width)
    if width not in _VITS:
        widths = ", ".join(f"{name} {size}" for size, (name, _) in _VITS.items())
        raise CheckpointError(f"holds a ViT of width {width}, known are {widths}")
    img_size = positions.shape[1] * patch
    if patch != _PATCH or not 0 < img_size <= _MAX_SIDE:
        raise CheckpointError(
            f"holds a ViT for images of {img_size} px in patches of {patch} px, known are patches of {_PATCH} px and "
            f"images of up to {_MAX_SIDE} px"
        )
    name, arguments = _VITS[width]
    encoder = arguments | {"embed_dim": width, "patch_size": patch, "window_size": _WINDOW}
    return SamConfig(name, img_size=img_size, stride=patch, encoder=encoder)


def decoder_of(content: Any) -> Any:
    """The segmentation decoder beside a SAM, as micro-sam's finetunes have it; None if there is none."""
    return content.get("decoder_state") if isinstance(content, Mapping) else None


def decoder_tensors(state: Any) -> State:
    """Of the decoder alone: a UNETR that was saved whole or in parallel has its encoder beside it, or a prefix."""
    if not isinstance(state, Mapping) or as_tensor(state) is not None:
        raise CheckpointError(f"is a {kind_of(state)}, not a state dict")
    named = {str(key).removeprefix("module."): value for key, value in state.items()}
    return _tensors({key: value for key, value in named.items() if not key.startswith("encoder.")})


def is_transposed(state: State) -> bool:
    """Whether a decoder gains resolution by transposed convolutions. Source: ``micro_sam.instance_segmentation``."""
    return any(key.startswith("decoder.samplers.") and ".block." in key for key in state)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a model needs under a key."""

    shape: tuple[int, ...]
    floats: bool  # or whole numbers
    count: int  # numbers


def check_state(state: State, expected: Mapping[str, Expected], architecture: str) -> None:
    """Raise ``CheckpointError`` unless keys, shapes and kinds of numbers are exactly the model's."""
    shared = state.keys() & expected.keys()
    wrong = [
        f"{key} {state[key].shape} instead of {expected[key].shape}"
        for key in sorted(shared)
        if state[key].shape != expected[key].shape
    ]
    types = [
        f"{key} ({state[key].dtype})"
        for key in sorted(shared)
        # whole numbers may come as floats (half of all of a model does that), floats never as whole numbers
        if "float" not in state[key].dtype and (expected[key].floats or "complex" in state[key].dtype)
    ]
    findings = {
        "lacks": [key for key in expected if key not in shared],
        "has the foreign": [key for key in state if key not in shared],
        "has wrong shapes:": wrong,
        "has no floats in": types,
        "has numbers far apart in": [key for key in shared if state[key].extent > 4 * expected[key].count + _SPREAD],
    }
    found = [f"{what} {some(keys)}" for what, keys in findings.items() if keys]
    if found:
        raise CheckpointError(f"looks like {architecture} but {' and '.join(found)}")
    if (numbers := sum(entry.count for entry in expected.values())) > _MAX_NUMBERS:
        raise CheckpointError(f"says to have {numbers} weights, allowed are {_MAX_NUMBERS}")
