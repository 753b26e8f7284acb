"""Checkpoint files: what is accepted, and the one line that each kind of wrong file gets."""

import argparse
import pickle
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models import state_dict
from napari_sam_amg.models.checkpoint import (
    CheckpointError,
    available_devices,
    known_models,
    load_model,
    select_device,
)
from napari_sam_amg.models.defaults import OURS
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig
from training.compact import compress

State = dict[str, Tensor]
OUR_CONFIG = {
    "architecture": "unet",
    "img_size": 64,
    "embed_dim": 32,
    "channels": [8, 8, 8, 8, 8],
    "blocks": [0, 1, 1, 1, 1],
    "depth": 2,
    "num_heads": 4,
    "mlp_dim": 16,
    "iou_head_hidden_dim": 16,
    "num_multimask_outputs": 3,
    "mask_in_chans": 4,
}


def save(content: object, path: Path) -> None:
    torch.save(content, path)


def cut(content: object, path: Path, legacy: bool) -> None:
    """A download that stopped half-way."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "not torch's")


def quantized() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(1, 256), 0.1, 0, torch.qint8)


def torchscript(path: Path) -> None:
    """The entries by which such a file is known; to write a real one is deprecated."""
    with zipfile.ZipFile(path, "w") as file:
        for name in ("data.pkl", "constants.pkl", "code/__torch__/torch/nn/modules/linear.py"):
            file.writestr(f"model/{name}", pickle.dumps({}, 2))


def big_endian(state: State, path: Path) -> None:
    save(state, path)
    rewrite(path, lambda name, data: b"big" if name.endswith("byteorder") else data)


def shorten_storage(state: State, path: Path) -> None:
    save(state | {IOU: torch.ones(1, 256)}, path)
    rewrite(path, lambda _, data: data[:-4] if len(data) == 1024 else data)


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """A zip file whose entries were changed."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in entries.items():
            new.writestr(name, change(name, data))


def without(state: State, part: str) -> State:
    return {key: value for key, value in state.items() if part not in key}


