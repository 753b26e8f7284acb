"""Measures and pixels by blocks against the reference's two full-frame interpolations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_sam_amg.amg.blocks import BLOCK, EMPTY, Grid
from napari_sam_amg.amg.boxes import box_of
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
    (16, 64, (64, 64), (1, 1)),
    (16, 64, (3, 64), (2, 47)),
    (16, 64, (64, 64), (16, 33)),
    (64, 256, (256, 256), (256, 256)),
    (64, 256, (192, 256), (300, 400)),
    (64, 256, (256, 100), (64, 25)),
    (64, 128, (128, 40), (1000, 313)),
    (32, 128, (5, 128), (9, 230)),
]


def edges(low):
    """Masks at every border, of one sample, of all samples, of none, and clutter around the thresholds."""
    rng = np.random.default_rng(0)
    corners = [blob(low, row, column, 3.2) for row in (0, low - 1) for column in (0, low - 1)]
    borders = [blob(low, *place, 5) for place in ((0, low / 2), (low - 1, low / 3), (low / 3, 0), (low / 2, low - 1))]
    return np.stack([
        *corners, *borders,
        blob(low, 10, 12, 6.3),
        blob(low, low // 4, low // 4, 0.4),
        np.full((low, low), 2, np.float32),
        np.full((low, low), 0.5, np.float32),
        np.full((low, low), -0.5, np.float32),
        np.full((low, low), -2, np.float32),
        rng.normal(0, 1, (low, low)).astype(np.float32),
        rng.normal(-0.9, 0.1, (low, low)).astype(np.float32),
    ])  # fmt: skip


@pytest.mark.parametrize(("low", "square", "inside", "full"), SIZES)
@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5])
def test_measures_and_pixels_are_those_of_full_frames(low, square, inside, full, offset):
    upsample = upsampler(low, square, inside, full)
    logits = edges(low)
    patches = upsample.patches(logits, -offset)
    measures = upsample.measure(patches, 0.0, offset)
    for index, frame in enumerate(full_frames(logits, square, inside, full)):
        patch = patches[index]
        assert measures.larger[index] == pytest.approx((frame > -offset).sum(), rel=1e-4, abs=1)
        assert measures.smaller[index] == pytest.approx((frame > offset).sum(), rel=1e-4, abs=1)
        ours = np.zeros(full, bool)
        if patch is not EMPTY:
            top, left = patch.corner
            mask = upsample.pixels(patch, 0.0)
            ours[top : top + len(mask), left : left + mask.shape[1]] = mask
        assert measures.empty[index] == (not ours.any())
        assert tuple(measures.boxes[index]) == (box_of(ours) or (0, 0, 0, 0))
        assert not (ours != (frame > 0))[np.abs(frame) > 1e-5].any()


def test_only_the_outline_is_multiplied_out(monkeypatch):
    upsample = upsampler(256, 1024, (1024, 1024), (4096, 4096))
    (patch,) = upsample.patches(blob(256, 128, 128, 90)[None], -1.0)
    made = []
    inner = Grid.logits

    def note(self, blocks):
        made.append(len(blocks.crossed))
        return inner(self, blocks)

    monkeypatch.setattr(Grid, "logits", note)
    larger = upsample.measure([patch], 0.0, 1.0).larger[0]
    assert larger == pytest.approx(np.pi * (16 * 91) ** 2, rel=1e-3)
    assert sum(made) * BLOCK**2 < 0.15 * larger


def test_a_small_mask_has_a_small_patch():
    upsample = upsampler(256, 1024, (1024, 1024), (2048, 2048))
    (patch,) = upsample.patches(blob(256, 100, 50, 4.0)[None], -1.0)
    assert max(patch.logits.shape) <= 20


def test_a_mask_only_in_the_padding_is_empty():
    upsample = upsampler(64, 256, (64, 256), (50, 200))
    (patch,) = upsample.patches(blob(64, 60, 30, 3.0)[None], -1.0)
    assert patch is EMPTY
    assert upsample.measure([patch], 0.0, 1.0).empty.all()


def test_many_masks_are_measured_as_each_alone():
    """Small ones in several groups, large ones, empty ones and ones in the padding between them."""
    upsample = upsampler(64, 256, (256, 200), (1200, 1000))
    rng = np.random.default_rng(1)
    radii = np.append(rng.uniform(-2, 5, 400), rng.uniform(20, 60, 30))
    rng.shuffle(radii)
    patches = upsample.patches(np.stack([blob(64, *rng.uniform(0, 64, 2), radius) for radius in radii]), -1.0)
    assert len({patch is EMPTY for patch in patches}) == 2
    together = upsample.measure(patches, 0.0, 1.0)
    for index, patch in enumerate(patches):
        alone = upsample.measure([patch], 0.0, 1.0)
        assert (alone.boxes[0] == together.boxes[index]).all()
        assert alone.larger[0] == together.larger[index]
        assert alone.smaller[0] == together.smaller[index]
        assert alone.empty[0] == together.empty[index]
