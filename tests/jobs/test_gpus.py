import subprocess
import sys

import pytest

from napari_sam_amg.jobs.gpus import claimed, own_gpu

NAMES = ["GPU-a", "GPU-b"]
HOLD = """
import sys
from pathlib import Path
from napari_sam_amg.jobs.gpus import claimed
with claimed(sys.argv[2:], Path(sys.argv[1])) as number:
    print(number, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Another process that claims one of these names: it, and the number that it got."""
    processes = []

    def start(*names):
        command = [sys.executable, "-c", HOLD, str(tmp_path), *names]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_each_process_has_one_of_its_own_until_it_ends(hold, tmp_path):
    first, number = hold(*NAMES)
    assert number == 0
    with claimed(NAMES, tmp_path) as mine:
        assert mine == 1
    first.kill()
    first.wait()
    with claimed(NAMES, tmp_path) as mine:
        assert mine == 0


def test_names_count_wherever_they_stand(hold, tmp_path):
    """CUDA_VISIBLE_DEVICES gives each process the same cards in another order."""
    hold("GPU-b", "GPU-a")
    with claimed(NAMES, tmp_path) as mine:
        assert mine == 0


def test_if_all_are_taken_one_is_shared(hold, tmp_path):
    hold("GPU-a")
    with claimed(["GPU-a"], tmp_path) as mine:
        assert mine == 0


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_device_that_is_named_is_taken_as_it_is(device):
    with own_gpu(device) as own:
        assert own == device
