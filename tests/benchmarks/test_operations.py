"""What a GPU would be told: the way of a GPU on tensors of the host gives the same masks, in few operations."""

import numpy as np
import torch

from benchmarks.agreement import agreement
from benchmarks.cases import Case
from benchmarks.engines import parameters
from benchmarks.images import sample_image
from benchmarks.operations import Counting, count
from napari_sam_amg.models.checkpoint import load_model
from napari_sam_amg.run import generate_masks
from napari_sam_amg.sam.gpu_way import standing_in
from napari_sam_amg.sam.handover import Handover, to_device


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
    assert counting.by_stage["reading"] <= 60
    assert counting.by_stage["drawing"] <= 40
    assert counting.by_stage["measuring"] <= 55
    assert counting.by_stage["encoding"] <= 70
    assert counting.by_stage.total() <= 215
    one_by_one = count(lambda: generate_masks(image, model, params), recorded=False)
    assert one_by_one.by_stage["reading"] <= 155
    assert one_by_one.by_stage["drawing"] == counting.by_stage["drawing"]


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
