"""Masks measured and packed as on a GPU, here on tensors of the host, against those measured by blocks."""

import dataclasses

import numpy as np
import pytest
import torch

from napari_sam_amg.amg import on_device, propose
from napari_sam_amg.amg.on_device import device_upsampler
from napari_sam_amg.amg.upsample import upsampler
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.params import AmgParameters
from napari_sam_amg.run import propose_candidates
from napari_sam_amg.sam.memory import MemoryWarning, in_halves
from tests.amg.test_upsample import SIZES, edges
from tests.disc_model import blobs


@pytest.mark.parametrize(("low", "square", "inside", "full"), SIZES)
@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("masks", "blocks", "few"), [(1, 1, 0), (5, 7, 0), (1000, 10**6, 0), (1000, 10**6, 10**9)])
def test_on_a_device_and_on_the_host_all_is_the_same(
    monkeypatch, low, square, inside, full, offset, masks, blocks, few
):
    """However many masks, and blocks of them, are dealt with at once; and by whole frames."""
    monkeypatch.setattr(on_device, "FEW_PIXELS", few)
    upsample = device_upsampler(low, square, inside, full, torch.device("cpu"))
    canvas = len(upsample.rows.windows) * 32 * len(upsample.columns.windows) * 4
    monkeypatch.setattr(on_device, "BYTES_AT_ONCE", masks * (canvas + 4 * upsample.rows.windows.numel() * low))
    monkeypatch.setattr(on_device, "BLOCKS_AT_ONCE", blocks)
    logits = edges(low)
    expected = upsampler(low, square, inside, full).measure(logits, 0.25, offset)
    ours = upsample.measure(torch.from_numpy(logits), 0.25, offset)
    np.testing.assert_array_equal(ours.boxes, expected.boxes)
    np.testing.assert_allclose(ours.larger, expected.larger, rtol=1e-4, atol=1)
    np.testing.assert_allclose(ours.smaller, expected.smaller, rtol=1e-4, atol=1)
    rows = np.array([9, 0, 3, 14, 12, 15, 1])
    for one, other in zip(ours.bits(rows), expected.bits(rows), strict=True):
        assert one.shape == other.shape
        # where the two orders of sums differ in the last digit a pixel at the threshold may, too
        assert np.bitwise_count(one ^ other).sum() <= 1e-4 * full[0] * full[1]


def test_of_no_masks_there_is_nothing():
    measures = device_upsampler(64, 256, (256, 200), (50, 40), torch.device("cpu")).measure(
        torch.empty(0, 64, 64), 0, 1
    )
    assert measures.boxes.shape == (0, 4)
    assert measures.bits(np.arange(0)) == []


@pytest.mark.parametrize(("batch", "at_once"), [(64, 100), (30, 100), (100, 30), (7, 1), (1000, 1000)])
def test_a_run_whose_logits_stay_on_the_device_finds_the_same(monkeypatch, batch, at_once):
    """Decoded ahead and measured as on a device, whatever number of points is decoded at once."""
    image, model = np.repeat(blobs()[..., None], 3, axis=2), load_model(device="cpu")
    params = AmgParameters(
        points_per_side=10, points_per_batch=batch, crop_n_layers=1, pred_iou_thresh=0.2, stability_score_thresh=0.2
    )
    expected = propose_candidates(image, model, params)
    assert len(expected) > 5
    monkeypatch.setattr(model, "_micro_batch", at_once)
    monkeypatch.setattr(model, "decode_batches", model._decode_ahead)
    monkeypatch.setattr(propose, "on_host", lambda logits: False)
    steps = sum(1 for _ in propose.propose(image, model, params))
    assert steps == propose.count_batches((image.shape[0], image.shape[1]), params)
    found = propose_candidates(image, model, params)
    assert len(found) == len(expected)
    for one, other in zip(found.crops, expected.crops, strict=True):
        for column in dataclasses.fields(one):
            ours, theirs = getattr(one, column.name), getattr(other, column.name)
            if column.name == "bits":
                assert sum(np.bitwise_count(a ^ b).sum() for a, b in zip(ours, theirs, strict=True)) <= 3
            else:
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3, err_msg=column.name)


def test_what_does_not_fit_is_computed_in_halves_with_one_notice():
    tried = []

    def compute(rows):
        tried.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("no memory")
        return rows.clone()

    with pytest.warns(MemoryWarning) as notices:
        parts = in_halves(compute, torch.arange(17), 10)
    assert torch.cat(parts).tolist() == list(range(17))
    assert tried == [10, 5, 3, 3, 3, 3, 3, 2]
    assert len({str(notice.message) for notice in notices}) == 1