IOU = "mask_decoder.iou_token.weight"
PIXELS = "image_encoder.patch_embed.proj.weight"
WRONG_FILES: dict[str, tuple[Callable[[State, Path], Any], str]] = {
    "empty": (lambda s, p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
    "folder": (lambda s, p: p.mkdir(), "is a folder, not a file"),
    "web page": (lambda s, p: p.write_text("<!DOCTYPE html>"), "not a PyTorch file, it begins with b'<!DOCTYPE html>'"),
    "truncated": (lambda s, p: cut(s, p, legacy=False), "truncated or damaged"),
    "truncated, old format": (lambda s, p: cut(s, p, legacy=True), "damaged"),
    "zip of another program": (lambda s, p: make_zip(p), "truncated or damaged"),
    "plain pickle": (lambda s, p: p.write_bytes(pickle.dumps({"a": 1})), "damaged"),
    "whole module": (
        lambda s, p: save(nn.Linear(1, 1), p),
        "holds a whole torch.nn.modules.linear.Linear, of which the",
    ),
    "other objects": (lambda s, p: save(argparse.Namespace(), p), "holds no SAM image encoder, but the keys none"),
    "whole module beside": (
        lambda s, p: save({"net": nn.Linear(1, 1), "epoch": 3}, p),
        r"holds no SAM image encoder, but the keys net, epoch; of net \(a whole torch.nn.modules.linear.Linear\) the",
    ),
    "list": (lambda s, p: save([1, 2], p), "holds a list, not a state dict"),
    "tensor": (lambda s, p: save(torch.zeros(3), p), "holds a tensor, not a state dict"),
    "storage": (lambda s, p: save(torch.zeros(3).untyped_storage(), p), "holds a storage, not a state dict"),
    "nothing": (lambda s, p: save({}, p), "holds no SAM image encoder, but the keys none"),
    "another network": (
        lambda s, p: save(nn.Linear(1, 1).state_dict(), p),
        "holds no SAM image encoder, but the keys weight, bias",
    ),
    "another SAM": (
        lambda s, p: save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, p),
        "holds an unknown image encoder with the keys image_encoder.trunk.pos_embed",
    ),
    "unknown width": (
        lambda s, p: save({PIXELS: torch.zeros(8, 3, 16, 16), "image_encoder.pos_embed": torch.zeros(1, 4, 4, 8)}, p),
        "holds a ViT of width 8, known are vit_b 768, vit_l 1024, vit_h 1280",
    ),
    "one key missing": (lambda s, p: save(without(s, IOU), p), f"looks like vit_t but lacks {IOU}"),
    "encoder only": (lambda s, p: save(without(s, "mask_decoder"), p), "but lacks mask_decoder.* and [0-9]+ more"),
    "foreign key": (
        lambda s, p: save(s | {"mask_decoder.hf_token.weight": torch.zeros(1)}, p),
        "looks like vit_t but has the foreign mask_decoder.hf_token.weight",
    ),
    "adapters in a part": (
        lambda s, p: save({"model_state": s | {"image_encoder.lora.w": torch.zeros(1)}}, p),
        "looks like vit_t but has the foreign image_encoder.lora.w",
    ),
    "teacher and student": (
        lambda s, p: save({f"{who}.{k}": v for who in ("student", "teacher") for k, v in s.items()}, p),
        r"holds several image encoders \(student.image_encoder.\*, teacher.image_encoder.\*\)",
    ),
    "wrong shape": (
        lambda s, p: save(s | {IOU: torch.zeros(1, 8)}, p),
        rf"has wrong shapes: {IOU} \(1, 8\) instead of \(1, 256\)",
    ),
    "not a tensor": (lambda s, p: save(s | {IOU: 3}, p), rf"not of plain numbers: {IOU} \(int\)"),
    "two state dicts": (
        lambda s, p: save({"model": dict(s), "model_state": dict(s)}, p),
        r"holds several state dicts \(model, model_state\): write the one to use",
    ),
    "future format": (lambda s, p: save({"format": "napari-sam-amg/9"}, p), "has format 'napari-sam-amg/9', known is"),
    "our format, no weights": (
        lambda s, p: save({"format": "napari-sam-amg/1", "config": {}, "amg": {}}, p),
        "has no entry model",
    ),
    "our format, no size": (
        lambda s, p: save(our_file({}, config=without(OUR_CONFIG, "mlp_dim")), p),
        "has no entry mlp_dim in its config",
    ),
    "NaN": (
        lambda s, p: save(s | {IOU: torch.full((1, 256), float("nan"))}, p),
        f"holds NaN or infinite weights in {IOU}: its training went wrong",
    ),
    "one infinite weight": (
        lambda s, p: save(s | {IOU: torch.arange(256.0)[None] / (torch.arange(256.0)[None] != 7)}, p),
        f"holds NaN or infinite weights in {IOU}",
    ),
    "more than a float32 holds": (
        lambda s, p: save(s | {IOU: torch.full((1, 256), 1e300, dtype=torch.float64)}, p),
        f"holds NaN or infinite weights in {IOU}",
    ),
    "whole numbers for floats": (
        lambda s, p: save(s | {IOU: torch.ones(1, 256, dtype=torch.int64)}, p),
        rf"looks like vit_t but has no floats in {IOU} \(int64\)",
    ),
    "complex": (
        lambda s, p: save(s | {IOU: torch.ones(1, 256, dtype=torch.complex64)}, p),
        rf"looks like vit_t but has no floats in {IOU} \(complex64\)",
    ),
    "8-bit floats": (
        lambda s, p: save(s | {IOU: torch.ones(1, 256).to(torch.float8_e4m3fn)}, p),
        rf"not of plain numbers: {IOU} \(tensor_v3\)",
    ),
    "sparse": (
        lambda s, p: save(s | {IOU: torch.ones(1, 256).to_sparse()}, p),
        rf"not of plain numbers: {IOU} \(sparse_tensor\)",
    ),
    "quantized": (
        lambda s, p: save(s | {IOU: quantized()}, p),
        rf"not of plain numbers: {IOU} \(qtensor\)",
    ),
    "numbers far apart": (
        lambda s, p: save(s | {IOU: torch.zeros(3_000_000)[None, ::10_000][:, :256]}, p),
        f"looks like vit_t but has numbers far apart in {IOU}",
    ),
    "raw and averaged": (
        lambda s, p: save({"state_dict": dict(s), "state_dict_ema": dict(s)}, p),
        r"holds several state dicts \(state_dict, state_dict_ema\): write the one to use to a file of its own",
    ),
    "TorchScript": (
        lambda s, p: torchscript(p),
        "is a TorchScript program, not a state dict: save model.state_dict",
    ),
    "safetensors": (
        lambda s, p: p.write_bytes((10).to_bytes(8, "little") + b'{"a": {}} '),
        "is a safetensors file, not PyTorch's: write it anew with torch.save",
    ),
    "other order of bytes": (big_endian, "was written on a computer with another order of bytes"),
    "storage cut short": (lambda s, p: shorten_storage(s, p), "truncated or damaged"),
    "our format, other encoder": (
        lambda s, p: save(our_file({}, config=OUR_CONFIG | {"architecture": "vit_x"}), p),
        "has architecture='vit_x' in its config, known is 'unet'",
    ),
}


