"""The segmentation decoder of micro-sam in a checkpoint or beside it: what is read, and what is said otherwise."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam_amg.hashes import hash_file
from napari_sam_amg.models import registry
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.models.registry import KnownModel
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.provenance import describe_run
from napari_sam_amg.sam.unetr import SegmentationDecoder
from tests.loopback import Loopback
from tests.reference.torch_em import reference_unetr

State = dict[str, Tensor]
OUT = "out_conv.weight"


@pytest.fixture(scope="module")
def decoder_state() -> State:
    """Random weights; all of one value each would hide an exchange of channels."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return SegmentationDecoder().state_dict()


@pytest.fixture
def save(hollow_vit_t: State, tmp_path: Path) -> Callable[[object], Path]:
    """A finetune as micro-sam exports it, with this for its decoder's state."""

    def write(state: object) -> Path:
        torch.save({"model_state": hollow_vit_t, "decoder_state": state}, tmp_path / "finetune.pt")
        return tmp_path / "finetune.pt"

    return write


@pytest.mark.parametrize("transposed", [False, True])
def test_decoder_in_the_file_gives_torch_ems_maps(
    save: Callable[[object], Path], randomize: Any, transposed: bool
) -> None:
    theirs = randomize(reference_unetr(transposed, 64))
    model = load_model(save(theirs.state_dict()), "cpu")
    assert model.info.no_decoder == ""
    assert model.info.decoder_sha256 == ""
    assert model.segmentation_decoder is not None
    assert not model.segmentation_decoder.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    embedding = torch.randn(1, 256, 4, 4)
    expected = theirs.decode((embedding, None, None), (64, 64), (64, 64))
    torch.testing.assert_close(model.segmentation_decoder(embedding), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "saved",
    [
        lambda s: {key: value.half() for key, value in s.items()},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: s | {"encoder.patch_embed.proj.weight": torch.zeros(2)},
    ],
    ids=["half", "data parallel", "with its encoder"],
)
def test_other_ways_to_save_it(
    saved: Callable[[State], object], save: Callable[[object], Path], decoder_state: State
) -> None:
    model = load_model(save(saved(decoder_state)), "cpu")
    assert model.info.no_decoder == ""
    assert model.segmentation_decoder is not None
    for key, value in model.segmentation_decoder.state_dict().items():
        torch.testing.assert_close(value, decoder_state[key], rtol=1e-3, atol=1e-6)


WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "absent": (lambda s: None, "PATH holds no decoder_state, which finetunes of micro-sam have"),
    "no state dict": (lambda s: [1, 2], "PATH: its segmentation decoder: is a list, not a state dict"),
    "no tensor": (
        lambda s: s | {OUT: 3},
        f"PATH: its segmentation decoder: holds entries that are not tensors, or not of plain numbers: {OUT} (int)",
    ),
    "a key is missing": (
        lambda s: {key: value for key, value in s.items() if key != OUT},
        f"PATH: its segmentation decoder: looks like torch-em's UNETR but lacks {OUT}",
    ),
    "a foreign key": (
        lambda s: s | {"deconv5.weight": torch.zeros(1)},
        "PATH: its segmentation decoder: looks like torch-em's UNETR but has the foreign deconv5.weight",
    ),
    "two maps": (
        lambda s: s | {OUT: s[OUT][:2]},
        "PATH: its segmentation decoder: looks like torch-em's UNETR but has wrong shapes: "
        f"{OUT} (2, 64, 1, 1) instead of (3, 64, 1, 1)",
    ),
    "not a number": (
        lambda s: s | {OUT: s[OUT] * torch.nan},
        f"PATH: its segmentation decoder: holds NaN or infinite weights in {OUT}: its training went wrong, or it is "
        "damaged",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_decoder_that_cannot_be_used_leaves_the_model_usable(
    kind: str, save: Callable[[object], Path], decoder_state: State
) -> None:
    wrong, words = WRONG[kind]
    path = save(wrong(decoder_state))
    model = load_model(path, "cpu")
    assert model.segmentation_decoder is None
    assert model.info.no_decoder == words.replace("PATH", str(path))
    assert model.info.architecture == "vit_t"


def test_the_embedded_model_has_other_maps() -> None:
    model = load_model()
    assert model.segmentation_decoder is None
    assert model.info.no_decoder == "its own maps are others, of foreground, boundary and offsets"


@pytest.fixture
def beside(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, hollow_vit_t: State, decoder_state: State, tmp_path: Path
) -> KnownModel:
    """A published SAM that is in the models folder; its decoder, a file of its own, is on the server."""
    known = registry._DOWNLOADABLE["vit_t_lm"]
    known.path.parent.mkdir()
    torch.save(hollow_vit_t, known.path)
    torch.save(decoder_state, tmp_path / "decoder.pt")
    server.content = (tmp_path / "decoder.pt").read_bytes()
    assert known.decoder is not None
    decoder = dataclasses.replace(
        known.decoder, url=f"{server.url}/decoder.pt", digest=f"sha256:{hash_file(tmp_path / 'decoder.pt')}"
    )
    model = dataclasses.replace(known, digest=f"sha256:{hash_file(known.path)}", decoder=decoder)
    monkeypatch.setitem(registry._DOWNLOADABLE, "vit_t_lm", model)
    return model


def test_a_decoder_beside_the_file_is_downloaded_and_recorded(beside: KnownModel, decoder_state: State) -> None:
    assert beside.decoder is not None
    model = load_model("vit_t_lm", "cpu", quiet=True)
    assert beside.decoder.path.name == "vit_t_lm_decoder.pt"
    assert model.segmentation_decoder is not None
    torch.testing.assert_close(model.segmentation_decoder.state_dict()[OUT], decoder_state[OUT])
    assert model.info.no_decoder == ""
    record = describe_run(model, AmgParameters())["model"]
    assert record["decoder_sha256"] == hash_file(beside.decoder.path) == model.info.decoder_sha256
    assert record["sha256"] == hash_file(beside.path)


def test_a_decoder_in_the_file_itself_comes_first(
    beside: KnownModel, server: Loopback, hollow_vit_t: State, decoder_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model_state": hollow_vit_t, "decoder_state": decoder_state}, beside.path)
    changed = dataclasses.replace(beside, digest=f"sha256:{hash_file(beside.path)}")
    monkeypatch.setitem(registry._DOWNLOADABLE, "vit_t_lm", changed)
    model = load_model("vit_t_lm", "cpu", quiet=True)
    assert model.segmentation_decoder is not None
    assert model.info.decoder_sha256 == ""
    assert server.requests == []


def test_without_the_decoders_file_the_model_is_usable_and_says_where_it_is(
    beside: KnownModel, server: Loopback
) -> None:
    assert beside.decoder is not None
    model = load_model("vit_t_lm", "cpu", offline=True)
    assert server.requests == []
    assert model.segmentation_decoder is None
    assert f"download {server.url}/decoder.pt and save it as {beside.decoder.path}" in model.info.no_decoder
    assert "decoder_sha256" not in describe_run(model, AmgParameters())["model"]


def test_a_damaged_file_of_the_decoder_is_named(beside: KnownModel) -> None:
    assert beside.decoder is not None
    beside.decoder.path.write_bytes(b"nothing")
    model = load_model("vit_t_lm", "cpu", offline=True)
    assert model.info.no_decoder.startswith(
        f"{beside.decoder.path} is damaged or not 'vit_t_lm_decoder': its sha256 is"
    )


def test_every_published_finetune_names_its_decoder() -> None:
    for name, model in registry._DOWNLOADABLE.items():
        is_finetune = name[5:] in ("_lm", "_em_organelles")
        assert (model.decoder is not None) == is_finetune
        assert model.files == ((model, model.decoder) if is_finetune else (model,))
        if model.decoder is not None:
            assert model.decoder.url == model.url.replace(f"{name[:5]}.pt", f"{name[:5]}_decoder.pt")
            assert model.decoder.digest not in (model.digest, "")
