"""What a GPU would be told: the way of a GPU on tensors of the host gives the same masks, in few operations."""

import warnings
from dataclasses import replace

import numpy as np
import torch

from benchmarks.agreement import agreement
from benchmarks.cases import Case
from benchmarks.engines import parameters
from benchmarks.images import sample_image
from benchmarks.operations import Counting, count
from napari_sam_amg import parameters_for
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.run import generate_masks, propose_candidates
from napari_sam_amg.sam.gpu_way import StandIn, standing_in
from napari_sam_amg.sam.handover import Handover, to_device
from napari_sam_amg.sam.memory import MemoryWarning


def test_a_run_takes_few_operations_and_finds_what_the_way_of_a_cpu_finds() -> None:
    """8 x 8 points: one part, as for each of the parts of a thousand points."""
    case, model = Case(size=256, points=8), load_model("embedded", "cpu")
    image, params = sample_image("nuclei", 256)[:200], parameters(case, model.info)
    expected, found = generate_masks(image, model, params).to_coco(), []
    counting = count(lambda: found.append(generate_masks(image, model, params).to_coco()))
    assert len(expected) > 10
    for records in found:
        compared = agreement(expected, records)
        assert (compared.matched, compared.close) == (1.0, 1.0)
    # the first points of an image bring all that they share of it into the record
    assert counting.by_stage["reading"] <= 15
    assert counting.by_stage["drawing"] <= 36
    assert counting.by_stage["measuring"] <= 17
    assert counting.by_stage["packing"] == 0
    assert counting.by_stage["encoding"] <= 10
    one_by_one = count(lambda: generate_masks(image, model, params), recorded=False)
    assert one_by_one.by_stage["reading"] <= 125
    assert one_by_one.by_stage["drawing"] == counting.by_stage["drawing"]
    assert 100e6 < counting.memory.peak <= 185e6  # what is recorded holds as much as if it were not
    assert one_by_one.memory.peak == counting.memory.peak


def test_crops_are_encoded_several_at_once_and_give_the_same_candidates(monkeypatch) -> None:
    """Four on a GPU, fewer where its memory does not do for them, one by one on a CPU."""
    model, image = load_model("embedded", "cpu"), sample_image("nuclei", 256)[:, :200]
    params = replace(parameters_for(model), points_per_side=8, crop_layers="last", crop_n_layers=1)
    expected, encode, seen = propose_candidates(image, model, params), model.image_encoder.embed_with_maps, []

    def encoder(pixels: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(len(pixels))
        if len(pixels) > most:
            raise torch.OutOfMemoryError("no memory")
        return encode(pixels, None)

    for most, parts in ((4, [4]), (3, [4, 2, 2])):
        seen.clear()
        monkeypatch.setattr(model.image_encoder, "embed_with_maps", lambda x, _, most=most: encoder(x, most))
        with standing_in(StandIn()), warnings.catch_warnings():
            warnings.simplefilter("ignore", MemoryWarning)
            found = propose_candidates(image, model, params)
        assert seen == parts
        assert len(found.crops) == 4
        assert len(found) == len(expected) > 10
        for one, other in zip(found.crops, expected.crops, strict=True):
            np.testing.assert_array_equal(one.points, other.points)
            np.testing.assert_allclose(one.predicted_iou, other.predicted_iou, atol=1e-4)
            np.testing.assert_array_equal(one.boxes, other.boxes)
    seen.clear()
    propose_candidates(image, model, params)
    assert seen == [1, 1, 1, 1]


def test_operations_are_counted_and_views_and_what_the_host_does_are_not() -> None:
    counting = Counting()

    def measure() -> torch.Tensor:  # the name of a stage, in code of the package alone
        with standing_in(counting), counting:
            there = to_device(torch.ones(3, 4), torch.device("cpu"))
            product = (there.t().flatten()[:9].view(3, 3) @ torch.ones(3, 3)).add_(1)
            return Handover(product).wait() * 2

    code = measure.__code__.replace(co_filename="napari_sam_amg/made_up.py")
    stage = type(measure)(code, globals(), "measure", None, measure.__closure__)
    np.testing.assert_array_equal(stage(), np.full((3, 3), 8.0))
    names = {name for _, name in counting.by_name}
    assert {"to the device", "mm", "add_", "to the host"} <= names
    assert "mul" not in names
    assert not names & {"t", "view", "slice", "detach"}
    assert set(counting.by_stage) == {"measuring"}