def test_compressed_as_our_training_writes_it(hollow_vit_t: State, tmp_path: Path) -> None:
    state = hollow_vit_t | {IOU: torch.arange(256.0)[None]}
    torch.save({"model": state}, tmp_path / "a.pt")
    compress(tmp_path / "a.pt")
    assert torch.equal(load_model(tmp_path / "a.pt", "cpu").state_dict()[IOU], state[IOU])


def our_file(model: Mapping[str, Tensor], config: Mapping[str, Any] = OUR_CONFIG) -> dict[str, Any]:
    return {"format": "napari-sam-amg/1", "config": config, "amg": {"pred_iou_thresh": 0.4}, "model": model}


@pytest.mark.parametrize(("write", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_wrong_file_gets_one_clear_line(
    write: Callable[[State, Path], Any], message: str, hollow_vit_t: State, tmp_path: Path
) -> None:
    path = tmp_path / "sam_vit_b_01ec64.pth"
    write(dict(hollow_vit_t), path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path, "cpu")
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(
        "expected a SAM checkpoint of vit_h, vit_l, vit_b or vit_t, or one made by this project's training"
    )
    assert "\n" not in text
    assert len(text) < 500


@pytest.mark.parametrize("name", ["vit_q", "/no/such/folder/sam.pth", Path("vit_b"), ""])
def test_unknown_name_or_absent_file_lists_the_known(name: str | Path, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="embedded, vit_t, vit_b, vit_l, vit_h, vit_t_lm") as caught:
        load_model(name, "cpu")
    assert repr(str(name)) in str(caught.value)


#: Keys of micro-sam's segmentation decoder, a UNETR, as its training names them.
UNETR = ("base.block.1.weight", "decoder.blocks.0.conv.weight", "deconv1.block.0.weight", "out_conv.bias", "encoder.w")
HEADS = {key: torch.zeros(1) for key in UNETR}
ACCEPTED: dict[str, Callable[[State], object]] = {
    "plain": lambda s: s,
    "half precision": lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
    "bfloat16": lambda s: {k: v.bfloat16() if v.is_floating_point() else v for k, v in s.items()},
    "micro-sam training": lambda s: {
        "model_state": {f"sam.{k}": v for k, v in s.items()},
        "decoder_state": HEADS,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-5}]},
        "epoch": 3,
    },
    "micro-sam export with its decoder": lambda s: {"model_state": s, "decoder_state": HEADS},
    "micro-sam's two networks in one": lambda s: {"model_state": {f"sam.{k}": v for k, v in s.items()} | HEADS},
    "plain beside a decoder": lambda s: s | {"decoder_state": HEADS, "epoch": 3},
    "plain among a decoder's keys": lambda s: HEADS | s | {"unetr.out_conv.weight": torch.zeros(1)},
    "data parallel": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
    "MedSAM training": lambda s: {"model": s, "optimizer": {"state": {}}, "epoch": 3},
    "PyTorch's tutorial": lambda s: {"epoch": 1, "model_state_dict": s, "optimizer_state_dict": {"state": {0: {}}}},
    "a config under the usual name": lambda s: {"model": {"type": "vit_t", "encoder": [1, 2]}, "state_dict": s},
    "any other name": lambda s: {"my network": s, "norms": {"image_encoder.norm": 0.3}},
    "deeper inside": lambda s: {"model": {"config": {}, "weights": s}},
    "Lightning": lambda s: {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"sam_model.{k}": v for k, v in s.items()} | {"loss.weight": torch.ones(3)},
        "callbacks": {"EMA": {"ema_state_dict": s}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
        "hyper_parameters": argparse.Namespace(lr=1e-4, path=Path("data")),
    },
    "compiled and data parallel": lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}},
    "numpy beside": lambda s: {"model_state": s, "best_metric": np.float64(0.3), "history": np.arange(3.0)},
    "objects beside": lambda s: {"model": s, "args": argparse.Namespace(lr=np.float32(0.1)), "dir": Path("a"), 3: 4},
    "sets and defaults": lambda s: {"model": s, "seen": {1, 2}, "frozen": frozenset("ab"), "n": defaultdict(int, a=1)},
    "parameters": lambda s: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()},
    "an attribute of its own": lambda s: {"model": with_attribute(s)},
    "double precision": lambda s: {k: v.double() if v.is_floating_point() else v for k, v in s.items()},
    "whole numbers as floats": lambda s: {k: v.half() for k, v in s.items()},
    "whole numbers of 32 bits": lambda s: {k: v if v.is_floating_point() else v.int() for k, v in s.items()},
    "transposed": lambda s: {k: v.t().contiguous().t() if v.ndim == 2 else v for k, v in s.items()},
    "one storage": lambda s: in_one_storage(s),
}


