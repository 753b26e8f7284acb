"""What a GPU's record of an embedding is made of; that it computes the same a GPU alone can show."""

import copy

import numpy as np
import pytest
import torch

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.model import READ_AS_RECORDED
from napari_sam_amg.sam.recorded import ALIGNED, Recorded, cloned, first_tensors, memories, tensors, together


def test_a_clone_shares_no_memory_and_has_the_same_values_and_strides() -> None:
    model = load_model(device="cpu")
    pixels, _ = model.preprocess(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    with torch.inference_mode():
        output = model._encode(pixels)
    ours, theirs = list(tensors(cloned(output))), list(tensors(output))
    assert len(ours) == len(theirs) > 20
    for one, other in zip(ours, theirs, strict=True):
        assert one.data_ptr() != other.data_ptr()
        assert one.stride() == other.stride()
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_lies_together_is_one_memory_of_each_type_and_is_copied_as_that() -> None:
    half = torch.arange(5, dtype=torch.bfloat16)
    value = (torch.arange(6.0).view(2, 3).t(), (half, None), torch.nn.Parameter(torch.ones(2)), torch.ones(4, 2)[:, :1])
    found = together(value)
    assert [len(memory) for memory in memories(found)] == [2 * ALIGNED, ALIGNED]
    assert len(memories(value)) == 3
    for one in (found, cloned(found)):
        assert len(first_tensors(one)) == 2
        assert one[2] is value[2]
        assert one[1][1] is None
        for ours, theirs in zip(tensors(one), tensors(value), strict=True):
            assert torch.equal(ours, theirs)
            assert ours.storage_offset() % ALIGNED == 0
        assert one[0].stride() == value[0].stride()
    assert not {m.data_ptr() for m in memories(found)} & {m.data_ptr() for m in memories(cloned(found))}


def test_of_an_image_that_is_there_already_only_the_points_are_copied() -> None:
    recorded, image = Recorded(), together((torch.ones(3), torch.zeros(2)))
    assert [index for index, _ in recorded._changed((image, torch.ones(1)))] == [0, 1]
    points = torch.ones(1)
    assert [(index, len(memory)) for index, memory in recorded._changed((image, points))] == [(1, 1)]
    assert [index for index, _ in recorded._changed((together(image), points))] == [0]


def test_a_first_image_and_what_changed_since_the_last_are_computed_as_they_are() -> None:
    recorded, seen = Recorded(), []
    for state, rows in ((1, 2), (2, 2), (1, 2), (1, 3)):
        result = recorded.run(lambda x: seen.append(x) or x + 1, torch.zeros(rows), state)
        assert result.tolist() == [1] * rows
    assert len(seen) == 4


def test_what_cannot_be_recorded_is_computed() -> None:
    """As without a GPU."""
    recorded = Recorded()
    for _ in range(3):
        assert recorded.run(lambda x: x + 1, torch.zeros(1), "same").tolist() == [1]
    assert recorded._cannot is not None


def test_a_copy_of_a_model_begins_without_records() -> None:
    model = load_model(device="cpu")
    assert copy.deepcopy(model)._recorded is not model._recorded


@pytest.mark.parametrize("prompts", [1, 16, 17])
def test_prompts_that_are_padded_for_a_record_are_read_as_they_are(prompts) -> None:
    """A record is of a certain number of prompts. Here it is computed, as it would be recorded."""
    model, random = load_model(device="cpu"), np.random.default_rng(0)
    with torch.inference_mode():
        side = model.embed(random.integers(0, 256, (60, 80, 3), np.uint8)).side
        points, masks = random.uniform(0, 300, (prompts, 2)), range(1, 4)
        ones = torch.ones(prompts, 1, dtype=torch.int64)
        sparse = model.prompt_encoder.embed_points(torch.from_numpy(points[:, None].astype(np.float32)), ones, pad=True)
        signed = torch.from_numpy(model.prompt_encoder.signed_positions(points))
        ours, theirs = model._recorded_reading(side, signed, masks), model.mask_decoder.read(side, sparse, None, masks)
        index = torch.arange(prompts), torch.zeros(prompts, dtype=torch.int64)
        drawn = [model.mask_decoder.draw(reading, *index) for reading in (ours, theirs)]
    assert ours.predicted_iou.shape == (prompts, 3)
    assert list(model._recorded_readings) == [16 if prompts <= 16 else 32]
    assert tuple(sorted(READ_AS_RECORDED)) == READ_AS_RECORDED
    torch.testing.assert_close(ours.predicted_iou, theirs.predicted_iou, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*drawn, rtol=1e-4, atol=1e-4)
