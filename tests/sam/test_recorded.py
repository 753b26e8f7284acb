"""What a GPU's record of an embedding is made of; that it computes the same a GPU alone can show."""

import copy
import dataclasses

import numpy as np
import torch

from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.sam.recorded import Recorded, cloned


def tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [] if isinstance(value, torch.nn.Parameter) else [value]
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in tensors(item)]
    if dataclasses.is_dataclass(value):
        return [tensor for spec in dataclasses.fields(value) for tensor in tensors(getattr(value, spec.name))]
    return []


def test_a_clone_shares_no_memory_and_has_the_same_values_and_strides() -> None:
    model = load_model(device="cpu")
    pixels, _ = model.preprocess(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    with torch.inference_mode():
        output = model._encode(pixels)
    ours, theirs = tensors(cloned(output)), tensors(output)
    assert len(ours) == len(theirs) > 20
    for one, other in zip(ours, theirs, strict=True):
        assert one.data_ptr() != other.data_ptr()
        assert one.stride() == other.stride()
        torch.testing.assert_close(one, other, rtol=0, atol=0)


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