def with_attribute(state: State) -> State:
    marked = nn.Parameter(state[IOU])
    marked.no_decay = True  # type: ignore[attr-defined]
    return state | {IOU: marked}


def in_one_storage(state: State) -> State:
    """Views of one long vector, as flattened training keeps them."""
    floats = {key: value for key, value in state.items() if value.is_floating_point() and value.numel() < 3000}
    flat = torch.cat([value.flatten() for value in floats.values()])
    parts = flat.split([value.numel() for value in floats.values()])
    return state | {key: part.view_as(floats[key]) for key, part in zip(floats, parts, strict=True)}


OLD_FORMAT = (
    "plain",
    "half precision",
    "micro-sam training",
    "objects beside",
    "parameters",
    "one storage",
    "Lightning",
)
FORMS = [*((name, False) for name in ACCEPTED), *((name, True) for name in OLD_FORMAT)]


@pytest.mark.parametrize(("form", "legacy"), FORMS)
def test_accepted_forms(form: str, legacy: bool, hollow_vit_t: State, tmp_path: Path) -> None:
    state = hollow_vit_t | {IOU: torch.arange(256.0)[None]}
    torch.save(ACCEPTED[form](state), tmp_path / "my model.pt", _use_new_zipfile_serialization=not legacy)
    model = load_model(str(tmp_path / "my model.pt"), "cpu")
    loaded = model.state_dict()
    assert torch.equal(loaded[IOU], state[IOU])
    assert {value.dtype for value in loaded.values()} == {torch.float32, torch.int64}
    assert (model.info.architecture, model.info.name, model.info.path_name) == ("vit_t", "my model", "my model.pt")
    assert model.info.amg_defaults == {}


def test_round_trip_of_our_format(randomize: Any, tmp_path: Path) -> None:
    encoder = {"channels": (8, 8, 8, 8, 8), "blocks": (0, 1, 1, 1, 1), "center_cells": 1}
    config = SamConfig("unet", 64, 8, 32, 2, 4, 16, 16, 4, encoder)
    model = randomize(build_sam(config))
    torch.save(our_file({key: value.half() for key, value in model.state_dict().items()}), tmp_path / "a.pt")
    loaded = load_model(tmp_path / "a.pt", "cpu")
    assert loaded.config == config
    assert loaded.info.amg_defaults == {**OURS, "pred_iou_thresh": 0.4}
    assert loaded.info.sha256 == hash_file(tmp_path / "a.pt")
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, model.state_dict()[key].half().to(value.dtype)), key


def test_model_survives_overwriting_its_file(hollow_vit_t: State, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save(hollow_vit_t | {IOU: torch.arange(256.0)[None]}, path)
    model = load_model(path, "cpu")
    path.write_bytes(b"")
    assert model.state_dict()[IOU].sum() == 255 * 128


def test_embedded_model_runs() -> None:
    model = load_model(device="cpu")
    assert model.info.name == "embedded"
    assert model.info.architecture == "unet"
    embedding = model.embed(np.zeros((40, 60, 3), np.uint8))
    found = model.decode(embedding, np.array([[30.0, 20.0]]), keep=lambda iou: iou > -10)
    assert found.low_res_logits.shape == (3, 4 * model.config.grid_side, 4 * model.config.grid_side)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [
        (0, False, ("cpu",)),
        (0, True, ("mps", "cpu")),
        (1, False, ("cuda", "cuda:0", "cpu")),
        (2, True, ("cuda", "cuda:0", "cuda:1", "mps", "cpu")),
    ],
)
def test_auto_takes_the_fastest_device(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert available_devices() == expected
    assert select_device("auto") == torch.device(expected[0])
    assert select_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "", "CPU"])
def test_unavailable_device_lists_the_available(device: str) -> None:
    with pytest.raises(ValueError, match=rf"device='{device}' is not available: choose one of auto, .*cpu"):
        load_model("vit_q", device)


def test_known_models_start_with_the_embedded() -> None:
    assert known_models()[:5] == ("embedded", "vit_t", "vit_b", "vit_l", "vit_h")


def test_more_weights_than_any_sam_has(hollow_vit_t: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They may be claimed by a file of some kB, and would be made."""
    torch.save(hollow_vit_t, tmp_path / "a.pt")
    numbers = sum(value.numel() for value in hollow_vit_t.values())
    monkeypatch.setattr(state_dict, "_MAX_NUMBERS", numbers)
    load_model(tmp_path / "a.pt", "cpu")
    monkeypatch.setattr(state_dict, "_MAX_NUMBERS", numbers - 1)
    with pytest.raises(CheckpointError, match=f"says to have {numbers} weights, allowed are {numbers - 1}"):
        load_model(tmp_path / "a.pt", "cpu")
