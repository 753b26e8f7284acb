"""The cut-out upsampling against the reference's two full-frame interpolations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_sam_amg.amg.upsample import upsampler


def full_frames(logits, img_size, input_size, original_size):
    """Source: segment_anything.modeling.Sam.postprocess_masks."""
    square = F.interpolate(torch.as_tensor(logits)[None], (img_size, img_size), mode="bilinear", align_corners=False)
    inside = square[..., : input_size[0], : input_size[1]]
    return F.interpolate(inside, original_size, mode="bilinear", align_corners=False)[0].numpy()


def blob(low, row, column, radius):
    y, x = np.mgrid[:low, :low]
    return (radius - np.hypot(y - row, x - column)).astype(np.float32)


SIZES = [
    (64, 256, (256, 256), (256, 256)),
    (64, 256, (192, 256), (300, 400)),
    (64, 256, (256, 100), (64, 25)),
    (64, 128, (128, 40), (1000, 313)),
    (32, 128, (5, 128), (9, 230)),
]


@pytest.mark.parametrize(("low", "square", "inside", "full"), SIZES)
def test_a_patch_holds_every_pixel_above_the_threshold(low, square, inside, full):
    logits = np.stack([
        blob(low, 10, 12, 6.3),
        blob(low, 0, 0, 3.2),
        blob(low, low / 2, low / 4, 0.4),
        blob(low, low - 1, low - 1, 5),
        np.full((low, low), 2, np.float32),
        np.full((low, low), -2, np.float32),
        np.random.default_rng(0).normal(0, 1, (low, low)).astype(np.float32),
    ])  # fmt: skip
    upsample = upsampler(low, square, inside, full)
    expected = full_frames(logits, square, inside, full)
    for patch, frame in zip(upsample.patches(logits, -1.0), expected, strict=True):
        ours = np.full(full, -np.inf, np.float32)
        ours[patch.rows, patch.columns] = upsample.full(patch)
        inside_patch = np.isfinite(ours)
        assert not (frame[~inside_patch] > -1.0 + 1e-5).any()
        np.testing.assert_allclose(ours[inside_patch], frame[inside_patch], atol=2e-5)


def test_a_small_mask_has_a_small_patch():
    upsample = upsampler(256, 1024, (1024, 1024), (2048, 2048))
    (patch,) = upsample.patches(blob(256, 100, 50, 4.0)[None], -1.0)
    assert patch.logits.shape[0] <= 14
    assert patch.rows.stop - patch.rows.start <= 8 * 14


def test_a_mask_only_in_the_padding_is_empty():
    upsample = upsampler(64, 256, (64, 256), (50, 200))
    (patch,) = upsample.patches(blob(64, 60, 30, 3.0)[None], -1.0)
    assert upsample.full(patch).size == 0
