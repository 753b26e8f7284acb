"""Several processes give what one gives."""

from pathlib import Path

import pytest
import torch

from napari_sam_amg.sam.model import Sam
from training.processes import through_model


def threads_and_channels(model: Sam, item: int) -> tuple[int, int, int]:
    return item, torch.get_num_threads(), model.config.embed_dim


def fail(model: Sam, item: int) -> None:
    raise ValueError(f"item {item}")


def test_items_come_in_order_from_processes_with_one_thread_each() -> None:
    assert list(through_model(threads_and_channels, range(3), "embedded", 2)) == [(i, 1, 128) for i in range(3)]


def test_one_process_is_this_one() -> None:
    before = torch.get_num_threads()
    assert list(through_model(threads_and_channels, [7], "embedded", 1)) == [(7, before, 128)]


def test_what_goes_wrong_in_a_process_is_said_here(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="item 5"):
        list(through_model(fail, [5], "embedded", 2))
