"""The encoder alone, and in the reference's own classes."""

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from napari_sam_amg.sam.unet_encoder import ConvNorm, UnetEncoder
from tests.random_weights import randomized
from training.export import export_model
from training.model import EmbeddedSam, build_model
from training.recipe import ModelConfig

CONFIG = ModelConfig(img_size=128, embed_dim=32, channels=(8, 8, 16, 16, 16), mlp_dim=32, iou_head_hidden_dim=16)


@pytest.fixture(scope="module")
def model() -> EmbeddedSam:
    return build_model(CONFIG, seed=0).eval()


def reference_sam(model: EmbeddedSam) -> Sam:
    config, side = model.config, model.config.img_size // 8
    transformer = TwoWayTransformer(config.depth, config.embed_dim, config.num_heads, config.mlp_dim)
    sam = Sam(
        UnetEncoder(config.img_size, config.embed_dim, config.channels, config.blocks, config.center_cells),
        PromptEncoder(config.embed_dim, (side, side), (config.img_size, config.img_size), config.mask_in_chans),
        MaskDecoder(
            transformer_dim=config.embed_dim,
            transformer=transformer,
            iou_head_hidden_dim=config.iou_head_hidden_dim,
        ),
    )
    sam.load_state_dict(model.state_dict())
    return sam.eval()


def test_output_stride_is_8(model: EmbeddedSam) -> None:
    with torch.no_grad():
        embedding, maps = model.image_encoder.embed_with_maps(torch.randn(2, 3, 128, 128))
    assert embedding.shape == (2, 32, 16, 16)
    assert maps.shape == (2, 4, 64, 64)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_conv_norm_equals_convolution_then_norm(kernel: int, stride: int) -> None:
    layer = randomized(ConvNorm(4, 8, kernel, stride))
    image = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(layer(image), layer[1](layer[0](image)), rtol=1e-4, atol=1e-6)


def test_in_training_the_norm_learns_from_the_batch() -> None:
    layer = ConvNorm(4, 8).train()
    image = torch.randn(2, 4, 9, 7)
    normed = layer(image)
    torch.testing.assert_close(normed.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-5)
    assert layer[1].num_batches_tracked == 1


def test_wrong_number_of_stages_is_named() -> None:
    with pytest.raises(ValueError, match="5 entries"):
        UnetEncoder(channels=(8, 8))


def test_parts_of_a_cell_that_do_not_divide_it_are_refused() -> None:
    with pytest.raises(ValueError, match="center_cells=3 must divide 4"):
        UnetEncoder(center_cells=3)


def test_origin_moves_only_the_centre_encoding(model: EmbeddedSam) -> None:
    """A crop that is all of the frame's content embeds the same with its origin as in the frame."""
    encoder = model.image_encoder
    maps = torch.randn(1, 4, 64, 64)
    centers, weight = encoder._pool_centers(maps, None)
    assert weight.shape == (1, 32, 32)  # two parts along each side of 16 cells
    moved, _ = encoder._pool_centers(maps, torch.tensor([[3, 5]]))
    torch.testing.assert_close(moved - centers, torch.tensor([40.0, 24.0]).expand_as(centers), atol=1e-4, rtol=0)


def test_crop_with_its_origin_matches_the_frame() -> None:
    """Far from the crop's edges, which change the context, a crop embeds as in the frame."""
    torch.manual_seed(0)
    frame = torch.zeros(1, 3, 384, 384)
    frame[:, :, 160:224, 160:224] = torch.randn(1, 3, 64, 64)
    encoder = UnetEncoder(384, 16, (8, 8, 8, 8, 8), (0, 0, 0, 0, 0)).eval()
    with torch.no_grad():
        whole = encoder(frame)[0, :, 22:26, 22:26]
        part = frame[:, :, 64:320, 64:320]
        crop = encoder(part, torch.tensor([[8, 8]]))[0, :, 14:18, 14:18]
        misplaced = encoder(part)[0, :, 14:18, 14:18]
    torch.testing.assert_close(crop, whole, atol=2e-3, rtol=0)
    assert (misplaced - whole).abs().max() > 2e-2


def test_reference_generator_runs_on_our_encoder(model: EmbeddedSam) -> None:
    generator = SamAutomaticMaskGenerator(
        reference_sam(model), points_per_side=2, pred_iou_thresh=-10.0, stability_score_thresh=0.0
    )
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    for annotation in generator.generate(image):
        assert annotation["segmentation"].shape == (50, 70)


def test_exported_checkpoint_is_safe_small_and_complete(model: EmbeddedSam, tmp_path) -> None:
    path = tmp_path / "embedded.pt"
    export_model(model, path)
    saved = torch.load(path, weights_only=True)
    assert saved["format"] == "napari-sam-amg/1"
    assert saved["config"]["architecture"] == "unet"
    assert saved["config"]["embed_dim"] == 32
    assert set(saved["model"]) == set(model.state_dict())
    weights = {value.dtype for value in saved["model"].values() if value.ndim > 1 and value.is_floating_point()}
    assert weights == {torch.float16}
