"""The benchmark's model computes what the embedded model does, in our classes and in the reference's."""

from functools import cache

import numpy as np
import pytest
import torch

from benchmarks.images import sample_image
from benchmarks.widen import SAM_DIMENSIONS, widened
from napari_sam_amg import load_model
from napari_sam_amg.sam.config import SamConfig
from napari_sam_amg.sam.model import Sam
from tests.disc_model import keep_all
from tests.reference.sam import reference_sam

POINTS = np.array([[0.0, 0.0], [200.0, 31.0], [47.5, 300.25], [511.0, 511.0]])  # px of the 512 px input
TOLERANCE = {"rtol": 0, "atol": 1e-4}


@cache
def small() -> Sam:
    return load_model("embedded", "cpu")


@cache
def small_masks():
    decoded = small().decode(small().embed(sample_image("nuclei", 512)), POINTS, keep_all)
    return decoded.predicted_iou.view(-1, 3), decoded.low_res_logits.unflatten(0, (-1, 3))


@pytest.fixture(scope="module")
def doubled() -> np.ndarray:
    """The same image with every pixel as a square of four, so that the pooled input is the same."""
    return sample_image("nuclei", 512).repeat(2, axis=0).repeat(2, axis=1)


def same_points_at_1024() -> np.ndarray:
    return 2 * POINTS + 0.5  # the centre of a pixel stays where it is


def test_our_classes_give_the_same_masks(doubled: np.ndarray) -> None:
    wide = widened(small())
    decoded = wide.decode(wide.embed(doubled), same_points_at_1024(), keep_all)
    iou, logits = small_masks()
    torch.testing.assert_close(decoded.predicted_iou.view(-1, 3), iou, **TOLERANCE)
    torch.testing.assert_close(decoded.low_res_logits.unflatten(0, (-1, 3)), logits, **TOLERANCE)


def test_the_reference_gives_the_same_masks(doubled: np.ndarray) -> None:
    wide = reference_sam(widened(small()))
    points = torch.as_tensor(same_points_at_1024(), dtype=torch.float32)[:, None]
    pixels = torch.as_tensor(doubled).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        sparse, dense = wide.prompt_encoder((points, torch.ones(len(points), 1)), None, None)
        found_logits, found_iou = wide.mask_decoder(
            wide.image_encoder(wide.preprocess(pixels)), wide.prompt_encoder.get_dense_pe(), sparse, dense, True
        )
    iou, logits = small_masks()
    torch.testing.assert_close(found_iou, iou, **TOLERANCE)
    torch.testing.assert_close(found_logits, logits, **TOLERANCE)


def test_it_has_the_sizes_of_sam() -> None:
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        sam = sam_model_registry["vit_b"]()
    wide = widened(small())
    for part in ("prompt_encoder", "mask_decoder"):
        shapes = {key: value.shape for key, value in getattr(sam, part).state_dict().items()}
        assert {key: value.shape for key, value in getattr(wide, part).state_dict().items()} == shapes


def test_another_number_of_tokens_is_refused() -> None:
    config = SamConfig("unet", **{**SAM_DIMENSIONS, "img_size": 512})
    with pytest.raises(ValueError, match="32 image tokens a side, SAM has 64"):
        widened(Sam(config, torch.nn.Identity()))
