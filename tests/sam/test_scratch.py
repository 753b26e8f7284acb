"""Memory that is used again: who may share it, and which results live in it."""

from threading import Barrier, Thread

import numpy as np
import torch

from napari_sam_amg import load_model
from napari_sam_amg.sam.scratch import Scratch, ScratchPool
from tests.samples import sample


def test_a_name_has_one_buffer_that_grows():
    scratch, like = Scratch(), torch.empty(0)
    large = scratch.take("a", (4, 5), like)
    assert scratch.take("a", (2, 3), like).data_ptr() == large.data_ptr()
    assert scratch.take("b", (4, 5), like).data_ptr() != large.data_ptr()
    assert scratch.take("a", (4, 5), like.to(torch.bfloat16)).dtype == torch.bfloat16
    assert scratch.take("a", (40, 5), like).shape == (40, 5)


def test_two_threads_never_have_the_same():
    pool, together, found = ScratchPool(), Barrier(2), []

    def work() -> None:
        with pool.borrow() as scratch:
            together.wait(10)
            found.append(scratch)
            together.wait(10)

    for _ in range(2):
        threads = [Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert found[0] is not found[1]
    assert set(found[:2]) == set(found[2:])  # used again


def test_masks_of_one_call_outlive_the_next():
    model = load_model(device="cpu")
    image = np.repeat(sample("nuclei.tif")[:200, :200, None] // 257, 3, axis=2).astype(np.uint8)
    embedding = model.embed(image)
    points = np.random.default_rng(0).uniform(0, 200, (2, 40, 2))

    def keep(iou: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(iou, dtype=torch.bool)

    first = model.decode(embedding, points[0], keep)
    before = first.low_res_logits.clone(), first.predicted_iou.clone()
    model.decode(embedding, points[1], keep)
    torch.testing.assert_close((first.low_res_logits, first.predicted_iou), before, rtol=0, atol=0)


def test_logits_of_a_batch_share_memory_with_the_next():
    model = load_model(device="cpu")
    embedding = model.embed(np.repeat(sample("nuclei.tif")[:200, :200, None] // 257, 3, axis=2).astype(np.uint8))
    batches = list(np.random.default_rng(0).uniform(0, 200, (3, 40, 2)))

    def keep(iou: torch.Tensor) -> torch.Tensor:
        return iou > iou.median()

    places = set()
    for points, found in model.decode_batches(embedding, batches, keep):
        alone = model.decode(embedding, points, keep)
        assert torch.equal(found.low_res_logits, alone.low_res_logits)
        assert torch.equal(found.prompt_index, alone.prompt_index)
        places.add(found.low_res_logits.data_ptr())
    assert len(places) == 1
