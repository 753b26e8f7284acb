"""Exported models in onnxruntime against torch, and against the reference's own ONNX decoder."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import segment_anything.utils.onnx as reference
import torch
from numpy.typing import NDArray
from PIL import Image

import napari_sam_amg
from napari_sam_amg.interchange import onnx as interchange
from napari_sam_amg.interchange.onnx import OnnxFiles, export_onnx
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.run import as_rgb
from napari_sam_amg.sam.build import build_sam
from napari_sam_amg.sam.config import ModelInfo, SamConfig
from napari_sam_amg.sam.model import Sam
from tests.disc_model import keep_all
from tests.random_weights import randomized
from tests.reference.sam import reference_sam
from tests.samples import sample

VIT = SamConfig(
    "vit_b", 160, 16, 32, 2, 4, 32, 16, 4,
    {"embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 7, "global_attn_indexes": (1,)},
)  # fmt: skip
TINY_VIT = SamConfig(
    "vit_t", 128, 16, 32, 2, 4, 32, 16, 4,
    {"embed_dims": (8, 16, 16, 32), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window_sizes": (7, 7, 5, 7)},
)  # fmt: skip
UNET = SamConfig("unet", 64, 8, 32, 2, 4, 32, 16, 4, {"channels": (8,) * 5, "blocks": (0, 1, 1, 1, 1)})
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def random_model(config: SamConfig) -> Sam:
    model = build_sam(config)
    model.image_encoder.to_empty(device="cpu")
    randomized(model)
    model.info = ModelInfo(f"my {config.architecture}", config.architecture, "my.pt", "5" * 64, {"box_nms_thresh": 0.5})
    return model


@pytest.fixture(scope="module", params=["vit_b", "vit_t", "embedded"])
def model(request: pytest.FixtureRequest) -> Sam:
    if request.param == "embedded":
        return load_model(device="cpu")
    return random_model({"vit_b": VIT, "vit_t": TINY_VIT}[request.param])


@pytest.fixture(scope="module")
def exported(model: Sam, tmp_path_factory: pytest.TempPathFactory) -> OnnxFiles:
    return export_onnx(model, tmp_path_factory.mktemp("onnx") / "new" / "folder")


def run(path: Path, **inputs: Any) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value, np.float32) for name, value in inputs.items()})


def tissue() -> NDArray[np.uint8]:
    return as_rgb(sample("tissue.tif"))


def prompts(model: Sam, count: int, labels: list[float], mask: bool = False) -> dict[str, torch.Tensor]:
    """The decoder's inputs: ``count`` prompts with these labels, all on the tissue."""
    side = model.config.img_size
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return {
            "image_embeddings": model.image_encoder(model.preprocess(tissue())[0]),
            "point_coords": torch.rand(count, len(labels), 2, generator=generator) * side,
            "point_labels": torch.tensor(labels).repeat(count, 1),
            "mask_input": torch.randn(1, 1, 4 * model.config.grid_side, 4 * model.config.grid_side),
            "has_mask_input": torch.tensor([float(mask)]),
        }


def test_encoder_gives_what_torch_gives(model: Sam, exported: OnnxFiles) -> None:
    pixels, _ = model.preprocess(tissue())
    (found,) = run(exported.encoder, image=pixels)
    with torch.inference_mode():
        np.testing.assert_allclose(found, model.image_encoder(pixels), **CLOSE)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("labels", [[1], [1, -1], [1, 0], [2, 3], [1, 0, 2, 3, -1]], ids=str)
@pytest.mark.parametrize("mask", [False, True])
def test_decoder_gives_what_the_references_gives(
    model: Sam, exported: OnnxFiles, count: int, labels: list[float], mask: bool
) -> None:
    inputs = prompts(model, count, labels, mask)
    masks, iou = run(exported.decoder, **inputs)
    theirs = reference.SamOnnxModel(reference_sam(model), return_single_mask=False)
    _, wanted_iou, wanted_masks = theirs(*inputs.values(), torch.tensor([32.0, 40.0]))
    side = 4 * model.config.grid_side
    assert masks.shape == (count, 4, side, side)
    np.testing.assert_allclose(masks, wanted_masks, **CLOSE)
    np.testing.assert_allclose(iou, wanted_iou, **CLOSE)


def test_the_files_find_what_the_engine_finds(model: Sam, exported: OnnxFiles) -> None:
    image = tissue()
    points = np.array([[30.0, 20.0], [100.5, 200.0]])
    wanted = model.decode(model.embed(image), points, keep_all)
    pixels, (height, width) = model.preprocess(image)
    scaled = points * (width / image.shape[1], height / image.shape[0])
    masks, iou = run(
        exported.decoder,
        image_embeddings=run(exported.encoder, image=pixels)[0],
        point_coords=np.stack([scaled, np.zeros((2, 2))], axis=1),
        point_labels=[[1, -1], [1, -1]],
        mask_input=np.zeros((1, 1, *wanted.low_res_logits.shape[1:])),
        has_mask_input=[0],
    )
    np.testing.assert_allclose(iou[:, 1:].ravel(), wanted.predicted_iou, **CLOSE)
    np.testing.assert_allclose(masks[:, 1:].reshape(wanted.low_res_logits.shape), wanted.low_res_logits, **CLOSE)


