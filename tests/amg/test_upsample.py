"""Measures and packed pixels by blocks against the reference's two full-frame interpolations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_sam_amg.amg.bits import unpack
from napari_sam_amg.amg.blocks import BLOCK, EMPTY, Grid, axis
from napari_sam_amg.amg.boxes import box_of
from napari_sam_amg.amg.upsample import upsampler
from napari_sam_amg.sam.answers import ImageEmbedding


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


def test_rows_below_the_image_are_not_asked_for():
    """What the model draws is what pixels are made of, and at most a row of image tokens more."""
    for inside in range(1, 257, 3):
        needed = int(axis(64, 256, inside, 97).windows.max()) + 1
        embedding = ImageEmbedding(None, (inside, 256), (97, 120), 256)
        assert needed <= 4 * embedding.image_rows(16) <= min(64, needed + 4)


@pytest.mark.parametrize(("low", "square", "inside", "full"), SIZES)
@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5])
def test_measures_and_pixels_are_those_of_full_frames(low, square, inside, full, offset):
    upsample = upsampler(low, square, inside, full)
    logits = edges(low)
    measures = upsample.measure(logits, 0.0, offset)
    bits = measures.bits(np.arange(len(logits)))
    for index, frame in enumerate(full_frames(logits, square, inside, full)):
        assert measures.larger[index] == pytest.approx((frame > -offset).sum(), rel=1e-4, abs=1)
        assert measures.smaller[index] == pytest.approx((frame > offset).sum(), rel=1e-4, abs=1)
        ours = np.zeros(full, bool)
        x0, y0, x1, y1 = measures.boxes[index]
        ours[y0 : y1 + 1, x0 : x1 + 1] = unpack(bits[index], x0, x1 + 1 - x0)
        assert (x0, y0, x1, y1) == (box_of(ours) or (0, 0, 0, 0))
        assert not (ours != (frame > 0))[np.abs(frame) > 1e-5].any()
        assert np.bitwise_count(bits[index]).sum() == ours.sum()  # nothing beside the box
        assert bits[index].shape == (y1 + 1 - y0, x1 // 8 - x0 // 8 + 1)


def test_only_the_outline_is_multiplied_out(monkeypatch):
    upsample = upsampler(256, 1024, (1024, 1024), (4096, 4096))
    made = []
    inner = Grid.logits

    def note(self, blocks):
        made.append(len(blocks.crossed))
        return inner(self, blocks)

    monkeypatch.setattr(Grid, "logits", note)
    larger = upsample.measure(blob(256, 128, 128, 90)[None], 0.0, 1.0).larger[0]
    assert larger == pytest.approx(np.pi * (16 * 91) ** 2, rel=1e-3)
    assert sum(made) * BLOCK**2 < 0.15 * larger


def test_a_small_mask_has_a_small_patch():
    upsample = upsampler(256, 1024, (1024, 1024), (2048, 2048))
    (patch,) = upsample.patches(blob(256, 100, 50, 4.0)[None], -1.0)
    assert max(patch.logits.shape) <= 20


def test_a_mask_only_in_the_padding_is_empty():
    upsample = upsampler(64, 256, (64, 256), (50, 200))
    logits = blob(64, 60, 30, 3.0)[None]
    assert upsample.patches(logits, -1.0) == [EMPTY]
    measures = upsample.measure(logits, 0.0, 1.0)
    assert not measures.boxes.any()
    assert [bits.tolist() for bits in measures.bits(np.array([0]))] == [[[0]]]


def test_many_masks_are_measured_as_each_alone():
    """Small ones in several groups, large ones, empty ones and ones in the padding between them."""
    upsample = upsampler(64, 256, (256, 200), (1200, 1000))
    rng = np.random.default_rng(1)
    radii = np.append(rng.uniform(-2, 5, 400), rng.uniform(20, 60, 30))
    rng.shuffle(radii)
    logits = np.stack([blob(64, *rng.uniform(0, 64, 2), radius) for radius in radii])
    assert len({patch is EMPTY for patch in upsample.patches(logits, -1.0)}) == 2
    together = upsample.measure(logits, 0.0, 1.0)
    every = together.bits(np.arange(len(radii)))
    for index in range(len(radii)):
        alone = upsample.measure(logits[index : index + 1], 0.0, 1.0)
        assert (alone.boxes[0] == together.boxes[index]).all()
        assert alone.larger[0] == together.larger[index]
        assert alone.smaller[0] == together.smaller[index]
        assert np.array_equal(alone.bits(np.array([0]))[0], every[index])
