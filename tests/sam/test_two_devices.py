"""The way of a GPU gives PyTorch nothing that it would refuse there: tensors of two devices at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.images import sample_image
from napari_sam_amg import PlaneStack, load_model, parameters_for, segment_planes
from napari_sam_amg.amg.on_device import device_upsampler
from napari_sam_amg.sam import precision
from napari_sam_amg.sam.gpu_way import standing_in
from tests.finetune_model import tiny_finetune
from tests.two_devices import MixedError, TwoDevices

STACK = np.stack([sample_image("nuclei", 128)[:100, :, 0]] * 2)


def segment(model, **changed):
    """Labels of a stack of two planes by the way of a GPU; what is waited for but the number of blocks is refused."""
    params = replace(parameters_for(model), points_per_side=6, **changed)
    device_upsampler.cache_clear()  # what it holds is of neither device
    with TwoDevices(model) as devices, standing_in(devices):
        steps = segment_planes(PlaneStack(STACK), model, params)
        planes = [step.result.labels for step in steps if step.result is not None]
    assert set(devices.waits) <= {"nonzero"}
    return planes


@pytest.mark.parametrize(
    ("search", "numbers"), [("grid", "exact"), ("hierarchical", "exact"), ("guided", "exact"), ("guided", "fast")]
)
def test_tensors_of_two_devices_never_meet(monkeypatch, search, numbers):
    monkeypatch.setattr(precision, "half_type", lambda device: torch.bfloat16)
    model = load_model(device="cpu", precision=numbers)
    assert all(plane.max() > 5 for plane in segment(model, point_search=search))


@pytest.mark.parametrize(("mode", "search"), [("ais", "grid"), ("amg", "guided"), ("amg", "grid")])
def test_nor_those_of_a_vit_with_a_segmentation_decoder(mode, search):
    kept = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    assert len(segment(tiny_finetune(), mode=mode, point_search=search, **kept)) == 2


def test_what_a_gpu_would_refuse_is_refused():
    network, (device, host) = torch.nn.Linear(3, 3), (torch.ones(2, 3), torch.zeros(2, dtype=torch.int64))
    with TwoDevices(network) as devices:
        there, here = devices.to_device(device), torch.from_numpy(np.ones((2, 3), np.float32))
        assert devices.is_device(network(there)[:, 1] + torch.tensor(1.0))
        assert devices.is_device(torch.zeros(2, device=torch.device("cpu")))
        assert devices.is_host(torch.zeros(2))
        assert devices.is_host(devices.to_host(there) + here)
        devices.to_device(host)
        for wrong in (
            lambda: there + here, lambda: network(here), lambda: there[torch.zeros(2, dtype=torch.int64)],
            lambda: torch.cat([there, here]), there.numpy, lambda: devices.to_device(there),
            lambda: devices.to_host(here),
        ):  # fmt: skip
            with pytest.raises(MixedError):
                wrong()
        assert not devices.waits
        there.sum().item()
        assert devices.waits == {"item": 1}