def test_files_say_what_they_are(model: Sam, exported: OnnxFiles) -> None:
    assert exported.encoder.name == f"{model.info.name}_encoder.onnx"
    assert exported.decoder.name == f"{model.info.name}_decoder.onnx"
    assert sorted(exported.encoder.parent.iterdir()) == [exported.decoder, exported.encoder]
    assert 0 < exported.encoder_difference < 1e-4
    assert 0 < exported.decoder_difference < 1e-4
    for path in (exported.encoder, exported.decoder):
        onnx.checker.check_model(path)
        found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert found["model"] == model.info.name
        assert found["architecture"] == model.info.architecture
        assert found["model_sha256"] == model.info.sha256
        assert int(found["img_size"]) == model.config.img_size
        assert json.loads(found["pixel_mean"]) == [123.675, 116.28, 103.53]
        assert json.loads(found["pixel_std"]) == [58.395, 57.12, 57.375]
        assert float(found["mask_threshold"]) == model.mask_threshold
        assert json.loads(found["amg_defaults"]) == model.info.amg_defaults


def test_names_and_axes_are_the_references(model: Sam, exported: OnnxFiles) -> None:
    session = onnxruntime.InferenceSession(exported.decoder)
    config = model.config
    grid, low_res = config.grid_side, 4 * config.grid_side
    assert {value.name: value.shape for value in session.get_inputs()} == {
        "image_embeddings": [1, config.embed_dim, grid, grid],
        "point_coords": ["prompts", "points", 2],
        "point_labels": ["prompts", "points"],
        "mask_input": [1, 1, low_res, low_res],
        "has_mask_input": [1],
    }
    assert {value.name: value.shape for value in session.get_outputs()} == {
        "low_res_masks": ["prompts", 4, low_res, low_res],
        "iou_predictions": ["prompts", 4],
    }


@pytest.fixture(scope="module")
def small() -> Sam:
    return random_model(TINY_VIT)


def test_a_model_in_training_is_exported_as_it_is_used(tmp_path: Path) -> None:
    model = random_model(UNET).train()  # its batch norms depend on the mode, and change in training
    before = {key: value.clone() for key, value in model.state_dict().items()}
    files = export_onnx(model, tmp_path, opset=20)
    assert model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    pixels, _ = model.preprocess(tissue())
    (found,) = run(files.encoder, image=pixels)
    np.testing.assert_allclose(found, model.eval().image_encoder(pixels), **CLOSE)
    assert [entry.version for entry in onnx.load(files.encoder).opset_import] == [20]


def test_weights_too_large_for_protobuf_lie_beside(small: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interchange, "LARGEST_FILE", 1000)
    files = export_onnx(small, tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "my vit_t_decoder.onnx", "my vit_t_decoder.onnx.data", "my vit_t_encoder.onnx", "my vit_t_encoder.onnx.data"
    ]  # fmt: skip
    shutil.move(tmp_path / "a", tmp_path / "b")
    pixels, _ = small.preprocess(tissue())
    (found,) = run(tmp_path / "b" / files.encoder.name, image=pixels)
    np.testing.assert_allclose(found, small.image_encoder(pixels), **CLOSE)


def test_existing_files_are_kept_unless_told_otherwise(small: Sam, tmp_path: Path) -> None:
    decoder = tmp_path / "my vit_t_decoder.onnx"
    decoder.write_text("precious")
    with pytest.raises(ValueError, match=r"decoder\.onnx exists already: give --overwrite"):
        export_onnx(small, tmp_path)
    assert decoder.read_text() == "precious"
    assert export_onnx(small, tmp_path, overwrite=True).decoder == decoder
    onnx.checker.check_model(decoder)


def test_what_is_not_torchs_is_not_kept(small: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interchange, "TOLERANCE", 0)
    with pytest.raises(ValueError, match=r"my vit_t_encoder.onnx was not kept: its image_embeddings differ .*allowed"):
        export_onnx(small, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("opset", [17, 24, -1])
def test_unknown_opset(small: Sam, tmp_path: Path, opset: int) -> None:
    with pytest.raises(ValueError, match=f"opset={opset} is not allowed: choose one of 18 to 23"):
        export_onnx(small, tmp_path, opset=opset)


def test_folder_that_cannot_be_written_to(small: Sam, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"the output folder .* cannot be written to: Not a directory"):
        export_onnx(small, tmp_path / "file" / "onnx")


def test_missing_packages_are_named(small: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r'needs onnxscript, onnxruntime: .*pip install "napari-sam-amg\[onnx\]"'):
        export_onnx(small, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_it_is_a_name_of_the_package() -> None:
    assert napari_sam_amg.export_onnx is export_onnx


def test_the_example_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "own-models.md").read_text("utf-8")
    code = text.split("<!-- this example is run by the tests -->\n```python\n")[1].split("```")[0]
    model = random_model(TINY_VIT)
    model.info = dataclasses.replace(model.info, name="embedded")
    export_onnx(model, tmp_path / "onnx")
    Image.fromarray(tissue()).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    wanted = model.decode(model.embed(tissue()), np.array([[120.0, 80.0], [40.0, 200.0]]), keep_all)
    logits = wanted.low_res_logits.unflatten(0, (2, 3))
    best = logits[torch.arange(2), wanted.predicted_iou.view(2, 3).argmax(1)]
    clear = np.abs(best.numpy()) > CLOSE["atol"]
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found["best"][clear], best.numpy()[clear] > 0)
