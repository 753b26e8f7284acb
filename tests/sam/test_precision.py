"""Exact and fast numbers, and that every tensor follows the model's device and type."""

import gc
import weakref
from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_sam_amg import AmgParameters, generate_masks, load_model
from napari_sam_amg.cli.main import main
from napari_sam_amg.sam import precision
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import SamConfig
from napari_sam_amg.sam.model import STAYS_FLOAT32
from napari_sam_amg.sam.precision import PrecisionWarning
from tests.disc_model import keep_all
from tests.samples import sample

TINY_VIT = SamConfig(
    "vit_b", img_size=64, encoder={"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": (1,)}
)
TINY_UNET = SamConfig("unet", 64, 8, 32, 2, 4, 16, 16, 4, {"channels": [8] * 5, "blocks": [1] * 5})
CONFIGS = [
    pytest.param(TINY_VIT, id="vit"),
    pytest.param(SamConfig("vit_t", img_size=64), id="vit_t"),
    pytest.param(TINY_UNET, id="unet"),
]
IMAGE = np.random.default_rng(0).integers(0, 256, (50, 64, 3), dtype=np.uint8)


@pytest.fixture
def bfloat16_everywhere(monkeypatch):
    """A CPU without fast 16-bit floats emulates them, which is slow but gives the same numbers."""
    monkeypatch.setattr(precision, "half_type", lambda device: torch.bfloat16)


@pytest.fixture
def no_half(monkeypatch):
    monkeypatch.setattr(precision, "half_type", lambda device: None)


