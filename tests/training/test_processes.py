"""Several processes give what one gives."""

import torch

from tests.training.cases import run_case
from tests.training.process_cases import threads_and_channels
from training.processes import through_model


def test_items_come_in_order_from_processes_with_one_thread_each() -> None:
    run_case("items_in_order")


def test_one_process_is_this_one() -> None:
    before = torch.get_num_threads()
    assert list(through_model(threads_and_channels, [7], "embedded", 1)) == [(7, before, 128)]


def test_what_goes_wrong_in_a_process_is_said_here() -> None:
    run_case("an_error")
