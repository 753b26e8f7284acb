"""What a GPU would hold of its memory: storages, each once, while anybody sees them."""

import torch

from benchmarks.held_memory import HeldMemory
from benchmarks.operations import Counting
from napari_sam_amg.sam.gpu_way import standing_in
from napari_sam_amg.sam.handover import Handover, to_device


def test_a_storage_is_held_once_until_nobody_sees_it() -> None:
    memory, x = HeldMemory(), torch.zeros(1000)
    memory.hold(x, "here")
    view = x[10:20]
    memory.hold(view, "there")
    assert (memory.now, memory.peak, memory.then) == (4096, 4096, "here")
    y = torch.zeros(1)
    memory.hold(y, "there")
    assert (memory.peak, memory.then) == (4608, "there")  # rounded up, as torch's allocator does
    del x, y
    assert (memory.now, memory.peak) == (4096, 4608)
    del view
    assert memory.now == 0


def test_what_an_operation_makes_of_a_device_counts_and_what_was_there_or_is_the_hosts_does_not() -> None:
    counting, weight = Counting(), torch.ones(256, 256)
    with standing_in(counting), counting, torch.inference_mode():
        x = to_device(torch.ones(4, 256), torch.device("cpu"))
        assert counting.memory.now == 4096
        y = (x @ weight.t()).relu_()  # the view of the weight was there, and in place nothing is made
        assert counting.memory.now == 8192
        z = torch.cat([y, y])
        del y
        assert counting.memory.now == 4096 + 8192
        here = Handover(z).wait() * 2
    assert here.shape == (8, 256)
    assert counting.memory.peak == 2 * 4096 + 8192
    del x, z
    assert counting.memory.now == 0