class Seen(TorchDispatchMode):
    """Notes the devices and float types of all tensors that operations give."""

    def __init__(self):
        super().__init__()
        self.devices, self.types = set(), set()

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        out = operation(*arguments, **(keywords or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.devices.add(tensor.device.type)
                self.types.add(tensor.dtype)
        return out


def built(config, randomize):
    """A model of these sizes on the CPU, with random weights."""
    model = build_sam(config)
    state = {key: torch.empty(value.shape, dtype=value.dtype) for key, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return randomize(model)


@pytest.mark.parametrize("config", CONFIGS)
def test_no_double_numbers(config, randomize):
    model = built(config, randomize)
    with Seen() as seen:
        embedding = model.embed(IMAGE)
        model.decode(embedding, np.array([[3.0, 4.0], [60.0, 49.0]]), keep_all)
    assert seen.types == {torch.float32}


@pytest.mark.parametrize("config", CONFIGS)
def test_fast_computes_in_halves(config, randomize, bfloat16_everywhere):
    model = built(config, randomize)
    points = np.array([[3.0, 4.0], [60.0, 49.0]])
    exact = model.decode(model.embed(IMAGE), points, keep_all)
    model.set_precision("fast")
    assert model.precision == "fast"
    with Seen() as seen:
        fast = model.decode(model.embed(IMAGE), points, keep_all)
    assert torch.float64 not in seen.types
    assert fast.predicted_iou.dtype == torch.float32
    assert model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.dtype == torch.float32
    torch.testing.assert_close(fast.predicted_iou, exact.predicted_iou, atol=0.1, rtol=0.1)
    correlation = torch.corrcoef(torch.stack([fast.low_res_logits.float().flatten(), exact.low_res_logits.flatten()]))
    assert correlation[0, 1] > 0.99


@pytest.mark.parametrize("config", CONFIGS)
def test_every_tensor_follows_the_model_to_its_device(config, monkeypatch):
    """The meta device computes nothing, but refuses tensors of other devices; it has no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    model = build_sam(config).requires_grad_(False).eval().to("meta")
    with Seen() as seen:
        side = model.embed(IMAGE).side
        model.mask_decoder.read(side, torch.empty(2, 2, config.embed_dim, device="meta"))
    level = side.transformer.levels[1]
    tensors = (side.upscaling.shared, level.read_key, level.read_value, level.write_query, level.written[0])
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert torch.float64 not in seen.types


def test_fast_finds_nearly_the_same_masks(bfloat16_everywhere):
    image = sample("nuclei.tif")[:300, :400]
    params = AmgParameters(points_per_side=10, pred_iou_thresh=0.4, stability_score_thresh=0.5, box_nms_thresh=0.5)
    exact, fast = (
        generate_masks(image, load_model(device="cpu", precision=name), params).to_coco("binary_mask")
        for name in ("exact", "fast")
    )
    a, b = (np.array([record["segmentation"].ravel() for record in records], np.float32) for records in (exact, fast))
    inter = a @ b.T
    iou = inter / (a.sum(1)[:, None] + b.sum(1) - inter)
    assert len(exact) > 20
    assert (iou.max(1) >= 0.95).mean() >= 0.95
    assert (iou.max(0) >= 0.95).mean() >= 0.95


def assert_same_state(model, expected):
    state = model.state_dict()
    assert {name: value.dtype for name, value in state.items()} == {n: value.dtype for n, value in expected.items()}
    assert all(torch.equal(state[name], value) for name, value in expected.items())


@pytest.mark.parametrize("config", CONFIGS)
def test_exact_after_fast_is_exact_bit_for_bit(config, randomize, bfloat16_everywhere, monkeypatch):
    model = built(config, randomize)
    before, embedding = deepcopy(model.state_dict()), model.embed(IMAGE)
    model.set_precision("fast")
    halves = deepcopy(model.state_dict())
    assert any(not torch.equal(halves[name].to(value.dtype), value) for name, value in before.items())
    model.set_precision("fast")
    assert_same_state(model, halves)
    monkeypatch.setattr(precision, "half_type", lambda device: torch.float16)
    model.set_precision("fast")  # rounded from the weights as loaded, and not from rounded ones
    for name, value in model.image_encoder.state_dict().items():
        original = before[f"image_encoder.{name}"]
        assert value.dtype == original.dtype or torch.equal(value, original.half())
    model.set_precision("exact")
    assert_same_state(model, before)
    after = model.embed(IMAGE)
    assert torch.equal(after.side.transformer.levels[0].read_key, embedding.side.transformer.levels[0].read_key)
    assert torch.equal(after.side.upscaling.shared, embedding.side.upscaling.shared)


def test_exact_weights_are_held_twice_only_while_fast(randomize, bfloat16_everywhere):
    model = built(TINY_UNET, randomize)
    weights = weakref.ref(next(model.image_encoder.parameters()).untyped_storage())
    model.set_precision("fast")
    gc.collect()
    assert weights() is not None
    halves = weakref.ref(next(model.image_encoder.parameters()).untyped_storage())
    model.set_precision("exact")
    gc.collect()
    assert halves() is None
    assert model._exact_weights is None


def test_weights_that_were_loaded_while_fast_are_not_replaced_by_the_old_ones(randomize, bfloat16_everywhere):
    model = built(TINY_UNET, randomize)
    model.set_precision("fast")
    name, weights = next(iter(model.image_encoder.named_parameters()))
    kept = deepcopy(model.state_dict())
    weights.data.add_(1)
    changed = weights.detach().clone()
    model.set_precision("exact")
    assert torch.equal(model.image_encoder.state_dict()[name], changed.float())
    assert model.image_encoder.state_dict()[name].dtype == torch.float32
    assert torch.equal(model.mask_decoder.mask_tokens.weight, kept["mask_decoder.mask_tokens.weight"])


@pytest.mark.parametrize("config", CONFIGS)
def test_what_stays_float32_is_neither_rounded_nor_held(config, randomize, bfloat16_everywhere):
    model = built(config, randomize)
    before = deepcopy(model.state_dict())
    kept = {
        f"{path}.{name}".removeprefix(".")
        for path, module in model.image_encoder.named_modules()
        for name in module.state_dict()
        if isinstance(module, STAYS_FLOAT32)
    }
    assert bool(kept) == (config.architecture != "vit_b")  # a ViT has no batch norms
    model.set_precision("fast")
    for name, value in model.image_encoder.state_dict().items():
        if name in kept:
            assert torch.equal(value, before[f"image_encoder.{name}"]), name
        elif value.is_floating_point():
            assert value.dtype == torch.bfloat16, name


def test_without_halves_it_stays_exact_and_says_so(no_half):
    with pytest.warns(PrecisionWarning, match="this cpu does not have: computing exactly"):
        model = load_model(device="cpu", precision="fast")
    assert model.precision == "exact"


def test_the_command_says_so_in_a_line(no_half, tmp_path, capsys):
    tmp_path.joinpath("empty.png").write_bytes(b"")
    assert main(["segment", str(tmp_path / "empty.png"), "--output", str(tmp_path / "out"), "--precision", "fast"]) == 1
    assert any("computing exactly" in line for line in capsys.readouterr().err.splitlines())


def test_unknown_words_and_numbers():
    with pytest.raises(ValueError, match="precision='half' is not allowed: choose one of exact, fast"):
        load_model(device="cpu", precision="half")
    with pytest.raises(ValueError, match="micro_batch=0 is not allowed"):
        load_model(device="cpu", micro_batch=0)


@pytest.mark.parametrize("prompts", [1, 3, 5, 100])
def test_the_size_of_a_micro_batch_changes_nothing(prompts, randomize):
    model = built(TINY_UNET, randomize)
    points = np.random.default_rng(1).uniform(0, 50, (6, 2))  # with 5, the last one has a single prompt
    embedding = model.embed(IMAGE)
    expected = model.decode(embedding, points, keep_all)
    model.micro_batch = prompts
    found = model.decode(embedding, points, keep_all)
    assert found.prompt_index.tolist() == expected.prompt_index.tolist()
    torch.testing.assert_close(found.low_res_logits, expected.low_res_logits, rtol=1e-4, atol=1e-5)
    one = model.decode(embedding, points[:1], keep_all)
    torch.testing.assert_close(one.low_res_logits, expected.low_res_logits[:3], rtol=1e-4, atol=1e-5)
