"""Memory that is used again: who may share it, and which results live in it."""

import gc
import weakref
from contextlib import contextmanager
from threading import Barrier, Thread

import numpy as np
import pytest
import torch

from napari_sam_amg import AmgParameters, PlaneStack, load_model, propose_candidates, segment_planes
from napari_sam_amg.sam.model import Sam
from napari_sam_amg.sam.scratch import POOL, Scratch, ScratchPool
from tests.disc_model import blobs
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

    with pool.kept():
        for _ in range(2):
            threads = [Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
    assert found[0] is not found[1]
    assert set(found[:2]) == set(found[2:])  # used again


def test_what_is_given_back_stays_until_the_last_run_ends():
    pool = ScratchPool()
    with pool.borrow() as scratch:
        alone = weakref.ref(scratch)
    del scratch
    assert alone() is None  # nobody keeps it
    with pool.kept():
        with pool.kept():
            with pool.borrow() as first:
                pass
            with pool.borrow() as again:
                assert again is first
        with pool.borrow() as again:
            assert again is first
        kept = weakref.ref(first)
        del first, again
        assert kept() is not None
    assert kept() is None
    assert pool._keepers == 0


def test_a_run_that_fails_gives_back():
    pool = ScratchPool()
    found = []

    @contextmanager
    def failing():
        with pool.kept():
            with pool.borrow() as scratch:
                found.append(weakref.ref(scratch))
            del scratch
            yield

    with pytest.raises(KeyError), failing():
        raise KeyError
    assert found[0]() is None
    assert pool._keepers == 0


@pytest.fixture(scope="module")
def model() -> Sam:
    return load_model(device="cpu")


@pytest.fixture
def made(monkeypatch) -> list[weakref.ref]:
    """Every scratch that is made."""
    found: list[weakref.ref] = []
    make = Scratch.__init__
    monkeypatch.setattr(Scratch, "__init__", lambda self: found.append(weakref.ref(self)) or make(self))
    return found


def held(made: list[weakref.ref]) -> int:
    """Bytes in all scratches that are alive."""
    alive = [one for ref in made if (one := ref()) is not None]
    return sum(buffer.nbytes for one in alive for buffer in one._buffers.values())


SETTINGS = AmgParameters(points_per_side=4, points_per_batch=8, pred_iou_thresh=0.3)


def test_memory_is_used_again_in_a_run_and_given_back_after_it(made, model):
    """Two planes of two batches each: one scratch for all that is decoded, none when the run is over."""
    stack = PlaneStack(np.stack([blobs(), blobs()]))
    sizes = [held(made) for _ in segment_planes(stack, model, SETTINGS)]
    assert len(sizes) == 6
    assert min(sizes) == sizes[0] > 4 * 24 * 256 * 256  # at least the logits of a batch: 3 masks of each of 8 points
    assert len(made) == 1
    assert held(made) == 0
    propose_candidates(blobs(), model, SETTINGS)
    assert held(made) == 0


@pytest.mark.parametrize("finish", ["close", "throw", "forget"])
def test_a_run_that_is_cancelled_gives_back(made, model, finish):
    steps = segment_planes(PlaneStack(blobs()), model, SETTINGS)
    next(steps)
    assert held(made) > 0
    if finish == "close":
        steps.close()
    elif finish == "throw":
        with pytest.raises(KeyboardInterrupt):
            steps.throw(KeyboardInterrupt)
    del steps
    gc.collect()
    assert held(made) == 0
    assert POOL._keepers == 0


def test_masks_of_one_call_outlive_the_next(model):
    image = np.repeat(sample("nuclei.tif")[:200, :200, None] // 257, 3, axis=2).astype(np.uint8)
    embedding = model.embed(image)
    points = np.random.default_rng(0).uniform(0, 200, (2, 40, 2))

    def keep(iou: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(iou, dtype=torch.bool)

    first = model.decode(embedding, points[0], keep)
    before = first.low_res_logits.clone(), first.predicted_iou.clone()
    model.decode(embedding, points[1], keep)
    torch.testing.assert_close((first.low_res_logits, first.predicted_iou), before, rtol=0, atol=0)


def test_logits_of_a_batch_share_memory_with_the_next(model):
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
